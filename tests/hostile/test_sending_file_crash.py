"""Workers that die in the middle of a file that sends: whoever goes on makes one sending of it, and each gets it once.

A process dies at a statement: everything before it was done, and its transaction is lost.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from typing import Any

import pytest
from drop_folders import DropFolders, open_drop_folders, work_off
from parcel_maker import make_parcel, make_sms
from sqlalchemy import event

from audience.smtp_users import add_smtp_user
from audience.status_rules import Channel
from db.engine import Database
from delivery.messages import add_message, find_message
from delivery.sending_requests import request_sending
from delivery.sendings import Target
from jobs.sending_queue import SendingFileRequest, enqueue_sending_file
from jobs.storage import Storage
from services.mailup.csv_columns import COLUMN_NAMES

DIED = 9
STRIDE = 41
"""Statements between those at which processes die in the shortened form."""
_fork = multiprocessing.get_context("fork")


def drop_massive(office: DropFolders, number: int) -> None:
    office.drop(make_parcel(Notes=f"{number}"), f"{number}.zip")


def drop_transactional(office: DropFolders, number: int) -> None:
    office.drop(make_parcel(Notes=f"{number}", SendType="transactional"), f"{number}.zip")


def drop_sms(office: DropFolders, number: int) -> None:
    office.drop(make_sms(row7=f"C{number}"), f"{number}.csv", "import_sms")


def order_recipients(office: DropFolders, number: int) -> None:
    """Do what SendMessageNL does while its caller waits."""
    key = f"{number:032}"
    (office.storage.imports / key).write_bytes(b"111;1\nann@example.com;Ann\nbob@example.com;Bob\n")
    with office.database.write() as connection:
        message = find_message(connection, office.account.id, Channel.EMAIL, 1)
        new = request_sending(connection, office.mailing, message, target=Target(to="queue"), state="waiting")
        request = SendingFileRequest(
            account_id=office.account.id,
            kind="recipients",
            file_name=f"{number}.csv",
            spool_name=key,
            size=60,
            sending_id=new.id,
            options={"separator": ";", "column_names": COLUMN_NAMES},
        )
        enqueue_sending_file(connection, request)


def work_and_die(url: str, storage: Storage, statement: int) -> None:
    """Do what waits as a worker does, up to a statement; the body of the process that dies."""
    database, left = Database(url), [statement]

    def die_at_last(*_arguments: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            os._exit(DIED)

    event.listen(database.engine, "before_cursor_execute", die_at_last)
    event.listen(database._alone, "before_cursor_execute", die_at_last)
    work_off(database, storage)
    os._exit(0)


@pytest.mark.parametrize(
    ("database_url", "stride"),
    [
        ("sqlite", STRIDE),
        pytest.param("sqlite", 1, marks=pytest.mark.torture),
        pytest.param("postgresql", 1, marks=(pytest.mark.torture, pytest.mark.postgresql)),
    ],
    indirect=["database_url"],
)
@pytest.mark.parametrize("drop", [drop_massive, drop_transactional, drop_sms, order_recipients])
def test_a_file_sends_once_wherever_a_worker_dies(
    database_url: str, storage: Storage, drop: Callable[[DropFolders, int], None], stride: int
) -> None:
    database = Database(database_url)
    office = open_drop_folders(database, storage)
    with database.write() as connection:
        add_smtp_user(connection, office.account.id, "s1", "pass")
        add_message(connection, office.mailing, Channel.EMAIL, subject="News", html="x")
    office.enable(smtp_user="s1")
    number, exit_code = 0, DIED
    while exit_code == DIED:
        number += 1
        drop(office, number)
        # The next process must not inherit a connection.
        database.close()
        worker = _fork.Process(target=work_and_die, args=(database_url, storage, 1 + (number - 1) * stride))
        worker.start()
        worker.join(60)
        exit_code = worker.exitcode or 0
        office.work_off()
    assert exit_code == 0
    assert number > 2
    check_each_once(office, number)
    database.close()


def check_each_once(office: DropFolders, files: int) -> None:
    """See that each of some files ended well and made one sending, with its people in it once."""
    runs, sendings = office.runs(), office.sendings()
    assert [(run.state, run.error_code) for run in runs] == [("completed", None)] * files
    assert sorted(run.sending_id for run in runs) == [sending.id for sending in sendings]
    assert len(sendings) == files
    assert {sending.state for sending in sendings} == {"scheduled"}
    if sendings[0].target["to"] == "queue":
        assert [row.sending_id for row in office.deliveries()] == [sending.id for sending in sendings for _ in range(2)]
    else:
        assert len({tuple(sending.target["groups"]) for sending in sendings}) == files
    if runs[0].feed_id is not None:
        assert len(office.notices()) == files
        folder = "import_sms" if runs[0].kind == "sms" else "import_zip"
        assert len(office.outcome(folder)["processed"]) == files
    assert not list(office.storage.imports.glob("*.part"))
