"""Lists, their groups, and the personal data fields of an account."""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, exists, select

from audience.errors import InvalidName, UnknownGroup, UnknownList
from audience.numbers import take_number
from db.tables import account, field, list_group, mailing_list, webhook

MAX_GROUP_NAME = 50
MAX_LIST_NAME = 200
MAX_NOTES = 2_000
MAX_DEFAULT_VALUE = 1_000
MAX_EXTERNAL_ID = 200
DEFAULT_PREFIX = "+39"
# Old clients decode entities twice and then parse, so these characters would break their XML.
_UNREADABLE = re.compile(r'[&"<>\x00-\x1f\x7f]')
_NOT_IN_NOTES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class MailingList:
    """One independent set of subscriptions of an account."""

    id: int
    account_id: int
    number: int
    guid: str
    name: str
    default_prefix: str
    """International prefix for mobile numbers given without one, such as `+39`."""
    external_id: str | None = None
    """Of the system that made the list, for lists that belong together there."""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False)
    """As stored; see `audience.list_settings.read_settings`."""
    notifies: bool = dataclasses.field(default=False, compare=False)
    """Whether the account has webhooks that are told of changes, to this list or others."""


@dataclass(frozen=True, slots=True)
class Group:
    """A subset of a list; its number is unique in the account."""

    id: int
    list_id: int
    number: int
    name: str
    notes: str = ""


LIST_COLUMNS = (
    mailing_list.c.id,
    mailing_list.c.account_id,
    mailing_list.c.number,
    mailing_list.c.guid,
    mailing_list.c.name,
    mailing_list.c.default_prefix,
    mailing_list.c.external_id,
    mailing_list.c.settings,
    exists().where(webhook.c.account_id == mailing_list.c.account_id, webhook.c.active).label("notifies"),
)
"""What `MailingList` is made of, in this order."""

GroupRow = Row[int, str, str, int | None, str | None]
"""Number, GUID and name of a list, number and name of one of its groups."""


def add_list(
    connection: Connection,
    account_id: int,
    name: str,
    *,
    like: MailingList | None = None,
    external_id: str | None = None,
) -> MailingList:
    """Add a list; see `jobs.feeds.open_list` for a list together with its import folder.

    Args:
        connection: in a writing transaction.
        account_id: whose list it is.
        name: of the list; another one may have it too.
        like: the list whose settings it gets; without one it gets the account's defaults.
        external_id: of the system that makes the list, if it has one there.

    Raises:
        InvalidName: the name is empty, too long, or has `&`, `"`, `<`, `>` or control characters; or the external id
            is too long or has control characters.
    """
    prefix, settings = (like.default_prefix, like.settings) if like else _read_defaults(connection, account_id)
    values = {
        "account_id": account_id,
        "number": take_number(connection, account_id, "list"),
        "guid": str(uuid.uuid4()),
        "name": _check_name(name, MAX_LIST_NAME),
        "default_prefix": prefix,
        "external_id": _clean_external_id(external_id),
        "settings": dict(settings),
    }
    inserted = connection.execute(mailing_list.insert().values(**values, created_at=datetime.now(UTC)))
    assert inserted.inserted_primary_key is not None
    return MailingList(id=inserted.inserted_primary_key[0], **values)  # type: ignore[arg-type]


def _read_defaults(connection: Connection, account_id: int) -> tuple[str, Mapping[str, Any]]:
    query = select(account.c.list_defaults).where(account.c.id == account_id)
    settings = dict(connection.execute(query).scalar_one())
    return settings.pop("default_prefix", DEFAULT_PREFIX), settings


def _clean_external_id(external_id: str | None) -> str | None:
    cleaned = (external_id or "").strip()
    if len(cleaned) > MAX_EXTERNAL_ID or _NOT_IN_NOTES.search(cleaned):
        raise InvalidName(f"An external id has at most {MAX_EXTERNAL_ID} characters and no control characters.")
    return cleaned or None


def is_here() -> ColumnElement[bool]:
    """Return the condition that leaves out deleted lists."""
    return mailing_list.c.deleted_at.is_(None)


def lists_of(connection: Connection, account_id: int) -> list[MailingList]:
    """Return the lists of an account by number."""
    return [MailingList(*row) for row in connection.execute(_LISTS, {"account_id": account_id})]


