"""How senders are told what became of their files: each way, for each end, whole and once whatever crashes between."""

from __future__ import annotations

import csv
import io
import ipaddress
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from feed_folders import GOOD, NAME, FeedFolder, open_feed_folder
from sqlalchemy import select
from webhook_receivers import receiving

from audience.lists import set_field
from audience.notices import set_contact
from audience.webhooks import WebhookSettings, add_webhook
from db.engine import Database
from db.leases import name_owner
from db.tables import import_run, mailing_list
from delivery.outgoing_http import OutgoingClient
from exchange.errors import InvalidProfile
from exchange.profiles import Acknowledgement
from ftp_server.records import record_incomplete
from jobs import imports
from jobs.acknowledgements import tell_ended
from jobs.notifications import Notifier, send_sample
from jobs.storage import Storage
from jobs.webhook_requests import Wording

WAYS: tuple[Acknowledgement, ...] = ("rename", "marker", "table", "mail", "webhook")
CONTACT = "operator@example.com"
MIXED = b"email;1\nann@example.com;Ann\nnobody;Bob\n;Eve\nbob@example.com;x\x01y\ncid@example.com;a;b\n"
UNREADABLE = b"colour\nred\n"


@pytest.fixture
def folder(sqlite_url: str, storage: Storage) -> Iterator[FeedFolder]:
    database = Database(sqlite_url)
    yield prepare(database, storage)
    database.close()


@pytest.fixture
def any_folder(database: Database, storage: Storage) -> FeedFolder:
    """A folder with its rows in either kind of database."""
    return prepare(database, storage)


def prepare(database: Database, storage: Storage) -> FeedFolder:
    folder = open_feed_folder(database, storage)
    with database.write() as connection:
        set_field(connection, folder.account.id, 1, "Name")
        set_contact(connection, folder.account.id, CONTACT)
    return folder


def add_receiver(folder: FeedFolder, **values: Any) -> None:
    settings = {"name": "Files", "url": "https://crm.example.com/hook", "event": "import"} | values
    with folder.database.write() as connection:
        add_webhook(connection, folder.mailing, WebhookSettings(**settings))


def names(folder: FeedFolder) -> set[str]:
    return {hide_times(name) for name in folder.files()}


def hide_times(name: str) -> str:
    return re.sub(r"\.\d{14}", ".TIME", name)


# Each way


def test_without_any_the_files_are_as_ever(folder: FeedFolder) -> None:
    folder.import_file()
    folder.import_file(UNREADABLE, "other.csv")
    assert names(folder) == {
        f"processed/{NAME}",
        f"processed/{NAME}.result.json",
        "failed/other.csv",
        "failed/other.csv.result.json",
    }
    assert (folder.notices(), folder.notifications()) == ([], [])


ENDS = [("completed", GOOD, "processed"), ("failed", UNREADABLE, "failed"), ("skipped", GOOD, "processed")]


@pytest.mark.parametrize(("state", "content", "place"), ENDS, ids=[end[0] for end in ENDS])
def test_each_way_for_each_end(any_folder: FeedFolder, state: str, content: bytes, place: str) -> None:
    folder = any_folder
    folder.set_profile(acknowledgements=WAYS)
    if state == "skipped":
        folder.import_file(content, "earlier.csv")
        for path in folder.path.rglob("earlier*"):
            path.unlink()
    add_receiver(folder)
    result = folder.import_file(content)
    assert result.state == state
    marker = f"{NAME}.{'err' if state == 'failed' else 'ok'}"
    handed_back = f"{place}/{NAME}.TIME"
    assert names(folder) == {handed_back, f"{handed_back}.result.json", f"reports/{NAME}.TIME.result.csv", marker}
    line = (folder.path / marker).read_text()
    assert line.startswith(f"{state} import={result.number}")
    assert line.count("\n") == 1
    assert (f"code={result.error_code}" in line) == (state != "completed")
    (told,) = folder.notifications()
    assert told.content["import"]["state"] == state
    notice = folder.notices()[-1]
    assert (notice.key, notice.address, notice.kind) == (f"import:{result.id}", CONTACT, "import")
    assert state in notice.subject
    assert f"{folder.name}/{place}" in notice.text


