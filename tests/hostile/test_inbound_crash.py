"""What was answered with 250 is kept, whatever becomes of the process in the same moment."""

from __future__ import annotations

import os
import signal
import smtplib
import subprocess
import sys
from pathlib import Path

import pytest
from bounce_world import DOMAIN, UNKNOWN_USER, make_bounce_world, status_report
from sqlalchemy import select

from db.engine import Database
from db.tables import inbound_mail

ROOT = Path(__file__).parents[2]
SERVER = """
import sys, threading
from db.engine import Database
from delivery.inbound_server import InboundOptions, InboundServer
anywhere = ("127.0.0.1", 0)
options = InboundOptions(smtp=anywhere, lmtp=anywhere, domain=sys.argv[2], hello_name="mx.example.com")
server = InboundServer(options, Database(sys.argv[1]))
server.start()
print(server.ports["smtp"], server.ports["lmtp"], flush=True)
threading.Event().wait()
"""


def _start(database: Database) -> tuple[subprocess.Popen[str], list[int]]:
    arguments = [sys.executable, "-c", SERVER, database.url, DOMAIN]
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    return process, [int(port) for port in process.stdout.readline().split()]


def _bring_until_it_dies(ports: list[int], process: subprocess.Popen[str], mails: int, first: int) -> set[bytes]:
    """Bring mails, then kill the server while another one is half on its way; return what was answered."""
    answered = set()
    client_of = (smtplib.SMTP, smtplib.LMTP)[first % 2]
    client = client_of("127.0.0.1", ports[first % 2], timeout=30)
    for number in range(first, first + mails):
        content = status_report(f"{UNKNOWN_USER} {number}")
        client.sendmail("", [f"bounces@{DOMAIN}"], content)
        answered.add(content)
    client.mail("")
    client.rcpt(f"bounces@{DOMAIN}")
    client.docmd("DATA")
    client.send(b"half of a mail\r\n")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    client.close()
    return answered


@pytest.mark.parametrize("kills", [3, pytest.param(60, marks=pytest.mark.torture)])
def test_answered_is_kept(database: Database, kills: int) -> None:
    make_bounce_world(database)
    answered: set[bytes] = set()
    for number in range(kills):
        process, ports = _start(database)
        answered |= _bring_until_it_dies(ports, process, 3, number * 3)
    with database.read() as connection:
        kept = list(connection.execute(select(inbound_mail.c.content)).scalars())
    assert set(kept) == answered
    assert len(kept) == len(answered) == kills * 3


READER = """
import os, sys, threading
import delivery.inbound as inbound
from db.engine import Database
from db.leases import name_owner
database, step = Database(sys.argv[1]), int(sys.argv[2])

def die(*arguments, **options):
    os.kill(os.getpid(), 9)

def then_die(function):
    def both(*arguments, **options):
        function(*arguments, **options)
        die()
    return both

if step == 0:
    inbound.read_report = die
elif step == 1:
    inbound.append_bounce = then_die(inbound.append_bounce)
elif step == 2:
    inbound.record_bounce = then_die(inbound.record_bounce)
else:
    inbound.log.info = die
inbound.read_next_mail(database, name_owner(), threading.Event())
"""


@pytest.mark.parametrize("step", range(4))
def test_a_reader_that_dies_does_nothing_twice(database: Database, step: int) -> None:
    world = make_bounce_world(database)
    ada = world.bring()
    about = world.send(ada)
    process, ports = _start(database)
    with smtplib.SMTP("127.0.0.1", ports[0], timeout=30) as client:
        client.sendmail("", [world.return_path(about)], status_report(UNKNOWN_USER))
    process.kill()
    process.communicate()
    died = subprocess.run([sys.executable, "-c", READER, database.url, str(step)], cwd=ROOT, check=False)
    assert died.returncode == -signal.SIGKILL
    while world.read():
        pass
    assert world.bounces(about) == ["550 5.1.1"]
    assert world.reasons(ada) == [(world.news.id, 8, 0), (world.offers.id, 8, 0)]
    assert len(world.causes(ada)) == 2
