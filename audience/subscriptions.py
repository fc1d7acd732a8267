"""Changes to one recipient: the single place through which pages, links and people subscribe and unsubscribe.

Bulk imports use the same transitions through `db.merge`. Every function works inside the caller's writing
transaction and locks the rows it decides about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select

from audience.addresses import normalise_email, normalise_mobile
from audience.errors import AddressForgotten, UnknownRecipient
from audience.history import Cause, Subject, record_status
from audience.lists import MailingList
from audience.profiles import ProfileChange, change_fields, change_groups
from audience.status_rules import Channel, Reason, State, Status, Transition, state_of
from audience.suppressions import is_suppressed, lock_suppressions
from audience.webhooks import Event, announce, announce_elsewhere
from db.functions import inserts_into
from db.tables import recipient, subscription

__all__ = [
    "Address",
    "Cause",
    "Change",
    "ProfileChange",
    "add_recipient",
    "change_state",
    "parse_address",
    "state_in_list",
    "update_profile",
]


BULK_SOURCES = ("soap", "ftp", "command-line")
"""Doors of imports."""


@dataclass(frozen=True, slots=True)
class Address:
    """A normalised e-mail address or mobile number."""

    channel: Channel
    value: str


@dataclass(frozen=True, slots=True)
class Change:
    """What a transition did."""

    recipient_id: int
    before: State
    after: State


def parse_address(mailing: MailingList, *, email: str = "", mobile: str = "") -> Address:
    """Return the address a caller means; the e-mail address counts when both are given.

    Raises:
        InvalidAddress: neither is given, or the one that counts is not well-formed.
    """
    if email.strip() or not mobile.strip():
        return Address(Channel.EMAIL, normalise_email(email))
    return Address(Channel.SMS, normalise_mobile(mobile, mailing.default_prefix))


def state_in_list(connection: Connection, mailing: MailingList, address: Address) -> State:
    """Return the state of an address in a list; `State.NONE` when it is not known there."""
    row = connection.execute(_STATES[address.channel], _key(mailing, address)).one_or_none()
    return state_of(row.status, row.reason_type) if row is not None else State.NONE


def change_state(
    connection: Connection,
    mailing: MailingList,
    address: Address,
    transition: Transition,
    cause: Cause,
    profile: ProfileChange | None = None,
) -> Change:
    """Apply a transition to one address in one list, adding the recipient and the subscription where it asks for one.

    Args:
        connection: in a writing transaction.
        mailing: the list.
        address: whose status it is.
        transition: the state after, for each state before.
        cause: for the history.
        profile: personal data and groups to store as well, unless the subscription is blocked.

    Raises:
        UnknownRecipient: the address is not in the list and the transition does not add it.
        AddressForgotten: the address would be added, and was erased at its owner's wish.
    """
    person = _lock_person(connection, mailing, address)
    if person is None:
        if transition.none == State.NONE:
            raise UnknownRecipient("The address is not in this list.")
        person = _add_person(connection, mailing, address, profile)
    change = _apply(connection, mailing, person, address, transition, cause)
    changed = _Changed()
    if profile is not None and change.before != State.BLOCKED:
        changed = _change_profile(connection, _subject(mailing, person), person.fields, profile, cause)
    if mailing.notifies:
        _tell(connection, mailing, change, address.channel, cause, changed)
    return change


def add_recipient(
    connection: Connection, mailing: MailingList, address: Address, profile: ProfileChange | None = None
) -> int | None:
    """Add a recipient who has no subscription yet; return his id, or None when the account has the address already.

    Args:
        connection: in a writing transaction.
        mailing: a list of the account.
        address: of the recipient.
        profile: personal data he begins with; groups are left out.

    Raises:
        AddressForgotten: the address was erased at its owner's wish.
    """
    person = _insert_person(connection, mailing, address, profile)
    return person.id if person is not None else None


def update_profile(
    connection: Connection,
    mailing: MailingList,
    recipient_id: int,
    *,
    fields: Mapping[int, str],
    groups: Iterable[int] = (),
    replace_groups: bool = False,
    cause: Cause,
) -> None:
    """Store personal data and groups of a recipient, whatever his status.

    Args:
        connection: in a writing transaction.
        mailing: the list whose groups are meant.
        recipient_id: must exist.
        fields: value by field number; an empty value takes the stored one out.
        groups: numbers of groups to put him into; those that are not of this list are ignored.
        replace_groups: take him out of this list's other groups.
        cause: for the history.
    """
    query = select(recipient.c.fields).where(recipient.c.id == recipient_id).with_for_update()
    stored = connection.execute(query).scalar_one()
    subject = Subject(mailing.account_id, recipient_id, mailing.id)
    profile = ProfileChange(fields, groups, replace_groups)
    changed = _change_profile(connection, subject, stored, profile, cause)
    if mailing.notifies:
        _tell_profile(connection, mailing, recipient_id, cause, changed)


@dataclass(slots=True)
class _Person:
    """A recipient, locked, and his subscription to the list in question."""

    id: int
    fields: Mapping[str, str]
    status: int | None
    reason: int | None
    source: str | None


@dataclass(frozen=True, slots=True)
class _Changed:
    """What of a profile changed: personal data, which are the account's, and groups of the list."""

    fields: bool = False
    groups: bool = False