def test_the_time_is_of_the_accounts_clock_and_stays(folder: FeedFolder) -> None:
    folder.set_profile(acknowledgements=("rename",))
    folder.import_file()
    with folder.database.read() as connection:
        started: datetime = connection.execute(select(import_run.c.started_at)).scalar_one()
    shown = started.astimezone(folder.account.zone).strftime("%Y%m%d%H%M%S")
    assert f"processed/{NAME}.{shown}" in folder.files()
    assert shown != started.strftime("%Y%m%d%H%M%S")


def test_a_marker_tells_the_counts(folder: FeedFolder) -> None:
    folder.set_profile(acknowledgements=("marker",))
    folder.import_file(MIXED)
    values = dict(pair.split("=") for pair in folder.files()[f"{NAME}.ok"].decode().split()[1:])
    assert (values["total"], values["new"], values["refused"], values["noted"]) == ("5", "1", "4", "0")


def test_the_marker_of_an_earlier_file_goes_when_the_next_one_comes(folder: FeedFolder) -> None:
    folder.set_profile(acknowledgements=("marker",))
    folder.import_file(UNREADABLE)
    assert f"{NAME}.err" in folder.files()
    folder.arrive()
    assert f"{NAME}.err" not in folder.files()
    folder.work()
    assert {f"{NAME}.ok", f"{NAME}.err"} & set(folder.files()) == {f"{NAME}.ok"}


def test_no_marker_stands_for_a_newer_file(folder: FeedFolder) -> None:
    folder.set_profile(acknowledgements=("marker",))
    folder.arrive(UNREADABLE)
    folder.arrive(GOOD)
    folder.work()
    assert {path for path in folder.files() if "/" not in path} == {NAME}
    folder.work()
    assert {path for path in folder.files() if "/" not in path} == {f"{NAME}.ok"}


@pytest.mark.parametrize("suffix", [".ok", ".err"])
def test_the_senders_own_markers_are_not_forged(folder: FeedFolder, suffix: str) -> None:
    with pytest.raises(InvalidProfile, match="marker_suffix"):
        folder.set_profile(acknowledgements=("marker",), completeness="marker", marker_suffix=suffix)


def test_a_table_names_the_cell_or_has_the_record(folder: FeedFolder) -> None:
    folder.set_profile(acknowledgements=("table",))
    folder.import_file(MIXED)
    content = folder.files()[f"reports/{NAME}.result.csv"].decode("utf-8")
    header, *rows = csv.reader(io.StringIO(content), delimiter=";")
    assert header == ["line", "column", "code", "message", "value"]
    assert [(row[0], row[1], row[2], row[4]) for row in rows] == [
        ("3", "email", "email", "nobody"),
        ("4", "", "no-address", ";Eve"),
        ("5", "1", "control-character", "x\x01y"),
        ("6", "", "columns", "cid@example.com;a;b"),
    ]
    assert all(row[3] for row in rows)


def test_tables_are_in_one_form_whatever_the_file_was(folder: FeedFolder) -> None:
    folder.set_profile(acknowledgements=("table",), encoding="utf-16", header=False, columns=("email", "1"))
    folder.import_file("ann@example.com\tAnn\nB\u00fccher\tx\n".encode("utf-16"))
    lines = folder.files()[f"reports/{NAME}.result.csv"].decode("utf-8").splitlines()
    assert lines[1].startswith("2;email;email;")
    assert lines[1].endswith(";B\u00fccher")


def test_a_table_of_a_file_that_was_refused_whole(folder: FeedFolder) -> None:
    folder.set_profile(acknowledgements=("table",))
    folder.import_file(UNREADABLE)
    rows = list(csv.reader(io.StringIO(folder.files()[f"reports/{NAME}.result.csv"].decode()), delimiter=";"))
    assert [row[:3] for row in rows[1:]] == [["", "", "unknown-column"]]


