"""Reason codes and columns of exports of unsubscribers."""

from __future__ import annotations

import pytest

from audience.selections import Selection
from audience.status_rules import Reason
from audience.unsubscribed import SUBTYPES, check_column, parse_reason, select_unsubscribed

CODES = [
    (0, Reason.ADMINISTRATOR, None),
    (1, Reason.ADMINISTRATOR, 1),
    ("01", Reason.ADMINISTRATOR, 1),
    (2, Reason.LINK, None),
    ("2", Reason.LINK, None),
    (20, Reason.LINK, 0),
    (21, Reason.LINK, 1),
    (22, Reason.LINK, 2),
    (4, Reason.IMPORTED, None),
    (41, Reason.IMPORTED, 1),
    (42, Reason.IMPORTED, 2),
    (8, Reason.HARD_BOUNCE, None),
    (80, Reason.HARD_BOUNCE, 0),
    (81, Reason.HARD_BOUNCE, 1),
    (82, Reason.HARD_BOUNCE, 2),
    (83, Reason.HARD_BOUNCE, 3),
    (16, Reason.COMPLAINT, None),
    (161, Reason.COMPLAINT, 1),
    (162, Reason.COMPLAINT, 2),
    (32, Reason.HEADER_LINK, None),
    (321, Reason.HEADER_LINK, 1),
    (64, Reason.HEADER_MAILTO, None),
    (640, Reason.HEADER_MAILTO, 0),
    (641, Reason.HEADER_MAILTO, 1),
    (642, Reason.HEADER_MAILTO, 2),
    (128, Reason.INACTIVE, None),
    (256, Reason.REJECTED, None),
    (2561, Reason.REJECTED, 1),
    (2562, Reason.REJECTED, 2),
    (2563, Reason.REJECTED, 3),
    (512, Reason.SOFT_BOUNCES, None),
    (5121, Reason.SOFT_BOUNCES, 1),
    (5122, Reason.SOFT_BOUNCES, 2),
    (1024, Reason.FORGOTTEN, None),
]


@pytest.mark.parametrize(("code", "kind", "subtype"), CODES)
def test_reads_a_reason_code(code: int | str, kind: Reason, subtype: int | None) -> None:
    assert parse_reason(code) == (kind, subtype)


def test_the_table_names_every_known_subtype() -> None:
    named = {(kind, subtype) for _, kind, subtype in CODES if subtype is not None}
    assert named == {(kind, subtype) for kind, subtypes in SUBTYPES.items() for subtype in subtypes}


@pytest.mark.parametrize("code", [-1, 3, 5, 7, 9, 12, 24, 29, 84, 160, 163, 320, 1280, 2560, 5120, 10240, 99999])
def test_refuses_a_number_that_is_no_reason(code: int) -> None:
    with pytest.raises(ValueError, match=f"{code} is not the code"):
        parse_reason(code)


@pytest.mark.parametrize("code", ["", " 2", "two", "-2", "2.0", "²", "٢"])
def test_refuses_a_text_that_is_no_number(code: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        parse_reason(code)


@pytest.mark.parametrize("key", ["email", "mobile", "list", "reason_subtype", "field:1", "field:39"])
def test_knows_a_column(key: str) -> None:
    check_column(key)


@pytest.mark.parametrize("key", ["", "Email", "fields", "field:", "field:0", "field:-1", "field:x", "field:²", "1"])
def test_refuses_an_unknown_column(key: str) -> None:
    with pytest.raises(ValueError, match="is not a column"):
        check_column(key)


def test_a_query_checks_columns_and_reasons() -> None:
    with pytest.raises(ValueError, match="is not a column"):
        select_unsubscribed(Selection(account_id=1), ["password"])
    with pytest.raises(ValueError, match="is not the code"):
        select_unsubscribed(Selection(account_id=1, exclude_reasons=(3,)), ["email"])
