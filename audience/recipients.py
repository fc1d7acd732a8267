"""One recipient with everything that is known of him: for people who must say what happened, when and why."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Row, select

from audience.accounts import Account, load_account
from audience.addresses import normalise_email, normalise_mobile
from audience.errors import InvalidAddress
from audience.history import HistoryKind
from audience.lists import fields_of
from audience.status_rules import Channel, Reason, Status
from audience.subscriptions import Address
from db.tables import group_member, history, import_run, list_group, mailing_list, recipient, subscription

REASON_WORDS: Mapping[Reason, str] = MappingProxyType(
    {
        Reason.ADMINISTRATOR: "by an administrator",
        Reason.LINK: "link in a message",
        Reason.IMPORTED: "imported as unsubscribed",
        Reason.HARD_BOUNCE: "hard bounce",
        Reason.COMPLAINT: "spam complaint",
        Reason.HEADER_LINK: "unsubscribe link of the mail client",
        Reason.HEADER_MAILTO: "unsubscribe mail of the mail client",
        Reason.INACTIVE: "inactive",
        Reason.REJECTED: "rejected by the receiving server",
        Reason.SOFT_BOUNCES: "repeated soft bounces",
        Reason.FORGOTTEN: "right to be forgotten",
    }
)
"""What each reason means (mailup specification, section 6.4)."""
_STATUS_NAMES = {status.value: status.name.lower() for status in Status}
_CHANNEL_NAMES = {Channel.EMAIL: "e-mail", Channel.SMS: "sms"}
_ADDRESSES = ("email", "mobile")


@dataclass(frozen=True, slots=True)
class SubscriptionFacts:
    """What is known of a recipient in a list, by one channel; instants are in UTC."""

    list: int
    """Its number."""
    list_name: str
    channel: str
    status: str
    since: datetime
    subscribed_at: datetime | None
    reason: str | None
    """Code of type and sub-type."""
    reason_text: str | None
    source: str
    groups: Sequence[str]


@dataclass(frozen=True, slots=True)
class Event:
    """One change, as the history has it."""

    at: datetime
    kind: str
    """`status`, `profile`, `groups` or `erasure`."""
    list: int | None
    change: Mapping[str, Any]
    """What changed: `channel`, `before` and `after`; or by field name `[before, after]`; or `added` and `removed`."""
    source: str
    actor: str | None
    reason: str | None
    reason_text: str | None
    import_number: int | None


@dataclass(frozen=True, slots=True)
class RecipientFacts:
    """A recipient with his data, his subscriptions and his whole history, the newest change last."""

    id: int
    account: int
    """Its number."""
    time_zone: str
    email: str | None
    mobile: str | None
    external_key: str | None
    fields: Mapping[str, str]
    """By name."""
    created_at: datetime
    updated_at: datetime
    subscriptions: Sequence[SubscriptionFacts]
    history: Sequence[Event]


def read_address(text: str) -> Address:
    """Return the address that a person wrote: with `@` an e-mail address, otherwise an international mobile number.

    Raises:
        InvalidAddress: it is not well-formed, or the number has no international prefix.
    """
    if "@" in text:
        return Address(Channel.EMAIL, normalise_email(text))
    if not text.strip().startswith(("+", "00")):
        raise InvalidAddress("That is neither an e-mail address nor a mobile number with its international prefix.")
    return Address(Channel.SMS, normalise_mobile(text.strip(), "+39"))


def find_recipients(connection: Connection, address: Address, account_id: int | None = None) -> list[RecipientFacts]:
    """Return everything that is known of those who have an address: at most one in each account.

    Args:
        connection: one reading transaction, so that all is of one moment.
        address: normalised.
        account_id: only of this account.
    """
    key = recipient.c.email if address.channel == Channel.EMAIL else recipient.c.mobile
    query = select(recipient).where(key == address.value).order_by(recipient.c.account_id)
    if account_id is not None:
        query = query.where(recipient.c.account_id == account_id)
    return [_read_recipient(connection, person) for person in connection.execute(query).all()]


def describe_reason(reason_type: int | None, subtype: int | None) -> tuple[str | None, str | None]:
    """Return the code of a reason, the sub-type's digit appended to the type, and its words; None without a reason."""
    if reason_type is None:
        return None, None
    code = f"{reason_type}{'' if subtype is None else subtype}"
    known = {reason.value: words for reason, words in REASON_WORDS.items()}
    return code, known.get(reason_type, "unknown")


def _read_recipient(connection: Connection, person: Row[Any]) -> RecipientFacts:
    owner = load_account(connection, person.account_id)
    names = {str(number): name for number, name in fields_of(connection, owner.id).items()}
    return RecipientFacts(
        id=person.id,
        account=owner.number,
        time_zone=owner.time_zone,
        email=person.email,
        mobile=person.mobile,
        external_key=person.external_key,
        fields={_field_name(names, number): value for number, value in sorted(person.fields.items(), key=_by_number)},
        created_at=person.created_at,
        updated_at=person.updated_at,
        subscriptions=_read_subscriptions(connection, person.id),
        history=_read_history(connection, owner, person.id, names),
    )


