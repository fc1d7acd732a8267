"""SendMessageNL: what it returns, when the message goes, and what becomes of the file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from drop_folders import CONTACT, DropFolders, open_drop_folders
from keyed_calls import SEND, Keyed
from web_server import serve

from audience.accounts import Account, add_account
from audience.list_changes import change_list
from audience.lists import add_list
from audience.status_rules import Channel
from db.engine import Database
from db.migration import migrate
from db.tables import list_group, sending_file
from delivery.messages import add_message
from delivery.sending_changes import cancel
from delivery.sendings import find_sending
from jobs.storage import Storage
from services.mailup.send_message_nl import find_start

PEOPLE = b"111;1\nann@example.com;Ann\nbob@example.com;Bob\n"
PAST, FUTURE = "2001-01-01T00:00:00", "2099-07-01T10:00:00"


class Caller:
    """Calls the operation, with what it needs unless told otherwise."""

    def __init__(self, office: DropFolders, keyed: Keyed) -> None:
        self.office = office
        self._keyed = keyed
        self.key = keyed.log_in()

    def send(self, **values: object) -> int:
        given = {
            "accessKey": self.key,
            "fileName": "people.csv",
            "listId": "1",
            "messageId": "1",
            "timeDateSending": PAST,
            "sendDelayTest": 0,
        }
        wanted = {name: value for name, value in (given | values).items() if value is not None}
        return int(self._keyed.result(SEND, "SendMessageNL", **wanted))

    def put(self, path: str = "people.csv", content: bytes = PEOPLE) -> None:
        """Put a file where an upload would have."""
        target = self.office.home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    folder = tmp_path_factory.mktemp("caller")
    database = Database(f"sqlite:///{folder}/listbridge.db")
    migrate(database)
    storage = Storage(folder / "data", reserve=0)
    storage.prepare()
    office = open_drop_folders(database, storage)
    with database.write() as connection:
        add_message(connection, office.mailing, Channel.EMAIL, subject="News", html="<p>[nome]</p>")
        other = add_list(connection, office.account.id, "Without sender")
        add_message(connection, other, Channel.EMAIL, subject="Other", html="x")
        stranger = add_account(connection, 2, password="secret")
        theirs = add_list(connection, stranger.id, "Theirs")
        change_list(connection, theirs, {"sender_email": "theirs@example.com"})
    storage.prepare_home(2)
    (storage.home(2) / "theirs.csv").write_bytes(PEOPLE)
    with serve(database, storage) as site:
        caller = Caller(office, Keyed(site))
        caller.put()
        yield caller
    database.close()


def finish(caller: Caller) -> None:
    caller.office.work_off()


def test_a_message_to_the_people_of_a_file(caller: Caller) -> None:
    number = caller.send(subject="Today", senderName="Ann", sender="ann@example.com", timeDateSending=FUTURE)
    made = caller.office.sendings()[-1]
    assert number == made.number > 0
    assert (made.state, made.subject, made.sender_email, made.sender_name) == (
        "waiting",
        "Today",
        "ann@example.com",
        "Ann",
    )
    assert made.start_at == datetime(2099, 7, 1, 8, tzinfo=UTC)
    finish(caller)
    planned = caller.office.sendings()[-1]
    group = caller.office.rows(list_group)[-1]
    assert group.name.startswith("Automatic ")
    assert (planned.state, planned.start_at) == ("scheduled", made.start_at)
    assert (planned.target["to"], planned.target["groups"]) == ("groups", [group.number])
    assert caller.office.people()["ann@example.com"] == {"1": "Ann"}
    assert (caller.office.home / "people.csv").read_bytes() == PEOPLE
    assert caller.office.notices() == []


REFUSED: list[dict[str, object]] = [
    {"accessKey": None},
    {"accessKey": "wrong"},
    {"fileName": None},
    {"fileName": ""},
    {"fileName": "missing.csv"},
    {"fileName": "../2/theirs.csv"},
    {"fileName": "theirs.csv"},
    {"fileName": "/etc/passwd"},
    {"fileName": "..\\people.csv"},
    {"fileName": "import"},
    {"fileName": "x" * 2_000},
    {"messageId": None},
    {"messageId": ""},
    {"messageId": "one"},
    {"messageId": "99"},
    {"messageId": "2"},
    {"listId": None},
    {"listId": "one"},
    {"listId": "99"},
    {"listId": None, "listGuid": "7b1c2f0e-0000-4000-8000-000000000000"},
    {"listGuid": "7b1c2f0e-0000-4000-8000-000000000000"},
    {"sender": "nobody"},
    {"sender": "a@example.com, b@example.com"},
    {"senderName": "x" * 300},
    {"listId": "2", "messageId": "2"},
    {"separator": ";;"},
    {"separator": '"'},
]


@pytest.mark.parametrize("values", REFUSED, ids=str)
def test_nothing_is_sent(caller: Caller, values: dict[str, object]) -> None:
    before = (
        len(caller.office.sendings()),
        len(caller.office.runs()),
        len(list(caller.office.storage.imports.iterdir())),
    )
    assert caller.send(**values) == -1
    office = caller.office
    assert (len(office.sendings()), len(office.runs()), len(list(office.storage.imports.iterdir()))) == before


def test_lists_by_number_guid_or_both(caller: Caller) -> None:
    guid = caller.office.mailing.guid
    for place, values in enumerate(
        ({"listGuid": guid}, {"listId": None, "listGuid": guid.upper()}, {"listGuid": None})
    ):
        caller.put(f"lists{place}.csv")
        assert caller.send(fileName=f"lists{place}.csv", **values) > 0
    finish(caller)


def test_a_call_that_is_repeated_too_early(caller: Caller) -> None:
    caller.put("early.csv")
    assert caller.send(fileName="early.csv") > 0
    count = len(caller.office.sendings())
    assert caller.send(fileName="/early.csv") == -3
    assert len(caller.office.sendings()) == count
    finish(caller)
    assert caller.send(fileName="early.csv") > 0
    finish(caller)


def test_files_are_found_by_name_or_path(caller: Caller) -> None:
    caller.put("deep/er/found.csv", b"111\nfound@example.com\n")
    caller.put("failed/refused.csv", b"111\nrefused@example.com\n")
    assert caller.send(fileName="found.csv") > 0
    finish(caller)
    assert "found@example.com" in caller.office.people()
    assert caller.send(fileName="deep/er/found.csv") > 0
    assert caller.send(fileName="refused.csv") == -1
    assert caller.send(fileName="failed/refused.csv") > 0
    (caller.office.home / "link.csv").symlink_to(caller.office.storage.home(2) / "theirs.csv")
    assert caller.send(fileName="link.csv") == -1
    finish(caller)


def test_archives_and_other_separators(caller: Caller) -> None:
    with zipfile.ZipFile(caller.office.home / "packed.zip", "w") as archive:
        archive.writestr("people.csv", "111|1\nzipped@example.com|Zoe\n")
    assert caller.send(fileName="packed.zip", separator="|") > 0
    finish(caller)
    assert caller.office.people()["zipped@example.com"] == {"1": "Zoe"}
    assert caller.office.run().state == "completed"


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("twice.csv", PEOPLE + b"Ann@example.com;Ann\n", "duplicate-recipients"),
        ("none.csv", b"111;1\n", "no-recipients"),
        ("wrong.csv", b"111;1\nnobody;1\n", "no-recipients"),
        ("columns.csv", b"111;unknown\na@example.com;1\n", "unknown-column"),
        ("empty.csv", b"", "empty-file"),
        ("broken.zip", b"PK\x03\x04", "zip-damaged"),
    ],
)
def test_failures_afterwards_are_told(caller: Caller, name: str, content: bytes, code: str) -> None:
    caller.put(name, content)
    told = len(caller.office.notices())
    number = caller.send(fileName=name)
    assert number > 0
    finish(caller)
    assert (caller.office.run().state, caller.office.run().error_code) == ("failed", code)
    made = next(row for row in caller.office.sendings() if row.number == number)
    assert made.state == "failed"
    assert made.error_text
    ((address, subject, text),) = caller.office.notices()[told:]
    assert (address, subject) == (CONTACT, f"Sending {number}: failed ({code})")
    assert f"Error code: {code}\n" in text


def test_a_sending_that_was_cancelled_meanwhile_stays_so(caller: Caller) -> None:
    office = caller.office
    caller.put("cancelled.csv")
    told = len(office.notices())
    number = caller.send(fileName="cancelled.csv")
    with office.database.write() as connection:
        cancel(connection, find_sending(connection, office.account.id, number))
    finish(caller)
    assert next(row for row in office.sendings() if row.number == number).state == "cancelled"
    assert (office.run().state, office.run().error_code) == ("cancelled", "sending-cancelled")
    ((_, subject, text),) = office.notices()[told:]
    assert subject == f"Sending {number}: cancelled"
    assert "The sending was cancelled before it began." in text


def test_a_file_that_vanishes_after_the_call(caller: Caller) -> None:
    caller.put("vanishing.csv")
    assert caller.send(fileName="vanishing.csv") > 0
    (caller.office.home / "vanishing.csv").unlink()
    finish(caller)
    assert caller.office.run().state == "completed"
    with caller.office.database.read() as connection:
        unfinished = connection.execute(sending_file.select().where(sending_file.c.state == "queued")).all()
    assert unfinished == []


NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ROME = Account(1, 1, "Shop", "Europe/Rome", "active")


@pytest.mark.parametrize(
    ("at", "delay", "start"),
    [
        (NOW - timedelta(days=1), 30, NOW + timedelta(minutes=30)),
        (NOW, 30, NOW + timedelta(minutes=30)),
        (NOW, 0, None),
        (NOW - timedelta(days=1), -5, None),
        (NOW + timedelta(hours=1), 30, NOW + timedelta(hours=1)),
        (NOW + timedelta(hours=1), 0, NOW + timedelta(hours=1)),
        (datetime(2026, 11, 22, 14), 0, NOW + timedelta(hours=1)),
        (datetime(2026, 11, 22, 13), 0, None),
        (datetime(2026, 11, 22, 14, tzinfo=ZoneInfo("America/New_York")), 0, NOW + timedelta(hours=7)),
        (None, 0, None),
        (None, 10, NOW + timedelta(minutes=10)),
    ],
)
def test_when_it_begins(at: datetime | None, delay: int, start: datetime | None) -> None:
    assert find_start(ROME, at, delay, NOW) == start
