"""Measures how fast messages leave, beside the standard library and beside Postfix's own load generator.

    .venv/bin/python -m benchmarks.send_mail [--messages N] [--database sqlite|postgresql] [--rounds N]

Everything goes into Postfix's `smtp-sink` (apt: postfix), on a processor of its own where there are two. Messages are
personalised, of two parts and some 3 kB, with three merge tags and tracked links. In turns: `listbridge mail` without
and with DKIM (RSA 2048 and Ed25519), smtplib with a message that `email` makes for each recipient, and `smtp-source`,
which sends the same bytes again and again: the limit of the sink. Then single messages are sent while a sending to many
runs. Ratios are of rates in messages a second.
"""

from __future__ import annotations

import argparse
import os
import shutil
import smtplib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any

from sqlalchemy import select

from audience.accounts import add_account
from audience.lists import MailingList, add_list, find_list
from audience.status_rules import Channel, Status
from benchmarks.export_rows import opened
from db.bulk import append_rows
from db.engine import Database
from db.tables import delivery, dkim_key, field, mailing_list, recipient, sending, subscription
from delivery.dkim import make_key
from delivery.messages import Message, MessageSettings, add_message
from delivery.queue import add_delivery
from delivery.sendings import Target, add_sending

SENDER = "news@lists.example.com"
SENTENCE = "Every week we bring you what is new in the shop, what is cheaper, and what will soon be gone. "
HTML = (
    "<html><head><title>News</title></head><body><h1>Hello [campo1]</h1>"
    + "".join(
        f'<p>{SENTENCE}<a href="https://shop.example.com/offers/{place}?week=47">Offer {place}</a></p>'
        for place in range(1, 9)
    )
    + '<p>You read this as [email] from [campo2]. <a href="http://[unsubscribe]/">Unsubscribe</a></p></body></html>'
)
TEXT = "Hello [campo1],\n\n" + (SENTENCE + "\n") * 6 + "You read this as [email] from [campo2].\n"
SINK_SESSIONS = 20