def lists_with_groups(connection: Connection, account_id: int) -> Sequence[GroupRow]:
    """Return number, GUID and name of each list of an account with number and name of each group, by the numbers.

    A list without groups is there once, with None for number and name of a group.
    """
    return connection.execute(_LISTS_WITH_GROUPS, {"account_id": account_id}).all()


def find_list(connection: Connection, account_id: int, number: int, guid: str | None = None) -> MailingList:
    """Return a list of an account by its number, verified against the GUID if one is given.

    Raises:
        UnknownList: no such list in this account, or the GUID is another list's.
    """
    query = select(*LIST_COLUMNS).where(
        mailing_list.c.account_id == account_id, mailing_list.c.number == number, is_here()
    )
    row = connection.execute(query).one_or_none()
    if row is None or (guid is not None and row.guid != guid.strip().strip("{}").lower()):
        raise UnknownList(f"There is no list {number} in this account, or its GUID is another one.")
    return MailingList(*row)


def find_list_by_guid(connection: Connection, guid: str) -> MailingList:
    """Return the list with this GUID, in whichever account.

    Raises:
        UnknownList: there is none.
    """
    query = select(*LIST_COLUMNS).where(mailing_list.c.guid == guid.strip().strip("{}").lower(), is_here())
    row = connection.execute(query).one_or_none()
    if row is None:
        raise UnknownList("There is no list with this GUID.")
    return MailingList(*row)


def load_list(connection: Connection, list_id: int) -> MailingList:
    """Return the list with this internal id, which must exist, though it may have been deleted."""
    return MailingList(*connection.execute(select(*LIST_COLUMNS).where(mailing_list.c.id == list_id)).one())


def lists_by_external_id(connection: Connection, account_id: int, external_id: str | None) -> list[MailingList]:
    """Return the lists that another system made under its own id, by number; an empty id is nobody's."""
    wanted = (external_id or "").strip()
    return [mailing for mailing in lists_of(connection, account_id) if wanted and mailing.external_id == wanted]


def add_group(connection: Connection, mailing: MailingList, name: str, notes: str = "") -> Group:
    """Return the list's group of this name, made if it did not exist; longer names are cut to 50 characters.

    Args:
        connection: in a writing transaction.
        mailing: the list.
        name: of the group.
        notes: of a new group; those of an old one stay.

    Raises:
        InvalidName: the name is empty or has `&`, `"`, `<`, `>` or control characters, or the notes are too long.
    """
    name, notes = clean_group_name(name), clean_notes(notes)
    query = select(*_GROUP).where(list_group.c.list_id == mailing.id, list_group.c.name == name)
    row = connection.execute(query).one_or_none()
    if row is None:
        # One after the other, so that two who add the same group at the same moment get one.
        lock_list(connection, mailing)
        row = connection.execute(query).one_or_none()
    if row is not None:
        return Group(*row)
    number = take_number(connection, mailing.account_id, "group")
    values = {"account_id": mailing.account_id, "list_id": mailing.id, "number": number, "name": name, "notes": notes}
    inserted = connection.execute(list_group.insert().values(**values))
    assert inserted.inserted_primary_key is not None
    return Group(inserted.inserted_primary_key[0], mailing.id, number, name, notes)


def lock_list(connection: Connection, mailing: MailingList) -> None:
    """Wait until nobody else changes a list or its groups, and keep others from it until the transaction ends."""
    here = select(mailing_list.c.id).where(mailing_list.c.id == mailing.id)
    # Not so strongly that nobody could refer to the list meanwhile.
    connection.execute(here.with_for_update(key_share=True))


