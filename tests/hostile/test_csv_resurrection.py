"""No import brings back who is gone, whatever happened before: random histories of many people, side by side.

Each person has a history of his own: rows that subscribe or end, on e-mail, SMS or both, under profiles of every
kind, and between the imports what people and their mail systems do.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from csv_corpus import Audience, open_audience
from sqlalchemy import bindparam, select

from audience.status_rules import FINAL_REASONS, Channel, Reason, State, Status, state_of
from db.tables import recipient, subscription
from exchange.profiles import Profile

GONE = (State.UNSUBSCRIBED, State.BLOCKED)
CHOICES: dict[str, tuple[Any, ...]] = {
    "status": ("subscribed", "subscribed", "column", "unsubscribed"),
    "channels": ("both", "both", "email", "sms"),
    "confirm": (False, False, True),
    "change_pending": (False, True),
    "resubscribe": (False, False, True),
    "key": ("email", "email", "mobile"),
    "duplicates": ("last", "last", "first", "refuse"),
    "unknown": ("add", "add", "refuse"),
    "replace_groups": (False, True),
    "mode": ("incremental", "incremental", "full"),
}
EVENTS = (
    (Status.UNSUBSCRIBED, Reason.LINK),
    (Status.UNSUBSCRIBED, Reason.ADMINISTRATOR),
    (Status.UNSUBSCRIBED, Reason.HEADER_LINK),
    (Status.UNSUBSCRIBED, Reason.SOFT_BOUNCES),
    *((Status.UNSUBSCRIBED, reason) for reason in FINAL_REASONS),
    (Status.SUBSCRIBED, None),
    (Status.PENDING, None),
)
SHAPES = (((1, 1),), ((1, 1),), ((1, 0),), ((0, 1),), ((1, 1), (1, 0), (0, 1)))
"""Whether rows have an address and a number; those of several kinds can be merged only a few at a time."""
FEW = 30
"""People who may have several rows in a file, or rows of several kinds."""
_States = dict[tuple[int, Channel], State]
"""By person and channel."""


@pytest.fixture
def audience(database_url: str, tmp_path: Path) -> Iterator[Audience]:
    with open_audience(database_url, tmp_path) as audience:
        yield audience


def draw_profile(dice: random.Random) -> Profile:
    values = {name: dice.choice(choices) for name, choices in CHOICES.items()}
    return Profile(**values, max_missing_percent=100.0)


def draw_file(dice: random.Random, people: int, profile: Profile) -> tuple[bytes, set[int]]:
    """Return a file, and those who leave in it by a row with their address and number."""
    values = {"subscribed": ("1", "1", ""), "column": ("1", "1", "0"), "unsubscribed": ("0", "")}[profile.status]
    rows, leaving = [], set()
    shape = dice.choice(SHAPES)
    for person in range(people if len(shape) == 1 else FEW):
        for _ in range(dice.choice((0, 1, 1, 2, 3) if person < FEW else (0, 1, 1))):
            wish = dice.choice((*values, "0") if profile.status == "subscribed" else values)
            address, number = dice.choice(shape)
            rows.append(f"{_email(person) * address};{_mobile(person) * number};{wish};{dice.choice('xyz')}\n")
            if address and number and (wish == "0" or profile.status == "unsubscribed"):
                leaving.add(person)
    if profile.mode == "full" or dice.random() < 0.5:
        dice.shuffle(rows)
    return "".join(["email;mobile;status;1\n", *rows]).encode(), leaving


def _email(person: int) -> str:
    return f"p{person}@example.com"


def _mobile(person: int) -> str:
    return f"+39320{person:07}"


def befall(audience: Audience, dice: random.Random) -> None:
    """Let something happen to a third of all subscriptions."""
    with audience.database.write() as connection:
        keys = connection.execute(select(subscription.c.recipient_id, subscription.c.channel)).all()
        changes = []
        for recipient_id, channel in keys:
            if dice.random() < 1 / 3:
                status, reason = dice.choice(EVENTS)
                changes.append({"who": recipient_id, "by": channel, "status": status, "reason_type": reason})
        statement = subscription.update().where(
            subscription.c.recipient_id == bindparam("who"), subscription.c.channel == bindparam("by")
        )
        if changes:
            connection.execute(statement.values(changed_at=datetime.now(UTC)), changes)


def read_states(audience: Audience) -> _States:
    columns = (recipient.c.email, recipient.c.mobile, subscription.c.channel)
    query = select(*columns, subscription.c.status, subscription.c.reason_type).join_from(
        recipient, subscription, subscription.c.recipient_id == recipient.c.id
    )
    with audience.database.read() as connection:
        return {
            (_person(email, mobile), Channel(channel)): state_of(status, reason)
            for email, mobile, channel, status, reason in connection.execute(query)
            # Somebody is known by both, or by the one he is reached by.
            if (email if channel == Channel.EMAIL else mobile) is not None
        }


def _person(email: str | None, mobile: str | None) -> int:
    return int(email[1:].partition("@")[0]) if email else int(str(mobile)[6:])


def check_nobody_came_back(before: _States, after: _States, profile: Profile, leaving: set[int]) -> None:
    back = {key for key, state in before.items() if state in GONE and after.get(key) not in GONE}
    if profile.resubscribe:
        back = {key for key in back if before[key] == State.BLOCKED}
    assert not back, profile
    if not profile.resubscribe:
        channels = {"email": (Channel.EMAIL,), "sms": (Channel.SMS,)}.get(profile.channels, tuple(Channel))
        # Who is refused as unknown was never there.
        asked = {key for key in product(leaving, channels) if key in after}
        assert {key for key in asked if after[key] not in GONE} == set(), profile


def live(audience: Audience, directory: Path, *, people: int, rounds: int, seed: int) -> None:
    """Let that many people have their histories."""
    dice = random.Random(seed)
    for _ in range(rounds):
        profile = draw_profile(dice)
        content, leaving = draw_file(dice, people, profile)
        before = read_states(audience)
        result = audience.import_bytes(content, profile, directory / "people.csv")
        # A full file with refused rows ends nobody's subscription.
        assert result.state == "completed" or result.error_code == "refused-rows", result
        check_nobody_came_back(before, read_states(audience), profile, leaving)
        befall(audience, dice)


def test_nobody_comes_back(audience: Audience, tmp_path: Path) -> None:
    for seed in range(3):
        audience.clear()
        live(audience, tmp_path, people=600, rounds=6, seed=seed)


@pytest.mark.torture
def test_nobody_of_many_comes_back(audience: Audience, tmp_path: Path) -> None:
    for seed in range(100, 150):
        audience.clear()
        live(audience, tmp_path, people=2_000, rounds=8, seed=seed)
