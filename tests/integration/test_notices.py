"""Notices: written once for each thing they tell of, to whoever is named, and listed for the operator."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from audience.accounts import Account, add_account
from audience.errors import InvalidAddress
from audience.notices import MAX_SUBJECT, add_notice, find_contact, set_contact, waiting_notices
from db.engine import Database
from db.retry import retry_on_conflict
from db.tables import notice

CONTACT = "operator@example.com"


@pytest.fixture
def owner(database: Database) -> Account:
    with database.write() as connection:
        account = add_account(connection, 7, password="secret")
        set_contact(connection, account.id, CONTACT)
    return account


def add(database: Database, owner: Account, key: str = "import:1", address: str | None = None) -> bool:
    with database.write() as connection:
        return add_notice(
            connection, owner.id, key=key, kind="import", subject="Import 1", text="It failed.\n", address=address
        )


def test_a_notice_is_written_once(database: Database, owner: Account) -> None:
    assert add(database, owner)
    assert add(database, owner)
    assert add(database, owner, "import:2", "crm@example.com")
    with database.read() as connection:
        found = waiting_notices(connection)
    assert [(item.address, item.account_number, item.kind) for item in found] == [
        (CONTACT, 7, "import"),
        ("crm@example.com", 7, "import"),
    ]


def test_many_who_write_it_at_once_write_one(database: Database, owner: Account) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda _: retry_on_conflict(lambda: add(database, owner)), range(16)))
    with database.read() as connection:
        assert len(waiting_notices(connection)) == 1


def test_without_anybody_to_tell(database: Database, owner: Account) -> None:
    with database.write() as connection:
        assert set_contact(connection, owner.id, None) is None
    assert not add(database, owner)
    assert add(database, owner, address="crm@example.com")


def test_contacts_are_addresses_in_one_spelling(database: Database, owner: Account) -> None:
    with database.write() as connection:
        assert set_contact(connection, owner.id, " Operator@Example.COM ") == CONTACT
        with pytest.raises(InvalidAddress):
            set_contact(connection, owner.id, "nobody")
        assert find_contact(connection, owner.id) == CONTACT


def test_a_subject_is_one_short_line(database: Database, owner: Account) -> None:
    with database.write() as connection:
        subject = "Import of a\r\nBcc: x@example.com\n" + "n" * 1000
        add_notice(connection, owner.id, key="k", kind="import", subject=subject, text="")
        (found,) = waiting_notices(connection)
    assert found.subject.startswith("Import of a Bcc: x@example.com nnn")
    assert len(found.subject) == MAX_SUBJECT


def test_what_is_listed(database: Database, owner: Account) -> None:
    with database.write() as connection:
        other = add_account(connection, 8, password="secret")
    for number in range(3):
        add(database, owner, f"import:{number}")
    add(database, other, "import:3", "crm@example.com")
    with database.write() as connection:
        connection.execute(notice.update().where(notice.c.key == "import:0").values(state="sent"))
        assert len(waiting_notices(connection)) == 3
        assert len(waiting_notices(connection, limit=1)) == 1
        assert [item.account_number for item in waiting_notices(connection, account_id=other.id)] == [8]