def _apply(
    connection: Connection,
    mailing: MailingList,
    person: _Person,
    address: Address,
    transition: Transition,
    cause: Cause,
) -> Change:
    is_fresh = connection.dialect.name == "sqlite"
    while True:
        before = state_of(person.status, person.reason)
        after = transition[before]
        settled = after == before and not _confirms_import(person, transition, cause)
        if settled and not is_fresh:
            # PostgreSQL, when it had to wait for the recipient, has read the subscription as it was before that
            # (EvalPlanQual). What is written finds out by itself; what is left as it is has to be looked at again.
            _look_again(connection, mailing, person, address.channel)
            is_fresh = True
            continue
        if settled and before == State.NONE:
            raise UnknownRecipient("The address is not in this list.")
        if settled or _write_state(connection, mailing, person, address.channel, after, cause):
            return Change(person.id, before, after)
        # An import, which locks subscriptions only, was faster.
        _look_again(connection, mailing, person, address.channel)


def _confirms_import(person: _Person, transition: Transition, cause: Cause) -> bool:
    """Tell whether somebody himself asks for the status that only an import has given him so far.

    It is recorded as his own wish then, so that it stays when the import is undone.
    """
    if person.source not in BULK_SOURCES or cause.source in BULK_SOURCES:
        return False
    if person.status == Status.UNSUBSCRIBED:
        return person.reason == Reason.IMPORTED and transition.subscribed == State.UNSUBSCRIBED
    return person.status in (Status.SUBSCRIBED, Status.PENDING) and transition.none == person.status


def _look_again(connection: Connection, mailing: MailingList, person: _Person, channel: Channel) -> None:
    """Read the subscription of a recipient who is locked."""
    key = {"recipient_id": person.id, "list_id": mailing.id, "channel": channel}
    row = connection.execute(_SUBSCRIPTION, key).one_or_none()
    person.status, person.reason, person.source = row if row is not None else (None, None, None)


def _change_profile(
    connection: Connection, subject: Subject, stored: Mapping[str, str], profile: ProfileChange, cause: Cause
) -> _Changed:
    now = datetime.now(UTC)
    fields = change_fields(connection, subject, stored, profile.values(), cause, now)
    return _Changed(fields, change_groups(connection, subject, profile, cause, now))


def _tell(
    connection: Connection,
    mailing: MailingList,
    change: Change,
    channel: Channel,
    cause: Cause,
    changed: _Changed,
) -> None:
    if change.after != change.before:
        announce(connection, mailing, change.recipient_id, _EVENTS[change.after], cause, channel=channel)
    _tell_profile(connection, mailing, change.recipient_id, cause, changed, channel, begins=change.before == State.NONE)


def _tell_profile(
    connection: Connection,
    mailing: MailingList,
    recipient_id: int,
    cause: Cause,
    changed: _Changed,
    channel: Channel = Channel.EMAIL,
    *,
    begins: bool = False,
) -> None:
    # The data somebody begins with in a list are not a change there.
    if (changed.fields or changed.groups) and not begins:
        announce(connection, mailing, recipient_id, "profile", cause, channel=channel)
    if changed.fields:
        announce_elsewhere(connection, mailing, recipient_id, cause)


def _subject(mailing: MailingList, person: _Person) -> Subject:
    return Subject(mailing.account_id, person.id, mailing.id)


def _key(mailing: MailingList, address: Address) -> dict[str, Any]:
    return {"account_id": mailing.account_id, "address": address.value, "list_id": mailing.id}


def _lock_person(connection: Connection, mailing: MailingList, address: Address) -> _Person | None:
    # The merge of an import locks recipients before subscriptions; so does everybody else, or they would deadlock.
    row = connection.execute(_PEOPLE[address.channel], _key(mailing, address)).one_or_none()
    return _Person(*row) if row is not None else None


