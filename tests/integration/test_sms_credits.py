"""Credits under many hands at the same moment, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from functools import partial

import pytest
from sms_world import SmsWorld, make_sms_world
from sqlalchemy import Connection

from db.engine import Database
from db.retry import retry_on_conflict
from delivery.errors import NotEnoughCredits
from delivery.sms_credits import (
    account_credit,
    add_credits,
    affordable_parts,
    give_back_credits,
    list_credits,
    require_credits,
    set_credits,
    take_credits,
)


@pytest.fixture
def world(database: Database) -> SmsWorld:
    return make_sms_world(database)


def test_many_take_and_give_back_at_once(world: SmsWorld) -> None:
    world.give(50)
    account_id, list_id = world.account.id, world.mailing.id
    taken: list[int] = []
    refused: list[int] = []

    def spend(seed: int) -> None:
        for turn in range(10):
            parts = 1 + (seed + turn) % 3
            try:
                run(partial(take_credits, account_id=account_id, list_id=list_id, parts=parts))
            except NotEnoughCredits:
                refused.append(parts)
                continue
            taken.append(parts)
            if turn % 4 == 0:
                run(partial(give_back_credits, account_id=account_id, list_id=list_id, parts=parts))
                taken.append(-parts)

    def run(work: Callable[[Connection], None]) -> None:
        def attempt() -> None:
            with world.database.write() as connection:
                work(connection)

        retry_on_conflict(attempt)

    threads = [threading.Thread(target=spend, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with world.database.read() as connection:
        left = account_credit(connection, account_id)
    assert left == 50 - sum(taken) and left >= 0 and refused


def test_a_list_with_its_own_pays_with_no_others(world: SmsWorld) -> None:
    account_id, mailing = world.account.id, world.mailing
    world.give(10)
    with world.database.write() as connection:
        add_credits(connection, account_id, Decimal("2.5"), mailing)
        assert affordable_parts(connection, account_id, mailing.id) == 2
        take_credits(connection, account_id, mailing.id, 2)
        with pytest.raises(NotEnoughCredits):
            take_credits(connection, account_id, mailing.id, 1)
        with pytest.raises(NotEnoughCredits):
            require_credits(connection, mailing)
        give_back_credits(connection, account_id, mailing.id, 1)
        [found] = list_credits(connection, account_id)
        assert (found.credit, found.is_own) == (Decimal("1.5"), True)
        assert account_credit(connection, account_id) == 10
        set_credits(connection, account_id, None, mailing)
        [found] = list_credits(connection, account_id)
        assert (found.credit, found.is_own) == (Decimal(10), False)
        require_credits(connection, mailing)


@pytest.mark.parametrize("amount", ["0.0001", "NaN", "Infinity", "1e20", "-1"])
def test_amounts_that_cannot_be(world: SmsWorld, amount: str) -> None:
    with world.database.write() as connection, pytest.raises(ValueError, match="Credits"):
        set_credits(connection, world.account.id, Decimal(amount))
    with world.database.write() as connection, pytest.raises((ValueError, NotEnoughCredits)):
        add_credits(connection, world.account.id, Decimal(amount))