@contextmanager
def running_sink() -> Iterator[int]:
    """Run smtp-sink; gives its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [_find("smtp-sink"), *(["-u", "postfix"] if os.geteuid() == 0 else []), f"127.0.0.1:{port}", "1000"]
    process = subprocess.Popen(_on_processor(1, command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for_port(port)
        yield port
    finally:
        process.kill()
        process.wait()


def _find(program: str) -> str:
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        sys.exit(f"{program} is missing: apt-get install postfix")
    return found


def _on_processor(number: int, command: list[str]) -> list[str]:
    taskset = shutil.which("taskset")
    if taskset is None or (os.cpu_count() or 1) < 2:
        return command
    return [taskset, "-c", str(number), *command]


def _wait_for_port(port: int) -> None:
    for _ in range(200):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    sys.exit("smtp-sink did not start")


def fill(database: Database, people: int) -> MailingList:
    """Make an account with a list of so many people."""
    now = datetime.now(UTC)
    with database.write() as connection:
        account = add_account(connection, 1, password="secret")  # noqa: S106
        mailing = add_list(connection, account.id, "News")
        settings = {"sender_email": SENDER, "sender_name": "The News"}
        connection.execute(mailing_list.update().where(mailing_list.c.id == mailing.id).values(settings=settings))
        if connection.execute(select(field.c.number)).first() is None:
            fields = [{"account_id": account.id, "number": number, "name": f"field {number}"} for number in (1, 2)]
            connection.execute(field.insert(), fields)
        columns = ("account_id", "email", "fields", "created_at", "updated_at")
        dump: Any = (lambda value: value) if database.is_sqlite else _dump
        rows = (
            (account.id, f"person{n}@example.com", dump({"1": f"Given Name {n}", "2": "Reggio Emilia"}), now, now)
            for n in range(people)
        )
        append_rows(connection, recipient, columns, rows)
        ids = list(connection.execute(select(recipient.c.id)).scalars())
        names = ("recipient_id", "list_id", "channel", "status", "subscribed_at", "changed_at", "source")
        subscribed = int(Status.SUBSCRIBED)
        append_rows(
            connection, subscription, names, ((one, mailing.id, 1, subscribed, now, now, "page") for one in ids)
        )
        return find_list(connection, account.id, mailing.number)


def _dump(value: object) -> str:
    import orjson

    return orjson.dumps(value).decode()


def write_message(database: Database, mailing: MailingList) -> Message:
    """Write the message that everybody gets."""
    with database.write() as connection:
        settings = MessageSettings(track_links=True)
        return add_message(
            connection, mailing, Channel.EMAIL, subject="News for [campo1]", html=HTML, text=TEXT, settings=settings
        )


@contextmanager
def running_role(database: Database, folder: Path, port: int, connections: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run `listbridge mail`, on the first processor."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LISTBRIDGE_")}
    environment |= {
        "LISTBRIDGE_DATABASE_URL": database.engine.url.render_as_string(hide_password=False),
        "LISTBRIDGE_DATA_DIR": str(folder / "data"),
        "LISTBRIDGE_SMTP_RELAY": f"127.0.0.1:{port}",
        "LISTBRIDGE_SMTP_SECURITY": "none",
        "LISTBRIDGE_SMTP_CONNECTIONS": str(connections),
        "LISTBRIDGE_PUBLIC_URL": "https://lists.example.com",
        "LISTBRIDGE_BOUNCE_DOMAIN": "bounces.example.com",
        "LISTBRIDGE_LOG_FORMAT": "json",
    }
    with (folder / "log").open("ab") as log:
        command = _on_processor(0, [sys.executable, "-m", "listbridge", "mail"])
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


def send_to_all(
    database: Database, folder: Path, port: int, mailing: MailingList, connections: int
) -> tuple[float, float]:
    """Send to everybody; return messages a second, from the first in the queue on, and MiB of memory at most."""
    message = write_message(database, mailing)
    with running_role(database, folder, port, connections) as process:
        with database.write() as connection:
            made = add_sending(connection, mailing, Channel.EMAIL, message)
        began = _wait_for(database, made.id, lambda row: row.sent > 0)
        _wait_for(database, made.id, lambda row: row.state == "completed")
        with database.read_once() as connection:
            row = connection.execute(select(sending).where(sending.c.id == made.id)).one()
        assert row.sent == row.total, row
        seconds = row.finished_at.timestamp() - began
        return row.total / seconds, _peak_memory(process.pid)


def _wait_for(database: Database, sending_id: int, is_so: Any) -> float:
    while True:
        with database.read_once() as connection:
            row = connection.execute(select(sending).where(sending.c.id == sending_id)).one()
        if row.state == "failed":
            sys.exit(f"the sending failed: {row.error_text}")
        if is_so(row):
            return time.time()
        time.sleep(0.02)


def _peak_memory(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def send_with_standard_library(port: int, messages: int) -> float:
    """Send with smtplib and a message made for each recipient; return messages a second."""
    began = time.monotonic()
    with smtplib.SMTP("127.0.0.1", port) as client:
        for number in range(messages):
            values = {
                "[campo1]": f"Given Name {number}",
                "[campo2]": "Reggio",
                "[email]": f"person{number}@example.com",
            }
            html, text, subject = HTML, TEXT, "News for [campo1]"
            for tag, value in values.items():
                html, text, subject = html.replace(tag, value), text.replace(tag, value), subject.replace(tag, value)
            mail = EmailMessage()
            mail["From"] = f"The News <{SENDER}>"
            mail["To"] = values["[email]"]
            mail["Subject"] = subject
            mail["Date"] = formatdate()
            mail["Message-ID"] = make_msgid(domain="lists.example.com")
            mail.set_content(text)
            mail.add_alternative(html, subtype="html")
            client.send_message(mail)
    return messages / (time.monotonic() - began)


def send_with_smtp_source(port: int, messages: int, connections: int) -> float:
    """Have smtp-source send the same 3 kB again and again; return messages a second."""
    command = [
        _find("smtp-source"),
        "-d",
        "-s",
        str(connections),
        "-l",
        "3500",
        "-m",
        str(messages),
        f"127.0.0.1:{port}",
    ]
    began = time.monotonic()
    subprocess.run(_on_processor(0, command), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return messages / (time.monotonic() - began)


def set_key(database: Database, algorithm: str | None) -> None:
    """Have the sender's domain signed, or not."""
    with database.write() as connection:
        connection.execute(dkim_key.delete())
        if algorithm is not None:
            values = {"domain": "lists.example.com", "selector": "s1", "algorithm": algorithm}
            key = make_key(algorithm)
            connection.execute(dkim_key.insert().values(**values, private_key=key, created_at=datetime.now(UTC)))


