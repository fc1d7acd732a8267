"""A process that dies while it hands over a mail that a list sends by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mail_sinks import serve_mail
from sqlalchemy import select

from audience.accounts import add_account
from audience.lists import add_list
from audience.status_rules import REQUEST_CONFIRMATION, SUBSCRIBE, Transition
from audience.subscriptions import Cause, change_state, parse_address
from db.engine import Database
from db.leases import name_owner
from db.tables import mailing_list, outbox
from delivery.outbox import MailKind, queue_mail
from delivery.outbox_letters import OutboxOptions
from delivery.outbox_mails import send_due_mails
from delivery.routes import make_route
from delivery.smtp import SmtpOptions
from services.mailup.merge_tags import VOCABULARY

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import sys, threading, time
from db.engine import Database
from db.leases import name_owner
from delivery.outbox_letters import OutboxOptions
from delivery.outbox_mails import send_due_mails
from services.mailup.merge_tags import VOCABULARY

class Standstill:
    shares_servers = True
    def send(self, parcel):
        print("sending", flush=True)
        time.sleep(600)

options = OutboxOptions(public_url="https://mail.example.com", host="mail.example.com", vocabulary=VOCABULARY)
send_due_mails(Database(sys.argv[1]), Standstill(), options, name_owner(), threading.Event())
"""


@pytest.mark.parametrize(
    ("kind", "transition", "sent", "state"),
    [("confirmation", REQUEST_CONFIRMATION, 1, "sent"), ("welcome", SUBSCRIBE, 0, "failed")],
)
def test_killed_while_it_sends(sqlite_url: str, kind: MailKind, transition: Transition, sent: int, state: str) -> None:
    database = Database(sqlite_url)
    with database.write() as connection:
        mailing = add_list(connection, add_account(connection, 1, password="secret").id, "News")
        connection.execute(mailing_list.update().values(settings={"sender_email": "news@example.com"}))
        address = parse_address(mailing, email="ada@example.com")
        person = change_state(connection, mailing, address, transition, Cause("test")).recipient_id
        queue_mail(connection, mailing, person, kind)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, sqlite_url], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    with process.stdout, serve_mail() as sink:
        while b"sending" not in process.stdout.readline():
            assert process.poll() is None
        route = make_route(SmtpOptions(relay=("127.0.0.1", sink.port), security="none"))
        assert route is not None
        options = OutboxOptions(public_url="https://mail.example.com", host="mail.example.com", vocabulary=VOCABULARY)

        def work() -> None:
            # As if the time of the claim were over.
            with database.write() as connection:
                connection.execute(outbox.update().values(lease_until=datetime.now(UTC) - timedelta(seconds=1)))
            send_due_mails(database, route, options, name_owner(), threading.Event())

        work()
        assert not sink.received, "a living process has it"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        work()
        assert len(sink.received) == sent
        route.close()
    with database.read() as connection:
        assert connection.execute(select(outbox.c.state)).scalar_one() == state
    database.close()
