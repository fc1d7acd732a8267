"""Workers that are killed while they deliver: nothing is lost, little is told twice, and what is can be recognised."""

from __future__ import annotations

import ipaddress
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select
from webhook_receivers import Received, Receiver, Reply, receiving

from audience.accounts import add_account
from audience.history import Cause
from audience.lists import MailingList, add_list
from audience.status_rules import SUBSCRIBE
from audience.subscriptions import change_state, parse_address
from audience.webhooks import WebhookSettings, add_webhook, announce
from db.engine import Database
from db.leases import name_owner
from db.tables import notification
from delivery.outgoing_http import OutgoingClient
from jobs.notifications import LEASE, Notifier
from jobs.webhook_requests import Wording
from jobs.webhook_shares import THREADS

NETWORK = "127.0.0.0/8"
PATIENCE = 60.0
PAGE = Cause("page")
# Its clock runs ahead by the seconds that it is given, as if the leases of those before had ended.
WORKER = f"""
import ipaddress, sys
from datetime import UTC, datetime, timedelta
from db.engine import Database
from db.leases import name_owner
from jobs.notifications import Notifier
from delivery.outgoing_http import OutgoingClient
from jobs.webhook_requests import Wording
ahead = timedelta(seconds=float(sys.argv[2]))
client = OutgoingClient([ipaddress.ip_network("{NETWORK}")])
Notifier(Database(sys.argv[1]), client, Wording(), clock=lambda: datetime.now(UTC) + ahead).deliver_due(name_owner())
"""


def populate(database: Database, receiver: Receiver, people: int, times: int) -> MailingList:
    """Make a list with a webhook and notifications that wait for it."""
    with database.write() as connection:
        mailing = add_list(connection, add_account(connection, 7, password="secret").id, "News")
        settings = WebhookSettings(name="Shop", url=receiver.url, event="profile", format="json", secret="0123456789ab")
        add_webhook(connection, mailing, settings)
        for number in range(people):
            address = parse_address(mailing, email=f"p{number}@example.com")
            who = change_state(connection, mailing, address, SUBSCRIBE, PAGE).recipient_id
            for _ in range(times):
                announce(connection, mailing, who, "profile", PAGE)
    return mailing


def start(database: Database, ahead: timedelta) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WORKER, database.url, str(ahead.total_seconds())])


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def waiting(database: Database) -> int:
    query = select(func.count()).where(notification.c.state == "waiting")
    with database.read() as connection:
        return int(connection.execute(query).scalar_one())


def ids(receiver: Receiver) -> list[int]:
    return [json.loads(request.body)["id"] for request in receiver.requests]


def test_killed_between_sending_and_writing_it_down(database: Database) -> None:
    killed = threading.Event()
    workers: list[subprocess.Popen[bytes]] = []

    def kill(_request: Received) -> Reply:
        if not killed.is_set():
            workers[0].send_signal(signal.SIGKILL)
            workers[0].wait()
            killed.set()
        return 200, {}, b"1"

    with receiving(kill) as receiver:
        populate(database, receiver, people=1, times=2)
        workers.append(start(database, timedelta()))
        wait_until(killed.is_set)
        with database.read() as connection:
            rows = connection.execute(select(notification).order_by(notification.c.id)).all()
        assert [row.state for row in rows] == ["waiting", "waiting"]
        later = datetime.now(UTC) + LEASE + timedelta(seconds=1)
        client = OutgoingClient([ipaddress.ip_network(NETWORK)])
        notifier = Notifier(database, client, Wording(), clock=lambda: later)
        assert notifier.deliver_due(name_owner()) == 2
        first, second = (row.id for row in rows)
        assert ids(receiver) == [first, first, second]
        assert waiting(database) == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_any_moment(database: Database, seed: int) -> None:
    chance = random.Random(seed)
    with receiving() as receiver:
        populate(database, receiver, people=60, times=3)
        everything = 180
        rounds = 0
        while rounds < 4 and waiting(database):
            enough = len(receiver.requests) + chance.randrange(1, 50)
            worker = start(database, (LEASE + timedelta(seconds=1)) * rounds)
            wait_until(lambda: len(receiver.requests) >= enough or worker.poll() is not None)  # noqa: B023
            worker.kill()
            worker.wait()
            rounds += 1
        while waiting(database):
            last = start(database, (LEASE + timedelta(seconds=1)) * rounds)
            assert last.wait(PATIENCE) == 0
            rounds += 1
        told = Counter(ids(receiver))
        assert len(told) == everything
        assert sum(told.values()) <= everything + rounds * THREADS
        for number in range(60):
            mine = [
                document["id"]
                for document in (json.loads(request.body) for request in receiver.requests)
                if document["recipient"]["email"] == f"p{number}@example.com"
            ]
            assert mine == sorted(mine)