def test_the_folder_of_tables_is_the_servers_own_and_there_from_the_beginning(folder: FeedFolder) -> None:
    assert not (folder.path / "reports").exists()
    folder.set_profile(acknowledgements=("table",))
    assert (folder.path / "reports").is_dir()


def test_mails_go_to_the_folders_contact_first(folder: FeedFolder) -> None:
    folder.set_profile(acknowledgements=("mail",), contact="crm@example.com")
    folder.import_file(MIXED)
    (notice,) = folder.notices()
    assert notice.address == "crm@example.com"
    assert "Refused: 4 (columns 1, control-character 1, email 1, no-address 1)" in notice.text
    # No cell of a file goes into a mail.
    assert "nobody" not in notice.text


def test_without_a_contact_nobody_is_mailed_and_the_import_ends(folder: FeedFolder) -> None:
    with folder.database.write() as connection:
        set_contact(connection, folder.account.id, None)
    folder.set_profile(acknowledgements=("mail",))
    assert folder.import_file().state == "completed"
    assert folder.notices() == []


def test_only_webhooks_of_the_list_for_imports_are_told(any_folder: FeedFolder) -> None:
    folder = any_folder
    other = folder.with_list()
    folder.set_profile(acknowledgements=("webhook",))
    add_receiver(folder)
    add_receiver(folder, sources=("recipient",))
    add_receiver(folder, event="subscribe")
    add_receiver(folder, active=False)
    add_receiver(other)
    result = folder.import_file(MIXED)
    told = folder.notifications()
    assert [(row.webhook_id, row.recipient_id, row.event, row.source) for row in told] == [
        (1, 0, "import", "api"),
        (2, 0, "import", "api"),
    ]
    counters = told[0].content["import"].pop("counters")
    assert told[0].content["import"] == {
        "number": result.number,
        "file": NAME,
        "state": "completed",
        "code": None,
        "text": None,
    }
    assert counters["refused"] == {"columns": 1, "control-character": 1, "email": 1, "no-address": 1}


@pytest.mark.parametrize("form", ["form", "json"])
def test_receivers_are_told_in_order(folder: FeedFolder, form: str) -> None:
    folder.set_profile(acknowledgements=("webhook",))
    loopback = (ipaddress.ip_network("127.0.0.0/8"),)
    with receiving() as receiver:
        parameters = (("import", "import"), ("how", "state"), ("bad", "refused")) if form == "form" else ()
        add_receiver(folder, url=receiver.url, format=form, secret="s", parameters=parameters)
        results = [folder.import_file(content, f"{n}.csv") for n, content in enumerate((MIXED, UNREADABLE, GOOD))]
        notifier = Notifier(folder.database, OutgoingClient(loopback), Wording())
        assert notifier.deliver_due(name_owner()) == 3
        assert send_sample(folder.database, OutgoingClient(loopback), Wording(), folder.account.id, 1).delivered
    bodies = [request.body for request in receiver.requests]
    first, failed, last = (result.number for result in results)
    if form == "form":
        expected = [(first, "completed", 4), (failed, "failed", 0), (last, "completed", 0), (1, "completed", 0)]
        assert bodies == [b"import=%d&how=%s&bad=%d" % (n, how.encode(), bad) for n, how, bad in expected]
    else:
        assert [orjson.loads(body)["import"]["number"] for body in bodies] == [first, failed, last, 1]


def test_nobody_is_told_of_files_in_folders_of_deleted_lists(folder: FeedFolder) -> None:
    folder.set_profile(acknowledgements=("webhook",))
    add_receiver(folder)
    folder.arrive()
    with folder.database.write() as connection:
        connection.execute(mailing_list.update().values(deleted_at=datetime.now(UTC)))
    folder.work()
    assert folder.notifications() == []