def _add_person(
    connection: Connection, mailing: MailingList, address: Address, profile: ProfileChange | None
) -> _Person:
    added = _insert_person(connection, mailing, address, profile)
    if added is not None:
        return added
    # Somebody else added the same address a moment ago.
    found = _lock_person(connection, mailing, address)
    assert found is not None
    return found


def _insert_person(
    connection: Connection, mailing: MailingList, address: Address, profile: ProfileChange | None
) -> _Person | None:
    lock_suppressions(connection, mailing.account_id, exclusive=False)
    if is_suppressed(connection, mailing.account_id, address.channel, address.value):
        raise AddressForgotten("The address was erased at its owner's wish.")
    now = datetime.now(UTC)
    wanted = profile.values() if profile is not None else {}
    fields = {number: value for number, value in wanted.items() if value is not None}
    key = "email" if address.channel == Channel.EMAIL else "mobile"
    values = {
        "account_id": mailing.account_id,
        key: address.value,
        "fields": fields,
        "created_at": now,
        "updated_at": now,
    }
    recipient_id = connection.execute(_ADD_RECIPIENT[connection.dialect.name], values).scalar_one_or_none()
    return _Person(recipient_id, fields, None, None, None) if recipient_id is not None else None


def _write_state(
    connection: Connection, mailing: MailingList, person: _Person, channel: Channel, after: State, cause: Cause
) -> bool:
    """Write the subscription and its history row; False when it is not any more what it was."""
    now = datetime.now(UTC)
    ended = after in (State.UNSUBSCRIBED, State.BLOCKED)
    status = Status.UNSUBSCRIBED if ended else Status(after)
    values: dict[str, Any] = {
        "status": status,
        "changed_at": now,
        "unsubscribed_at": now if ended else None,
        "reason_type": cause.reason if ended else None,
        "reason_subtype": cause.subtype if ended else None,
        "message_id": cause.message_number if ended else None,
        "source": cause.source,
    }
    if after == State.SUBSCRIBED and person.status != Status.SUBSCRIBED:
        values["subscribed_at"] = now
    if person.status is None:
        key = {"recipient_id": person.id, "list_id": mailing.id, "channel": channel}
        written = connection.execute(_ADD_SUBSCRIPTION[connection.dialect.name], {**key, **values})
    else:
        here = {
            "here_recipient": person.id,
            "here_list": mailing.id,
            "here_channel": channel,
            "here_status": person.status,
            "here_reason": person.reason,
        }
        written = connection.execute(_CHANGE_SUBSCRIPTION, {**here, **values})
    if written.rowcount == 0:
        return False
    before = state_of(person.status, person.reason)
    record_status(connection, _subject(mailing, person), channel, before, status, cause, now)
    return True


_EVENTS: Mapping[State, Event] = {
    State.SUBSCRIBED: "subscribe",
    State.PENDING: "pending",
    State.UNSUBSCRIBED: "unsubscribe",
    State.BLOCKED: "unsubscribe",
}


def _select_people(channel: Channel) -> Select[Any]:
    key = recipient.c.email if channel == Channel.EMAIL else recipient.c.mobile
    own = (
        (subscription.c.recipient_id == recipient.c.id)
        & (subscription.c.list_id == bindparam("list_id"))
        & (subscription.c.channel == channel)
    )
    return (
        select(recipient.c.id, recipient.c.fields)
        .add_columns(subscription.c.status, subscription.c.reason_type, subscription.c.source)
        .outerjoin_from(recipient, subscription, own)
        .where(key == bindparam("address"), recipient.c.account_id == bindparam("account_id"))
    )


# What every call of a page asks and writes, made once: to make a statement takes longer than to execute it.
_ADD_RECIPIENT = {
    dialect: insert.on_conflict_do_nothing().returning(recipient.c.id)
    for dialect, insert in inserts_into(recipient).items()
}
_ADD_SUBSCRIPTION = {dialect: insert.on_conflict_do_nothing() for dialect, insert in inserts_into(subscription).items()}
_SUBSCRIPTION = select(subscription.c.status, subscription.c.reason_type, subscription.c.source).where(
    *(subscription.c[name] == bindparam(name) for name in ("recipient_id", "list_id", "channel"))
)
_CHANGE_SUBSCRIPTION = subscription.update().where(
    subscription.c.recipient_id == bindparam("here_recipient"),
    subscription.c.list_id == bindparam("here_list"),
    subscription.c.channel == bindparam("here_channel"),
    subscription.c.status == bindparam("here_status"),
    subscription.c.reason_type.is_not_distinct_from(bindparam("here_reason")),
)
_PEOPLE = {channel: _select_people(channel).with_for_update(of=recipient) for channel in Channel}
_STATES = {channel: _select_people(channel) for channel in Channel}
