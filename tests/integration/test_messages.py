"""Messages as they are stored: with their files, changed and copied, and not changed while people are getting them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as run_settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import func, select

from audience.accounts import add_account
from audience.errors import InvalidName
from audience.lists import MailingList, add_list, default_values_of, fields_of, set_field
from audience.status_rules import Channel
from db.engine import Database
from db.migration import migrate
from db.retry import retry_on_conflict
from db.tables import message_file, sending
from delivery.errors import DeliveryError, InvalidMessage, NotAllowedNow, UnknownMessage
from delivery.message_files import (
    MAX_FILES_SIZE,
    add_file,
    files_of,
    list_files,
    make_attachment,
    remove_file,
    set_files,
)
from delivery.messages import (
    Message,
    MessageFile,
    MessageSettings,
    add_message,
    clone_message,
    edit_message,
    find_message,
    list_messages,
    load_message,
    remove_message,
)
from delivery.sendings import SendingState, add_sending

EMAIL, SMS = Channel.EMAIL, Channel.SMS
IMAGE = MessageFile("image", "https://example.com/a.png?x=1&amp;y=2", "image/png", b"\x89PNG")


@dataclass
class Shelf:
    """Two lists of one account and one of another."""

    database: Database
    lists: list[MailingList]

    def do(self, work: Any, *given: Any, **options: Any) -> Any:
        def attempt() -> Any:
            with self.database.write() as connection:
                return work(connection, *given, **options)

        return retry_on_conflict(attempt)

    def add(self, channel: Channel = EMAIL, **given: Any) -> Message:
        content = {"html": "<p>x</p>"} if channel is EMAIL else {"text": "x"}
        added: Message = self.do(add_message, self.lists[0], channel, **{"subject": "News", **content, **given})
        return added

    def refuses(self, error: type[DeliveryError], work: Any, *given: Any, **options: Any) -> str:
        with pytest.raises(error) as refused:
            self.do(work, *given, **options)
        return str(refused.value)


@pytest.fixture
def shelf(database: Database) -> Shelf:
    with database.write() as connection:
        first, second = (add_account(connection, number, password="x") for number in (1, 2))
        lists = [
            add_list(connection, account.id, name) for account, name in ((first, "A"), (first, "B"), (second, "C"))
        ]
    return Shelf(database, lists)


def test_numbers_and_finding(shelf: Shelf) -> None:
    mail, text = shelf.add(notes=" n\n "), shelf.add(SMS, text="Hello")
    assert (mail.number, text.number, mail.notes) == (1, 1, "n")
    account_id = shelf.lists[0].account_id
    assert shelf.do(find_message, account_id, EMAIL, 1) == shelf.do(load_message, mail.id) == mail
    assert shelf.do(find_message, account_id, SMS, 1, shelf.lists[0]) == text
    for given in (
        (account_id, EMAIL, 2),
        (account_id, EMAIL, 1, shelf.lists[1]),
        (shelf.lists[2].account_id, EMAIL, 1),
    ):
        assert shelf.refuses(UnknownMessage, find_message, *given).startswith("There is no message")


@pytest.mark.parametrize(
    "given",
    [
        {"subject": ""},
        {"subject": "\u3000"},
        {"subject": "x" * 256},
        {"subject": "a\r\nBcc: b@example.com"},
        {"subject": "a\0b"},
        {"subject": "a\u2029b"},
        {"subject": "a\x7fb"},
        {"subject": "a\uffffb"},
        {"html": "", "text": " \n"},
        {"html": "a\0b"},
        {"html": "x" * 5_000_001},
        {"text": "x" * 5_000_001},
        {"notes": "a\x1bb"},
        {"notes": "x" * 2001},
    ],
)
def test_what_cannot_be_a_message(given: dict[str, str], shared_shelf: Shelf) -> None:
    shared_shelf.refuses(
        InvalidMessage, add_message, shared_shelf.lists[0], EMAIL, **{"subject": "s", "html": "h", **given}
    )
    found = shared_shelf.add()
    shared_shelf.refuses(InvalidMessage, edit_message, found, **given)
    assert shared_shelf.do(load_message, found.id) == found


@pytest.fixture(scope="module")
def shared_shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """One on SQLite, for what does not depend on the database."""
    yield from _open_shelf(tmp_path_factory.mktemp("shelf"))


def _open_shelf(folder: Path) -> Iterator[Shelf]:
    database = Database(f"sqlite:///{folder}/listbridge.db")
    migrate(database)
    with database.write() as connection:
        account = add_account(connection, 1, password="x")
        lists = [add_list(connection, account.id, name) for name in ("A", "B")]
    yield Shelf(database, lists)
    database.close()


def test_contents_lose_what_programs_cannot_be_told_of(shelf: Shelf) -> None:
    assert shelf.add(html="a\x0c\x01b\ud800\ufffe\r\n\tc").html == "ab\r\n\tc"


def test_changes(shelf: Shelf) -> None:
    found = shelf.add(text="t", notes="n", settings=MessageSettings(track_links=True))
    assert shelf.do(edit_message, found).settings == found.settings
    edited = shelf.do(edit_message, found, subject="Other", html="", settings=MessageSettings(unicode=True))
    assert (edited.subject, edited.html, edited.text, edited.notes) == ("Other", "", "t", "n")
    assert (edited.settings, edited.created_at) == (MessageSettings(unicode=True), found.created_at)
    assert shelf.do(load_message, found.id) == edited


def test_listings(shelf: Shelf) -> None:
    first, second = shelf.add(subject="One", text="long"), shelf.add(subject="Two")
    clone = shelf.do(clone_message, first)
    shelf.do(add_message, shelf.lists[1], EMAIL, subject="Elsewhere", html="h")
    shelf.add(SMS, text="Hello")

    def ask(channel: Channel, cloned: bool | None) -> list[tuple[int, str]]:
        return [(row.number, row.text) for row in shelf.do(list_messages, shelf.lists[0], channel, cloned=cloned)]

    assert ask(EMAIL, None) == [(1, ""), (2, ""), (3, "")]
    assert ask(EMAIL, False) == [(first.number, ""), (second.number, "")]
    assert ask(EMAIL, True) == [(clone.number, "")]
    assert ask(SMS, None) == [(1, "Hello")]


@pytest.mark.parametrize("state", ["preparing", "sending", "paused"])
def test_what_people_are_getting_stays(shelf: Shelf, state: SendingState) -> None:
    found, other = shelf.add(), shelf.add()
    shelf.do(add_file, found, IMAGE)
    shelf.do(add_sending, shelf.lists[0], EMAIL, other, state=state)
    shelf.do(edit_message, found, subject="Free")
    new = shelf.do(add_sending, shelf.lists[0], EMAIL, found, state="scheduled")
    shelf.do(edit_message, found, subject="Not yet begun")
    shelf.do(_set_sending, new.id, state=state)
    for work in ((edit_message, found), (add_file, found, IMAGE), (set_files, found, "image", ())):
        assert "has begun" in shelf.refuses(NotAllowedNow, *work)
    shelf.refuses(NotAllowedNow, remove_file, found, "image", IMAGE.name)
    shelf.do(_set_sending, new.id, state="scheduled", total=3)
    shelf.refuses(NotAllowedNow, edit_message, found)
    shelf.do(_set_sending, new.id, kind="single", state=state)
    shelf.do(edit_message, found, subject="To one alone")
    shelf.do(_set_sending, new.id, kind="bulk", state="completed")
    shelf.do(edit_message, found, subject="Over")
    assert shelf.do(load_message, found.id).subject == "Over"


def _set_sending(connection: Any, sending_id: int, **values: Any) -> None:
    connection.execute(sending.update().where(sending.c.id == sending_id).values(**values))


def test_what_was_sent_is_not_removed(shelf: Shelf) -> None:
    found, sent = shelf.add(), shelf.add()
    shelf.do(add_file, found, IMAGE)
    shelf.do(add_sending, shelf.lists[0], EMAIL, sent, state="completed")
    assert shelf.refuses(NotAllowedNow, remove_message, sent) == "Message 2 has sendings, so it cannot be removed."
    shelf.do(remove_message, found)
    shelf.refuses(UnknownMessage, find_message, found.account_id, EMAIL, 1)
    with shelf.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(message_file)).scalar_one() == 0
    # Its number is not given out again.
    assert shelf.add().number == 3


def test_files(shelf: Shelf) -> None:
    found = shelf.add()
    attached = [
        make_attachment(name, name.encode()) for name in ("Prezzi – 東京.pdf", "x", "a.tar.gz", "b.eml", "c.txt")
    ]
    assert [file.content_type for file in attached] == [
        "application/pdf",
        "application/octet-stream",
        "application/octet-stream",
        "application/octet-stream",
        "text/plain",
    ]
    for file in (*attached, IMAGE):
        shelf.do(add_file, found, file)
    assert shelf.do(files_of, found) == [*attached, IMAGE]
    assert shelf.do(list_files, found)[-1] == ("image", IMAGE.name, "image/png", 4)
    assert "two files" in shelf.refuses(InvalidMessage, add_file, found, attached[1])
    shelf.do(add_file, found, MessageFile("image", "x", "image/png", b""))
    shelf.do(set_files, found, "attachment", attached[:1])
    shelf.do(remove_file, found, "image", "x")
    assert shelf.do(files_of, found) == [IMAGE, attached[0]]
    assert "no file 'x'" in shelf.refuses(InvalidMessage, remove_file, found, "image", "x")
    # What is refused leaves what was there.
    shelf.refuses(InvalidMessage, set_files, found, "attachment", [attached[1], attached[1]])
    assert shelf.do(files_of, found) == [IMAGE, attached[0]]


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("", "text/plain"),
        ("x" * 256, "text/plain"),
        ("a\r\nb", "text/plain"),
        ("a\0", "text/plain"),
        ("../a", "text/plain"),
        ("a\\b", "text/plain"),
        ("..", "text/plain"),
        ("a", ""),
        ("a", "text"),
        ("a", "text/plain\r\nBcc: b@example.com"),
        ("a", "text/plain; name=b"),
        ("a", "message/rfc822"),
        ("a", "Multipart/mixed"),
        ("a", "text/" + "x" * 64),
    ],
)
def test_what_cannot_be_a_file(shared_shelf: Shelf, name: str, content_type: str) -> None:
    found = shared_shelf.add()
    shared_shelf.refuses(InvalidMessage, add_file, found, MessageFile("attachment", name, content_type, b"x"))
    assert shared_shelf.do(files_of, found) == []


def test_twenty_five_megabytes(shelf: Shelf) -> None:
    found = shelf.add()
    half = make_attachment("half.bin", bytes(MAX_FILES_SIZE // 2))
    shelf.do(add_file, found, half)
    shelf.do(add_file, found, make_attachment("other.bin", half.content))
    refusal = shelf.refuses(InvalidMessage, add_file, found, make_attachment("more", b"x"))
    assert refusal == "The files of a message have 26,214,401 bytes together; at most 25 MiB can be."
    clone = shelf.do(clone_message, found)
    assert [(name, size) for _, name, _, size in shelf.do(list_files, clone)] == [
        ("half.bin", MAX_FILES_SIZE // 2),
        ("other.bin", MAX_FILES_SIZE // 2),
    ]


def test_files_added_at_once_keep_the_limit(shelf: Shelf) -> None:
    found = shelf.add()
    content = bytes(10 * 1024 * 1024)

    def add(place: int) -> bool:
        try:
            shelf.do(add_file, found, make_attachment(f"{place}.bin", content))
        except InvalidMessage:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(add, range(4))) == 2
    assert len(shelf.do(list_files, found)) == 2


def test_defaults_of_fields(shelf: Shelf) -> None:
    account_id = shelf.lists[0].account_id
    shelf.do(set_field, account_id, 1, "nome", default_value=" friend ")
    shelf.do(set_field, account_id, 2, "cognome")
    shelf.do(set_field, account_id, 1, "name")
    shelf.do(set_field, shelf.lists[2].account_id, 1, "name", default_value="other")
    assert shelf.do(fields_of, account_id) == {1: "name", 2: "cognome"}
    assert shelf.do(default_values_of, account_id) == {1: "friend"}
    shelf.do(set_field, account_id, 1, "name", default_value="")
    assert shelf.do(default_values_of, account_id) == {}
    for value in ("x" * 1001, "a\0b", "a\x1bb"):
        with pytest.raises(InvalidName):
            shelf.do(set_field, account_id, 1, "name", default_value=value)


@dataclass
class _Expected:
    """A message as it should be."""

    message: Message
    subject: str
    html: str
    files: dict[tuple[str, str], bytes] = field(default_factory=dict)


class MessagesModel(RuleBasedStateMachine):
    """Changes and copies in any order: none of them is felt by another message."""

    def __init__(self, shelf: Shelf) -> None:
        super().__init__()
        self.shelf = shelf
        self.expected: list[_Expected] = []

    @rule(subject=some.text("ab<\u00e8", min_size=1, max_size=3), html=some.text("<p>&", min_size=1, max_size=4))
    def write(self, subject: str, html: str) -> None:
        self.expected.append(_Expected(self.shelf.add(subject=subject, html=html), subject, html))

    @precondition(lambda self: self.expected)
    @rule(data=some.data(), subject=some.sampled_from(["", "Copy"]))
    def copy(self, data: some.DataObject, subject: str) -> None:
        source = self.pick(data)
        clone = self.shelf.do(clone_message, self.shelf.do(load_message, source.message.id), subject)
        assert clone.cloned_from == source.message.number
        self.expected.append(_Expected(clone, subject or source.subject, source.html, dict(source.files)))

    @precondition(lambda self: self.expected)
    @rule(data=some.data(), html=some.text("xyz", min_size=1, max_size=3))
    def edit(self, data: some.DataObject, html: str) -> None:
        found = self.pick(data)
        self.shelf.do(edit_message, found.message, subject=found.subject, html=html)
        found.html = html

    @precondition(lambda self: self.expected)
    @rule(data=some.data(), name=some.sampled_from("ab"), kind=some.sampled_from(["attachment", "image"]))
    def attach(self, data: some.DataObject, name: str, kind: Any) -> None:
        found = self.pick(data)
        file = MessageFile(kind, name, "text/plain", found.html.encode())
        if (kind, name) in found.files:
            self.shelf.refuses(InvalidMessage, add_file, found.message, file)
        else:
            self.shelf.do(add_file, found.message, file)
            found.files[kind, name] = file.content

    @precondition(lambda self: self.expected)
    @rule(data=some.data())
    def remove(self, data: some.DataObject) -> None:
        found = self.pick(data)
        self.shelf.do(remove_message, found.message)
        self.expected.remove(found)

    def pick(self, data: some.DataObject) -> _Expected:
        return self.expected[data.draw(some.integers(0, len(self.expected) - 1))]

    @invariant()
    def all_are_as_expected(self) -> None:
        with self.shelf.database.read() as connection:
            for wanted in self.expected:
                found = load_message(connection, wanted.message.id)
                files = {(file.kind, file.name): file.content for file in files_of(connection, found)}
                assert (found.subject, found.html, files) == (wanted.subject.strip(), wanted.html, wanted.files)


def test_messages_of_a_model(shared_shelf: Shelf) -> None:
    limits = run_settings(max_examples=15, stateful_step_count=12, deadline=None)
    run_state_machine_as_test(lambda: MessagesModel(shared_shelf), settings=limits)