def test_a_file_that_did_not_arrive_as_a_whole_is_told_of_once_a_day(any_folder: FeedFolder) -> None:
    folder = any_folder
    folder.set_profile(acknowledgements=("mail",))
    for key in ("a", "b"):
        record_incomplete(folder.database, folder.feed(), key, NAME, 10, "The client aborted.", "ftp")
    record_incomplete(folder.database, folder.feed(), "c", "other.csv", 10, "The client aborted.", "ftp")
    subjects = [notice.subject for notice in folder.notices()]
    assert subjects == [f"{NAME} did not arrive as a whole", "other.csv did not arrive as a whole"]


def test_nobody_is_told_of_incomplete_files_unasked(folder: FeedFolder) -> None:
    record_incomplete(folder.database, folder.feed(), "a", NAME, 10, "The client aborted.", "ftp")
    assert folder.notices() == []


# Crashes


class Killed(BaseException):
    """The process ends here."""


_CALLS = [(os, "link"), (os, "replace"), (os, "unlink"), (os, "mkdir"), (os, "fsync"), (io, "open")]


class Breaker:
    """Ends the process, or fails, at one of the calls that change files."""

    def __init__(self, patch: pytest.MonkeyPatch, error: type[BaseException], until: int) -> None:
        self.broke = False
        self._error = error
        self._left = until
        for module, name in _CALLS:
            patch.setattr(module, name, self._wrap(getattr(module, name)))

    def _wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def broken(*arguments: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                self.broke = True
                raise self._error
            return call(*arguments, **options)

        return broken


@pytest.mark.parametrize(
    ("content", "error"),
    [(MIXED, Killed), (MIXED, OSError), (UNREADABLE, Killed)],
    ids=["completed, killed", "completed, disk fails", "refused, killed"],
)
@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.torture)])
def test_handing_back_ends_alike_whatever_call_fails(
    sqlite_url: str, storage: Storage, content: bytes, error: type[BaseException], stride: int
) -> None:
    database = Database(sqlite_url)
    first = prepare(database, storage)
    whole = hand_back(first.with_list(), content, OSError, 10_000)
    step = 0
    while True:
        step += stride
        folder = first.with_list()
        broke, outcome = hand_back(folder, content, error, step)
        if not broke:
            break
        assert (step, outcome) == (step, whole[1])
    assert step > 20
    database.close()


def test_who_is_killed_before_the_end_is_committed_tells_once(any_folder: FeedFolder) -> None:
    any_folder.set_profile(acknowledgements=WAYS)
    add_receiver(any_folder)
    any_folder.arrive()

    def tell_and_die(*arguments: Any) -> None:
        tell_ended(*arguments)
        raise Killed

    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        patch.setattr(imports, "tell_ended", tell_and_die)
        any_folder.work()
    assert (any_folder.notices(), any_folder.notifications()) == ([], [])
    while any_folder.work():
        pass
    assert (len(any_folder.notices()), len(any_folder.notifications())) == (1, 1)


def hand_back(folder: FeedFolder, content: bytes, error: type[BaseException], step: int) -> tuple[bool, Any]:
    """Import a file, breaking at a call, until it has ended; return whether it broke, and all that its sender got."""
    folder.set_profile(acknowledgements=WAYS)
    add_receiver(folder)
    notices, told = len(folder.notices()), len(folder.notifications())
    folder.arrive(content)
    with pytest.MonkeyPatch.context() as patch:
        breaker = Breaker(patch, error, step)
        # A disk that cannot be read leaves the import to the next worker, as a kill does.
        with suppress(Killed, OSError):
            folder.work()
    while folder.work():
        pass
    files = dict(normalise(folder.files()))
    return breaker.broke, (files, len(folder.notices()) - notices, len(folder.notifications()) - told)


def normalise(files: Any) -> Iterator[tuple[str, bytes]]:
    for name, content in files.items():
        if name.endswith((".json", ".ok", ".err")):
            content = re.sub(rb'"?import"?[=:] ?\d+|"(started|finished)_at": "[^"]+"', b"", content)
        yield hide_times(name), content


def test_nothing_is_left_in_the_spool_but_the_copy(folder: FeedFolder) -> None:
    folder.set_profile(acknowledgements=WAYS)
    folder.import_file(MIXED)
    left: list[Path] = list(folder.storage.exports.iterdir())
    assert left == []