def _by_number(item: tuple[str, str]) -> tuple[int, str]:
    return (int(item[0]) if item[0].isdigit() else 0, item[0])


def _field_name(names: Mapping[str, str], number: str) -> str:
    return names.get(number, number if number in _ADDRESSES else f"field {number}")


def _read_subscriptions(connection: Connection, recipient_id: int) -> list[SubscriptionFacts]:
    groups = _read_groups(connection, recipient_id)
    query = (
        select(mailing_list.c.number, mailing_list.c.name, subscription)
        .join(mailing_list, mailing_list.c.id == subscription.c.list_id)
        .where(subscription.c.recipient_id == recipient_id, mailing_list.c.deleted_at.is_(None))
        .order_by(mailing_list.c.number, subscription.c.channel)
    )
    return [_subscription_facts(row, groups.get(row.list_id, [])) for row in connection.execute(query)]


def _subscription_facts(row: Row[Any], groups: list[str]) -> SubscriptionFacts:
    reason, words = describe_reason(row.reason_type, row.reason_subtype)
    return SubscriptionFacts(
        list=row.number,
        list_name=row.name,
        channel=_CHANNEL_NAMES[Channel(row.channel)],
        status=_STATUS_NAMES[row.status],
        since=row.changed_at,
        subscribed_at=row.subscribed_at,
        reason=reason,
        reason_text=words,
        source=row.source,
        groups=groups,
    )


def _read_groups(connection: Connection, recipient_id: int) -> dict[int, list[str]]:
    query = (
        select(list_group.c.list_id, list_group.c.name)
        .join(group_member, group_member.c.group_id == list_group.c.id)
        .where(group_member.c.recipient_id == recipient_id)
        .order_by(list_group.c.number)
    )
    groups: dict[int, list[str]] = {}
    for row in connection.execute(query):
        groups.setdefault(row.list_id, []).append(row.name)
    return groups


def _read_history(connection: Connection, owner: Account, recipient_id: int, names: Mapping[str, str]) -> list[Event]:
    query = (
        select(history, mailing_list.c.number.label("list_number"), import_run.c.number.label("import_number"))
        .outerjoin(mailing_list, mailing_list.c.id == history.c.list_id)
        .outerjoin(import_run, import_run.c.id == history.c.import_id)
        .where(history.c.recipient_id == recipient_id, history.c.account_id == owner.id)
        .order_by(history.c.at, history.c.id)
    )
    rows = connection.execute(query).all()
    groups = _name_groups(connection, owner.id, rows)
    return [_event(row, names, groups) for row in rows]


def _event(row: Row[Any], names: Mapping[str, str], groups: Mapping[int, str]) -> Event:
    reason, words = describe_reason(row.reason_type, row.reason_subtype)
    return Event(
        at=row.at,
        kind=HistoryKind(row.kind).name.lower(),
        list=row.list_number,
        change=_change(row, names, groups),
        source=row.source,
        actor=row.actor,
        reason=reason,
        reason_text=words,
        import_number=row.import_number,
    )


def _change(row: Row[Any], names: Mapping[str, str], groups: Mapping[int, str]) -> dict[str, Any]:
    details = row.details or {}
    if row.kind == HistoryKind.STATUS:
        before, after = (_STATUS_NAMES.get(status) for status in (row.old_status, row.new_status))
        return {"channel": _CHANNEL_NAMES[Channel(row.channel)], "before": before, "after": after}
    if row.kind == HistoryKind.PROFILE:
        before, after = details.get("before", {}), details.get("after", {})
        numbers = sorted(before | after, key=lambda number: _by_number((number, "")))
        return {_field_name(names, number): [before.get(number), after.get(number)] for number in numbers}
    if row.kind == HistoryKind.GROUPS:
        return {what: _group_names(details.get(what, ()), groups) for what in ("added", "removed")}
    return {}


def _group_names(ids: Iterable[int], groups: Mapping[int, str]) -> list[str]:
    return [groups.get(group_id, "a group that was deleted") for group_id in ids]


def _name_groups(connection: Connection, account_id: int, rows: Collection[Row[Any]]) -> dict[int, str]:
    named = {
        group_id
        for row in rows
        if row.kind == HistoryKind.GROUPS and row.details
        for what in ("added", "removed")
        for group_id in row.details.get(what, ())
    }
    query = select(list_group.c.id, list_group.c.name).where(
        list_group.c.account_id == account_id, list_group.c.id.in_(named)
    )
    return {row.id: row.name for row in connection.execute(query)} if named else {}