def time_single_messages(
    database: Database, folder: Path, port: int, mailing: MailingList, connections: int, count: int = 30
) -> list[float]:
    """Return seconds from the call to the answer of the server, of single messages while a sending to many runs."""
    message = write_message(database, mailing)
    with running_role(database, folder, port, connections):
        with database.write() as connection:
            bulk = add_sending(connection, mailing, Channel.EMAIL, message)
            person = connection.execute(select(recipient.c.id, recipient.c.email)).first()
            assert person is not None
        _wait_for(database, bulk.id, lambda row: row.sent > 0)
        ids = []
        for _ in range(count):
            with database.write() as connection:
                target = Target(to="queue")
                one = add_sending(
                    connection, mailing, Channel.EMAIL, message, kind="single", state="sending", target=target
                )
                # From here on, as callers are answered when this has been committed.
                asked = datetime.now(UTC)
                ids.append((add_delivery(connection, one, mailing, *person), asked))
            time.sleep(0.1)
        with database.read_once() as connection:
            running = connection.execute(select(sending.c.state).where(sending.c.id == bulk.id)).scalar_one()
        waits = [_wait_for_answer(database, delivery_id) - asked for delivery_id, asked in ids]
        if running != "sending":
            print("  (the sending to many ended before: give more messages)")
        return sorted(wait.total_seconds() for wait in waits)


def _wait_for_answer(database: Database, delivery_id: int) -> datetime:
    query = select(delivery.c.sent_at).where(delivery.c.id == delivery_id)
    while True:
        with database.read_once() as connection:
            sent_at: datetime | None = connection.execute(query).scalar_one()
        if sent_at is not None:
            return sent_at
        time.sleep(0.02)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--connections", type=int, default=4)
    given = parser.parse_args()
    # In turns, so that what slows the machine down slows all of them.
    kinds = {"without DKIM": None, "DKIM Ed25519": "ed25519", "DKIM RSA 2048": "rsa"}
    rates: dict[str, list[float]] = {name: [] for name in (*kinds, "standard library", "smtp-source")}
    folder = Path(tempfile.mkdtemp(prefix="listbridge-bench-"))
    with opened(given.database, folder) as database, running_sink() as port:
        mailing = fill(database, given.messages)
        memory = 0.0
        for _ in range(given.rounds):
            for name, algorithm in kinds.items():
                set_key(database, algorithm)
                rate, peak = send_to_all(database, folder, port, mailing, given.connections)
                rates[name].append(rate)
                memory = max(memory, peak)
            rates["standard library"].append(send_with_standard_library(port, max(given.messages // 20, 500)))
            rates["smtp-source"].append(send_with_smtp_source(port, given.messages, given.connections))
        standard = statistics.median(rates["standard library"])
        for name, values in rates.items():
            median = statistics.median(values)
            print(f"{name:>17}: {median:8,.0f} messages/s, {median / standard:5.2f} x the standard library")
        without = statistics.median(rates["without DKIM"])
        for name in ("DKIM Ed25519", "DKIM RSA 2048"):
            print(f"share of {name}: {1 - statistics.median(rates[name]) / without:.0%} of the time")
        print(f"memory of the role: {memory:.0f} MiB at most")
        set_key(database, None)
        waits = time_single_messages(database, folder, port, mailing, given.connections)
        print(f"single messages meanwhile: median {statistics.median(waits):.3f} s, slowest {waits[-1]:.3f} s")
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
