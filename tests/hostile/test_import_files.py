"""Files that are wrong: each gets a clear answer, and nothing of them is lost."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from audience.accounts import Account, add_account
from audience.lists import MailingList, set_field
from db.engine import Database
from db.leases import name_owner
from db.tables import import_run, recipient, subscription
from exchange.profiles import Profile
from jobs.feeds import Feed, find_feed, open_list, set_feed
from jobs.import_results import import_result
from jobs.imports import import_file, run_next_import
from jobs.queue import enqueue_arrival, spool
from jobs.storage import Storage


@dataclass(frozen=True)
class Desk:
    """An account with one list, and a worker at hand."""

    database: Database
    storage: Storage
    account: Account
    mailing: MailingList

    @property
    def folder(self) -> Path:
        return self.storage.home(1) / "import" / "1"

    def feed(self) -> Feed:
        with self.database.read() as connection:
            feed = find_feed(connection, self.account.id, "import/1")
        assert feed is not None
        return feed

    def profile(self, **values: Any) -> None:
        with self.database.write() as connection:
            set_feed(connection, self.storage, self.account, "import/1", Profile(**values))

    def arrive(self, content: bytes, name: str = "people.csv") -> int:
        """Do what the FTP door does with a complete file; return the import's id."""
        (self.folder / name).write_bytes(content)
        spooled = spool(self.storage, io.BytesIO(content))
        (self.storage.imports / spooled.name).unlink()
        os.link(self.folder / name, self.storage.imports / spooled.name)
        with self.database.write() as connection:
            return enqueue_arrival(
                connection,
                self.feed(),
                key=spooled.name,
                name=name,
                size=spooled.size,
                sha256=spooled.sha256,
                reason="test",
            )

    def work(self, content: bytes, name: str = "people.csv") -> Any:
        import_id = self.arrive(content, name)
        assert run_next_import(self.database, self.storage, name_owner())
        with self.database.read() as connection:
            return import_result(connection, import_id)

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def emails(self) -> list[str]:
        with self.database.read() as connection:
            return sorted(connection.execute(select(recipient.c.email)).scalars())


@pytest.fixture
def desk(sqlite_url: str, storage: Storage) -> Any:
    database = Database(sqlite_url)
    with database.write() as connection:
        account = add_account(connection, 1, password="secret")
        set_field(connection, account.id, 1, "Name")
        mailing = open_list(connection, storage, account, "News", {})
    yield Desk(database, storage, account, mailing)
    database.close()


