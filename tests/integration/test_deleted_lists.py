"""What a deleted list leaves: nobody finds it, nothing goes into it, and housekeeping takes its content away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Table, func, select

from audience.accounts import Account, load_account
from audience.errors import InvalidSetting, ListBusy, UnknownList
from audience.list_changes import change_defaults, change_list
from audience.list_settings import read_settings
from audience.lists import (
    MailingList,
    add_group,
    add_list,
    find_list,
    find_list_by_guid,
    lists_by_external_id,
    lists_of,
    lists_with_groups,
)
from audience.selections import Selection
from audience.status_rules import Channel
from audience.templates import add_template
from audience.unsubscribed import select_unsubscribed
from db.engine import Database
from db.leases import name_owner
from db.tables import (
    account,
    group_member,
    history,
    import_run,
    list_group,
    mailing_list,
    message,
    message_file,
    message_template,
    outbox,
    recipient,
    recipient_filter,
    sending,
    subscription,
    webhook,
)
from delivery.filters import add_filter
from delivery.message_files import add_file, make_attachment
from delivery.messages import add_message
from delivery.sendings import add_sending
from exchange.profiles import Profile
from ftp_server.records import look_up
from jobs import deleted_lists
from jobs.deleted_lists import GRACE, empty_deleted_lists
from jobs.feeds import close_list, feeds_of, find_feed, open_list, set_feed
from jobs.import_results import import_result
from jobs.imports import run_next_import
from jobs.queue import ImportRequest, enqueue_import
from jobs.storage import Storage

NOW = datetime.now(UTC)
PEOPLE = 25
TABLES = {
    subscription: "list_id",
    list_group: "list_id",
    message_template: "list_id",
}


@dataclass(frozen=True)
class House:
    """Two lists with the same people in them, each with a group, a template, a webhook and mails."""

    database: Database
    storage: Storage
    account: Account
    lists: list[MailingList]

    def close(self, place: int = 0) -> None:
        with self.database.write() as connection:
            close_list(connection, self.lists[place])

    def count(self, place: int) -> dict[str, int]:
        """Return how many rows each table has of a list."""
        list_id = self.lists[place].id
        with self.database.read() as connection:
            of_groups = group_member.join(list_group, list_group.c.id == group_member.c.group_id)
            members = select(group_member).select_from(of_groups).where(list_group.c.list_id == list_id)
            queries = {table.name: select(table).where(table.c[name] == list_id) for table, name in TABLES.items()}
            waiting = select(outbox).where(outbox.c.list_id == list_id, outbox.c.state == "waiting")
            queries |= {"group_member": members, "outbox": waiting}
            return {name: len(connection.execute(query).all()) for name, query in queries.items()}

    def all_members(self) -> int:
        with self.database.read() as connection:
            return len(connection.execute(select(group_member)).all())

    def make_old(self) -> None:
        """Let the deletion be long ago."""
        with self.database.write() as connection:
            deleted = mailing_list.c.deleted_at.is_not(None)
            connection.execute(mailing_list.update().where(deleted).values(deleted_at=NOW - GRACE - timedelta(1)))


@pytest.fixture
def house(database: Database, storage: Storage) -> Iterator[House]:
    with database.write() as connection:
        values = {"number": 1, "name": "", "time_zone": "UTC", "secret_key": "0" * 64, "list_defaults": {}}
        insert = account.insert().values(**values, created_at=NOW, state="active").returning(account.c.id)
        owner = load_account(connection, connection.execute(insert).scalar_one())
        lists = [open_list(connection, storage, owner, name, {}, external_id="x") for name in ("One", "Two")]
        person = {"account_id": owner.id, "fields": {}, "created_at": NOW, "updated_at": NOW}
        ids = range(1, PEOPLE + 1)
        connection.execute(recipient.insert(), [{**person, "id": i, "email": f"p{i}@example.com"} for i in ids])
        past = {"account_id": owner.id, "kind": 1, "at": NOW, "source": "page"}
        connection.execute(history.insert(), [{**past, "recipient_id": i, "list_id": lists[0].id} for i in ids])
        for place, mailing in enumerate(lists):
            group = add_group(connection, mailing, "Group")
            add_template(connection, owner.id, mailing, subject="s", html="")
            held = {"list_id": mailing.id, "changed_at": NOW, "source": "ftp", "status": 3, "unsubscribed_at": NOW}
            rows = [{**held, "recipient_id": i, "channel": channel} for i in ids for channel in (1, 2)]
            connection.execute(subscription.insert(), rows)
            connection.execute(group_member.insert(), [{"recipient_id": i, "group_id": group.id} for i in ids])
            mail = {"account_id": owner.id, "list_id": mailing.id, "kind": "welcome", "created_at": NOW}
            for state in ("waiting", "sent"):
                connection.execute(outbox.insert(), [{**mail, "recipient_id": i, "state": state} for i in ids])
            hook = {
                "account_id": owner.id,
                "number": place + 1,
                "list_id": mailing.id,
                "name": "",
                "event": "subscribe",
            }
            shape: dict[str, Any] = {"sources": [], "method": "GET", "format": "form", "parameters": []}
            url = "https://example.com/"
            connection.execute(webhook.insert().values(**hook, **shape, url=url, active=True, created_at=NOW))
    yield House(database, storage, owner, lists)


def test_nobody_finds_it(house: House) -> None:
    house.close()
    one, two = house.lists
    with house.database.read() as connection:
        assert lists_of(connection, one.account_id) == lists_by_external_id(connection, one.account_id, "x") == [two]
        assert [row[0] for row in lists_with_groups(connection, one.account_id)] == [2]
        with pytest.raises(UnknownList):
            find_list(connection, one.account_id, one.number)
        with pytest.raises(UnknownList):
            find_list_by_guid(connection, one.guid)
        assert find_feed(connection, one.account_id, "import/1") is None
        assert [feed.folder for feed in feeds_of(connection, one.account_id)] == ["import/2"]
        hooks = connection.execute(select(webhook.c.list_id).where(webhook.c.active)).scalars().all()
        assert hooks == [two.id]
        rows = connection.execute(select_unsubscribed(Selection(account_id=one.account_id), ["list"])).all()
        assert [row[0] for row in rows] == [2] * PEOPLE


def test_uploads_into_its_folders_are_refused(house: House) -> None:
    with house.database.write() as connection:
        set_feed(connection, house.storage, house.account, "import/1/below", Profile())
    house.close()
    for folder in ("import/1", "import/1/below", "import/1/other"):
        found = look_up(house.database, house.storage, house.account.id, folder)
        assert (found.feed, found.list_known) == (None, False)
    assert look_up(house.database, house.storage, house.account.id, "import/2").feed is not None
    with house.database.write() as connection, pytest.raises(UnknownList):
        set_feed(connection, house.storage, house.account, "import/1", Profile())


@pytest.mark.parametrize("state", ["prepared", "queued", "running"])
def test_a_list_with_an_import_stays(house: House, state: str) -> None:
    request = ImportRequest(
        account_id=house.account.id,
        list_id=house.lists[0].id,
        profile=Profile(),
        source="soap",
        file_name="a",
        spool_name="a",
        size=1,
    )
    with house.database.write() as connection:
        import_id = enqueue_import(connection, request)
        connection.execute(import_run.update().where(import_run.c.id == import_id).values(state=state))
    with pytest.raises(ListBusy):
        house.close()
    house.close(1)
    with house.database.write() as connection:
        connection.execute(import_run.update().values(state="skipped"))
    house.close()


def test_its_content_goes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deleted_lists, "BATCH_ROWS", 4)
    whole = house.count(1)
    assert whole == {
        "subscription": 2 * PEOPLE,
        "list_group": 1,
        "message_template": 1,
        "group_member": PEOPLE,
        "outbox": PEOPLE,
    }
    house.close()
    assert empty_deleted_lists(house.database) == 0
    assert house.count(0) == whole
    house.make_old()
    assert empty_deleted_lists(house.database) == 1
    assert house.count(0) == dict.fromkeys(whole, 0)
    assert house.count(1) == whole
    assert house.all_members() == PEOPLE
    with house.database.read() as connection:
        assert len(connection.execute(select(recipient)).all()) == PEOPLE
        assert len(connection.execute(select(history)).all()) == PEOPLE
        assert len(connection.execute(select(mailing_list)).all()) == 2
    assert empty_deleted_lists(house.database) == 0


def test_its_messages_go_and_what_was_sent_stays(house: House) -> None:
    with house.database.write() as connection:
        for mailing in house.lists:
            written = add_message(connection, mailing, Channel.EMAIL, subject="Hello", html="<p>x</p>")
            add_file(connection, written, make_attachment("a.txt", b"x"))
            add_filter(connection, house.account, "All", ["email empty"], mailing=mailing)
            for _ in range(3):
                add_sending(connection, mailing, Channel.EMAIL, written, state="completed")
        late = add_sending(connection, house.lists[0], Channel.EMAIL, written, state="sending")

    def left(table: Table) -> int:
        with house.database.read() as connection:
            return connection.execute(select(func.count()).select_from(table)).scalar_one()

    tables = (message, message_file, recipient_filter, sending)
    house.close()
    house.make_old()
    with house.database.write() as connection:
        here = sending.c.id == late.id
        connection.execute(sending.update().where(here).values(state="sending"))
    assert empty_deleted_lists(house.database) == 0
    assert [left(table) for table in tables] == [2, 2, 2, 7]
    with house.database.write() as connection:
        connection.execute(sending.update().where(here).values(state="completed", message_id=None))
    assert empty_deleted_lists(house.database) == 1
    assert [left(table) for table in tables] == [1, 1, 1, 7]
    with house.database.read() as connection:
        query = select(sending.c.message_number, sending.c.message_id.is_(None)).order_by(sending.c.id)
        assert [tuple(row) for row in connection.execute(query)][:6] == [(1, True)] * 3 + [(2, False)] * 3


def test_emptying_that_was_cut_off_goes_on(house: House) -> None:
    house.close()
    house.make_old()
    with house.database.write() as connection:
        connection.execute(subscription.delete().where(subscription.c.recipient_id <= 10))
    assert empty_deleted_lists(house.database) == 1
    assert set(house.count(0).values()) == {0}


def test_its_number_is_not_given_again(house: House) -> None:
    house.close(1)
    with house.database.write() as connection:
        assert add_list(connection, house.account.id, "Two").number == 3


def test_changes_of_settings(house: House) -> None:
    one, two = house.lists
    with house.database.write() as connection:
        change_list(connection, one, {"language": "it", "unsubscribe_lists": "2", "default_prefix": "0044"})
        found = find_list(connection, one.account_id, 1)
        assert (found.default_prefix, found.settings) == ("+44", {"language": "it", "unsubscribe_lists": [2]})
        assert read_settings(found.settings).unsubscribe_lists == (2,)
        for bad in ({"language": "xx"}, {"unsubscribe_lists": "3"}, {"default_prefix": "x"}, {"colour": "red"}):
            with pytest.raises(InvalidSetting) as refused:
                change_list(connection, one, {"color": "#000000", **bad})
            assert refused.value.setting == next(iter(bad))
        change_list(connection, one, {})
        change_list(connection, one, {"language": "en", "unsubscribe_lists": ""})
        assert find_list(connection, one.account_id, 1).settings == {}
        assert find_list(connection, one.account_id, 2) == two


def test_defaults_of_an_account(house: House) -> None:
    with house.database.write() as connection:
        change_defaults(connection, house.account.id, {"language": "fr", "default_prefix": "33"})
        added = add_list(connection, house.account.id, "Three")
        assert (added.default_prefix, added.settings) == ("+33", {"language": "fr"})
        change_defaults(connection, house.account.id, {"language": "en", "color": "#ABCDEF"})
        assert find_list(connection, house.account.id, 3).settings == {"language": "fr"}
        like = add_list(connection, house.account.id, "Four", like=added)
        assert (like.default_prefix, like.settings) == ("+33", {"language": "fr"})
        with pytest.raises(InvalidSetting):
            change_defaults(connection, house.account.id, {"unsubscribe_lists": "9"})
        last = add_list(connection, house.account.id, "Five")
        assert (last.default_prefix, last.settings) == ("+33", {"color": "#abcdef"})


def test_an_import_that_was_queued_as_its_list_went_fails(house: House) -> None:
    request = ImportRequest(
        account_id=house.account.id,
        list_id=house.lists[0].id,
        profile=Profile(),
        source="soap",
        file_name="late.csv",
        spool_name="0" * 32,
        size=1,
    )
    house.close()
    with house.database.write() as connection:
        import_id = enqueue_import(connection, request)
    assert run_next_import(house.database, house.storage, name_owner())
    with house.database.read() as connection:
        result = import_result(connection, import_id)
    assert (result.state, result.error_code) == ("failed", "list-gone")
