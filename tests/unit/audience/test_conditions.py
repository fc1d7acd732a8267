"""Conditions on recipients: what is read, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from audience.conditions import Condition, parse_condition

ROME = ZoneInfo("Europe/Rome")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("email=Anna@Example.com", Condition("email", "=", "anna@example.com")),
        ("field:7 contains  a b ", Condition("field:7", "contains", " a b ")),
        ("field:7 != x = y", Condition("field:7", "!=", "x = y")),
        ("mobile empty", Condition("mobile", "empty", None)),
        ("status = pending", Condition("status", "=", 2)),
        ("channel != sms", Condition("channel", "!=", 2)),
        ("group = 12", Condition("group", "=", 12)),
        ("changed_at >= 2026-03-01", Condition("changed_at", ">=", datetime(2026, 2, 28, 23, tzinfo=UTC))),
        ("created_at < 2026-03-01T12:00Z", Condition("created_at", "<", datetime(2026, 3, 1, 12, tzinfo=UTC))),
    ],
)
def test_conditions_are_read(text: str, expected: Condition) -> None:
    assert parse_condition(text, ROME) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a condition in the form"),
        ("email", "is not a condition in the form"),
        ("email = a\nb", "is not a condition in the form"),
        ("email = \0", "is not a condition in the form"),
        ("password = x", "'password' cannot be filtered by: choose among email"),
        ("field:0 = x", "'field:0' cannot be filtered by"),
        ("email like x", "'like' does not go with email: choose among =, !="),
        ("email >= x", "'>=' does not go with email"),
        ("email =", "is compared with nothing"),
        ("email empty x", "has a value"),
        ("status = gone", "'gone' is not a status: choose among subscribed, pending"),
        ("list = 1; DROP TABLE recipient", "is not the number of a list"),
        ("group = 0", "is not the number of a group"),
        ("changed_at >= yesterday", "is not a date in the form of ISO 8601"),
        ("changed_at = 2026-03-01", "'=' does not go with changed_at"),
    ],
)
def test_other_texts_are_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_condition(text, ROME)