def zipped(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as parcel:
        for name, content in members:
            parcel.writestr(name, content)
    return out.getvalue()


GOOD = b"email;1\na@example.com;Ann\n"
REFUSED_FILES = [
    ("empty file", b"", "empty-file"),
    ("only a mark", b"\xef\xbb\xbf", "empty-file"),
    ("no address column", b"1;2\nx;y\n", "unknown-column"),
    ("no key column", b"1\nx\n", "no-key-column"),
    ("unknown column", b"email;colour\na@example.com;red\n", "unknown-column"),
    ("column twice", b"email;email\na@example.com;b@example.com\n", "column-twice"),
    ("5,000 columns", b";".join(b"%d" % n for n in range(5000)) + b"\n", "too-many-columns"),
    ("UTF-16 declared as UTF-8", "email;1\na@example.com;x\n".encode("utf-16-le"), "encoding"),
    ("ZIP slip", zipped(("../people.csv", GOOD)), "zip-path"),
    ("ZIP of two", zipped(("a.csv", GOOD), ("b.csv", GOOD)), "zip-members"),
    ("ZIP in ZIP", zipped(("a.zip", zipped(("a.csv", GOOD)))), "zip-nested"),
    ("cut ZIP", zipped(("a.csv", GOOD * 50))[:-40], "zip-damaged"),
    ("ZIP bomb", zipped(("a.csv", b"email\n" + b"\n" * (40 << 20))), "zip-bomb"),
]


@pytest.mark.parametrize(("content", "code"), [case[1:] for case in REFUSED_FILES], ids=[c[0] for c in REFUSED_FILES])
def test_a_file_nobody_can_read_fails_whole(desk: Desk, content: bytes, code: str) -> None:
    result = desk.work(content)
    assert (result.state, result.error_code) == ("failed", code)
    assert desk.files() == ["failed/people.csv", "failed/people.csv.result.json"]
    assert (desk.folder / "failed/people.csv").read_bytes() == content
    assert json.loads((desk.folder / "failed/people.csv.result.json").read_bytes())["error_code"] == code
    assert desk.emails() == []


REFUSED_ROWS = [
    ("wrong encoding", b"b@example.com;Citt\xe0\n", "encoding"),
    ("ragged", b"b@example.com;x;y\n", "columns"),
    ("10 MB cell", b"b@example.com;" + b"x" * 10_000_000 + b"\n", "value-too-long"),
    ("NUL", b"b@example.com;x\x00y\n", "control-character"),
    ("open quote", b'b@example.com;"x\n', "quote"),
    ("no address", b";x\n", "no-address"),
    ("bad address", b"nobody;x\n", "email"),
]


@pytest.mark.parametrize(("row", "code"), [case[1:] for case in REFUSED_ROWS], ids=[c[0] for c in REFUSED_ROWS])
def test_a_bad_row_is_refused_alone_and_kept(desk: Desk, row: bytes, code: str) -> None:
    after = b"".join(b"p%d@example.com;z\n" % n for n in range(1200))
    result = desk.work(GOOD + row + after)
    assert (result.state, result.counters["refused"]) == ("completed", {code: 1})
    assert len(desk.emails()) == 1201
    errors = (desk.folder / "processed/people.csv.errors.csv").read_bytes()
    assert errors.startswith(b"error_line;error_code;error_text;email;1\r\n3;" + code.encode())
    assert row.strip().replace(b'"', b"") in errors.replace(b'"', b"")


def test_refused_rows_can_be_repaired_and_sent_again(desk: Desk) -> None:
    desk.work(GOOD + b"b.example.com;Bob\nc@example.com;Ci;Cy\n")
    errors = (desk.folder / "processed/people.csv.errors.csv").read_bytes()
    repaired = errors.replace(b"b.example.com", b"b@example.com").replace(b";Ci;Cy", b";Ci")
    result = desk.work(repaired, "repaired.csv")
    assert (result.state, result.counters["new"], result.counters["refused"]) == ("completed", 2, {})
    assert desk.emails() == ["a@example.com", "b@example.com", "c@example.com"]


def test_a_header_alone_is_an_empty_day(desk: Desk) -> None:
    result = desk.work(b"email;1\n")
    assert (result.state, result.counters["total"]) == ("completed", 0)
    assert desk.files() == ["processed/people.csv", "processed/people.csv.result.json"]


def test_the_same_content_is_imported_once(desk: Desk) -> None:
    first = desk.work(GOOD)
    again, other_name, changed = desk.work(GOOD), desk.work(GOOD, "copy.csv"), desk.work(GOOD + b"b@example.com;\n")
    assert (first.state, again.state, other_name.state, changed.state) == (
        "completed",
        "skipped",
        "skipped",
        "completed",
    )
    assert again.error_code == "same-content"
    assert f"number {first.number}" in again.error_text
    assert "processed/copy.csv" in desk.files()


def test_a_file_that_failed_may_come_again(desk: Desk) -> None:
    wrong = b"email;colour\na@example.com;red\n"
    assert desk.work(wrong).state == "failed"
    with desk.database.write() as connection:
        set_field(connection, desk.account.id, 2, "Colour")
    assert desk.work(wrong).state == "completed"


def test_a_file_replaced_while_it_waits_is_imported_as_it_came(desk: Desk) -> None:
    desk.arrive(GOOD)
    replacement = desk.folder / "people.csv.new"
    replacement.write_bytes(b"email\nother@example.com\n")
    replacement.rename(desk.folder / "people.csv")
    assert run_next_import(desk.database, desk.storage, name_owner())
    assert desk.emails() == ["a@example.com"]
    assert (desk.folder / "people.csv").read_bytes() == b"email\nother@example.com\n"
    assert (desk.folder / "processed/people.csv").read_bytes() == GOOD


def test_names_that_are_taken_get_a_number(desk: Desk) -> None:
    for number in range(3):
        assert desk.work(GOOD + b"p%d@example.com;\n" % number).state == "completed"
    names = [name for name in desk.files() if name.endswith(".csv")]
    assert names == ["processed/people-1.csv", "processed/people-2.csv", "processed/people.csv"]


@pytest.mark.parametrize(
    ("values", "content"),
    [
        ({"encoding": "utf-16"}, "email;1\na@example.com;Città\n".encode("utf-16")),
        ({"encoding": "cp1252"}, "email;1\na@example.com;Città\n".encode("cp1252")),
        ({"encoding": "latin-1"}, "email|1\na@example.com|Città\n".encode("latin-1")),
        ({}, "\ufeffEMAIL\tname\na@example.com\tCittà\n".encode()),
        ({}, 'email,,1\r\na@example.com,skipped,"Città"\r\n'.encode()),
        ({"header": False, "columns": ("1", "email"), "separator": "|"}, "Città|a@example.com\n".encode()),
        ({"column_names": {"111": "email"}}, "1;111\nCittà;a@example.com\n".encode()),
        ({}, zipped(("people.csv", "email;1\na@example.com;Città\n".encode()))),
        ({"completeness": "trailer"}, "email;1\na@example.com;Città\n#END;1\n".encode()),
    ],
    # The bytes of an archive have the time in them, and ids must be the same in every process.
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_every_agreed_form_gives_the_same_person(desk: Desk, values: dict[str, Any], content: bytes) -> None:
    desk.profile(**values)
    assert desk.work(content).counters["new"] == 1
    with desk.database.read() as connection:
        assert connection.execute(select(recipient.c.email, recipient.c.fields)).one() == (
            "a@example.com",
            {"1": "Città"},
        )


def test_a_trailer_that_counts_otherwise_fails_the_file(desk: Desk) -> None:
    desk.profile(completeness="trailer")
    result = desk.work(GOOD + b"#END;2\n")
    assert (result.state, result.error_code) == ("failed", "trailer-count")
    assert desk.emails() == []


def test_a_dry_run_tells_all_and_keeps_nothing(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(GOOD + b"nobody;x\n")
    arguments = {"account": desk.account, "mailing": desk.mailing, "path": path, "profile": Profile()}
    result = import_file(desk.database, desk.storage, name_owner(), dry_run=True, **arguments)  # type: ignore[arg-type]
    assert (result.state, result.counters["new"], result.counters["refused"]) == ("completed", 1, {"email": 1})
    assert desk.emails() == []
    assert Path(f"{path}.errors.csv").exists()
    result = import_file(desk.database, desk.storage, name_owner(), **arguments)  # type: ignore[arg-type]
    assert (result.counters["new"], desk.emails()) == (1, ["a@example.com"])
    with desk.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(import_run)).scalar_one() == 2


def test_a_quote_left_open_swallows_nobody(desk: Desk) -> None:
    rows = b"".join(b"%c@example.com;%s\n" % (letter, name) for letter, name in zip(b"abcde", NAMES, strict=True))
    result = desk.work(b"email;1\n" + rows)
    assert desk.emails() == ["b@example.com", "c@example.com", "d@example.com", "e@example.com"]
    assert result.counters["refused"] == {"quote": 1}


NAMES = [b'"Jo', b"Bob", b"Kim", b'"Mary"', b"Zoe"]


def statuses(desk: Desk) -> dict[str, int]:
    with desk.database.read() as connection:
        query = select(recipient.c.email, subscription.c.status).join_from(
            recipient, subscription, subscription.c.recipient_id == recipient.c.id
        )
        return {row.email: row.status for row in connection.execute(query)}


def test_a_status_column_counts_in_the_default_folder_too(desk: Desk) -> None:
    desk.work(b"email;status\na@example.com;1\nb@example.com;0\nc@example.com;\nd@example.com;x\n")
    assert statuses(desk) == {"a@example.com": 1, "b@example.com": 3, "c@example.com": 1}


def test_a_folder_for_leavers_takes_no_joiners(desk: Desk) -> None:
    desk.profile(status="unsubscribed")
    result = desk.work(b"email;status\na@example.com;0\nb@example.com;1\nc@example.com;\n")
    assert statuses(desk) == {"a@example.com": 3, "c@example.com": 3}
    assert result.counters["refused"] == {"status": 1}


def test_absurd_numbers_refuse_their_row_only(desk: Desk) -> None:
    many = b"9" * 5000
    result = desk.work(b"email;list;group\na@example.com;" + many + b";\nb@example.com;;" + many + b"\n")
    assert result.counters["refused"] == {"unknown-list": 1}
    assert desk.emails() == ["b@example.com"]


def test_a_file_whose_folder_went_away_is_handed_back_all_the_same(desk: Desk) -> None:
    import_id = desk.arrive(GOOD)
    shutil.rmtree(desk.folder)
    assert run_next_import(desk.database, desk.storage, name_owner())
    with desk.database.read() as connection:
        assert import_result(connection, import_id).state == "completed"
    assert desk.files() == ["processed/people.csv", "processed/people.csv.result.json"]


def test_a_spool_file_that_is_gone_fails_the_import(desk: Desk) -> None:
    desk.arrive(GOOD)
    for path in desk.storage.imports.iterdir():
        path.unlink()
    assert run_next_import(desk.database, desk.storage, name_owner())
    with desk.database.read() as connection:
        run = connection.execute(select(import_run)).one()
    assert (run.state, run.error_code) == ("failed", "spool-missing")
    assert desk.work(GOOD + b"b@example.com;\n", "next.csv").state == "completed"


def test_a_finished_import_waits_for_room_to_hand_back(desk: Desk) -> None:
    desk.arrive(GOOD)
    place = desk.folder / "processed"
    place.rmdir()
    place.write_bytes(b"in the way")
    for _ in range(5):
        with desk.database.write() as connection:
            connection.execute(import_run.update().values(lease_until=None, lease_owner="gone:1:x"))
            connection.execute(import_run.update().where(import_run.c.state == "running").values(state="queued"))
        assert run_next_import(desk.database, desk.storage, name_owner())
    with desk.database.read() as connection:
        run = connection.execute(select(import_run)).one()
    assert (run.state, run.counters["new"]) == ("running", 1)
    assert run.attempts <= 1
    place.unlink()
    with desk.database.write() as connection:
        connection.execute(import_run.update().values(lease_until=datetime(2020, 1, 1, tzinfo=UTC)))
    assert run_next_import(desk.database, desk.storage, name_owner())
    assert "processed/people.csv" in desk.files()
    assert desk.emails() == ["a@example.com"]


def test_two_dead_imports_of_an_account_do_not_wait_for_each_other(desk: Desk) -> None:
    desk.arrive(GOOD)
    desk.arrive(GOOD + b"b@example.com;\n", "other.csv")
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    with desk.database.write() as connection:
        dead = {"state": "running", "lease_owner": "elsewhere:1:x", "lease_until": long_ago}
        connection.execute(import_run.update().values(**dead))
    assert run_next_import(desk.database, desk.storage, name_owner())
    assert run_next_import(desk.database, desk.storage, name_owner())
    assert desk.emails() == ["a@example.com", "b@example.com"]


def test_long_records_end_a_batch_early(desk: Desk) -> None:
    row = b"p%d@example.com;" + b"x" * 900_000 + b"\n"
    result = desk.work(b"email;1\n" + b"".join(row % number for number in range(30)) + b"a@example.com;Ann\n")
    assert result.counters["refused"] == {"value-too-long": 30}
    assert desk.emails() == ["a@example.com"]