def find_group(connection: Connection, account_id: int, number: int) -> tuple[MailingList, Group]:
    """Return a group of an account by its number, and the list it is of.

    Raises:
        UnknownGroup: no such group in this account.
    """
    query = (
        select(*LIST_COLUMNS, *_GROUP)
        .join_from(mailing_list, list_group, list_group.c.list_id == mailing_list.c.id)
        .where(list_group.c.account_id == account_id, list_group.c.number == number, is_here())
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        raise UnknownGroup(f"There is no group {number}.")
    return MailingList(*row[: len(LIST_COLUMNS)]), Group(*row[len(LIST_COLUMNS) :])


def clean_group_name(name: str) -> str:
    """Return a group's name as it will be kept: trimmed and cut to 50 characters.

    Raises:
        InvalidName: it is empty or has `&`, `"`, `<`, `>` or control characters.
    """
    return _check_name(name.strip()[:MAX_GROUP_NAME], MAX_GROUP_NAME)


def clean_notes(notes: str) -> str:
    """Return a group's notes as they will be kept: trimmed.

    Raises:
        InvalidName: they are longer than 2,000 characters or have control characters but line breaks and tabs.
    """
    notes = notes.strip()
    if len(notes) > MAX_NOTES or _NOT_IN_NOTES.search(notes):
        raise InvalidName(f"Notes have at most {MAX_NOTES} characters, and no control characters but line breaks.")
    return notes


def groups_of(connection: Connection, list_ids: Iterable[int]) -> list[Group]:
    """Return the groups of some lists by number."""
    query = select(*_GROUP).where(list_group.c.list_id.in_(list(list_ids))).order_by(list_group.c.number)
    return [Group(*row) for row in connection.execute(query)]


def set_field(
    connection: Connection, account_id: int, number: int, name: str, *, default_value: str | None = None
) -> None:
    """Name a personal data field of an account, a new one or one that has a name already.

    Args:
        connection: in a writing transaction.
        account_id: internal id.
        number: of the field, from 1.
        name: of the field.
        default_value: what messages say where a recipient has no value; None leaves what there is.

    Raises:
        InvalidName: the number is not positive, or the name or the default value is not usable.
    """
    if number < 1:
        raise InvalidName("A field number is a positive whole number.")
    values = {"name": _check_name(name, MAX_LIST_NAME)}
    if default_value is not None:
        values["default_value"] = _check_default_value(default_value)
    here = (field.c.account_id == account_id) & (field.c.number == number)
    if connection.execute(field.update().where(here).values(**values)).rowcount == 0:
        connection.execute(field.insert().values(account_id=account_id, number=number, **values))


def fields_of(connection: Connection, account_id: int) -> dict[int, str]:
    """Return the names of an account's personal data fields by number."""
    query = select(field.c.number, field.c.name).where(field.c.account_id == account_id).order_by(field.c.number)
    return {row.number: row.name for row in connection.execute(query)}


def default_values_of(connection: Connection, account_id: int) -> dict[int, str]:
    """Return by number what messages say where a recipient has no value, of those fields that have such a text."""
    here = (field.c.account_id == account_id) & (field.c.default_value != "")
    return {row[0]: row[1] for row in connection.execute(select(field.c.number, field.c.default_value).where(here))}


_GROUP = (list_group.c.id, list_group.c.list_id, list_group.c.number, list_group.c.name, list_group.c.notes)
# Programs read their lists before all that they do, so these statements are made once.
_LISTS = (
    select(*LIST_COLUMNS)
    .where(mailing_list.c.account_id == bindparam("account_id"), is_here())
    .order_by(mailing_list.c.number)
)
# One statement, so that no transaction is needed to see lists and groups of one moment.
_LISTS_WITH_GROUPS = (
    select(mailing_list.c.number, mailing_list.c.guid, mailing_list.c.name, list_group.c.number, list_group.c.name)
    .outerjoin_from(mailing_list, list_group, list_group.c.list_id == mailing_list.c.id)
    .where(mailing_list.c.account_id == bindparam("account_id"), is_here())
    .order_by(mailing_list.c.number, list_group.c.number)
)


def _check_default_value(value: str) -> str:
    value = value.strip()
    if len(value) > MAX_DEFAULT_VALUE or _NOT_IN_NOTES.search(value):
        raise InvalidName(f"A default has at most {MAX_DEFAULT_VALUE} characters, and no control characters.")
    return value


def _check_name(name: str, longest: int) -> str:
    name = name.strip()
    if not 0 < len(name) <= longest:
        raise InvalidName(f"A name has 1 to {longest} characters.")
    if _UNREADABLE.search(name):
        raise InvalidName('A name has none of the characters & " < > and no control characters.')
    return name
