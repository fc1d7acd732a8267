"""The process that sends text messages is killed in the middle: nobody gets one twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter

import pytest
from message_centre import message_centre
from sms_world import make_sms_world
from sqlalchemy import Connection

from db.engine import Database
from delivery.queue import DeliveryState, owners_at_work, recover
from delivery.sendings import SendingMode
from delivery.smpp_gateway import make_smpp_gateway
from delivery.sms_credits import account_credit

BATCH = 40
LANE = f"""
import sys, threading
from db.engine import Database
from db.leases import name_owner
from delivery.sms import SmsOptions, run_sms_lane
from delivery.smpp_gateway import make_smpp_gateway
from services.mailup.merge_tags import VOCABULARY

options = SmsOptions(owner=name_owner(), vocabulary=VOCABULARY, public_url="", per_second={BATCH})
run_sms_lane(Database(sys.argv[1]), make_smpp_gateway(sys.argv[2]), options, threading.Event())
"""


@pytest.mark.parametrize(
    ("people", "kills", "mode"),
    [
        (100, 1, "at-most-once"),
        (100, 1, "at-least-once"),
        pytest.param(1000, 8, "at-most-once", marks=pytest.mark.torture),
        pytest.param(1000, 8, "at-least-once", marks=pytest.mark.torture),
    ],
)
def test_killed_in_the_middle(
    database: Database, database_url: str, people: int, kills: int, mode: SendingMode
) -> None:
    world = make_sms_world(database)
    world.give(people * 2)
    world.subscribe(*(f"+3933300{place:05d}" for place in range(people)))
    new = world.send(world.message(), mode=mode)
    world.prepare()
    with message_centre() as centre:
        for turn in range(1, kills + 1):
            process = subprocess.Popen([sys.executable, "-c", LANE, database_url, centre.url])
            centre.wait_for_texts(turn * people // (kills + 2))
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            with database.write() as connection:
                recover_all(connection)
        gateway = make_smpp_gateway(centre.url)
        world.work(world.lane(gateway))
        gateway.close()
        times = Counter(line["to"] for line in centre.submitted)
    row = world.row(new)
    assert row.state == "completed" and row.sent + row.unknown == people
    twice = sum(count - 1 for count in times.values())
    if mode == "at-most-once":
        assert twice == 0 and row.unknown <= kills * BATCH
    else:
        assert len(times) == people and twice <= kills * BATCH and row.unknown == 0
    assert world.count(new, int(DeliveryState.SENT)) == row.sent
    with database.read() as connection:
        assert account_credit(connection, world.account.id) == people


def recover_all(connection: Connection) -> None:
    for owner in owners_at_work(connection):
        recover(connection, owner)
