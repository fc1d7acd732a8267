"""Changes to one recipient: the single place through which pages, links and people subscribe and unsubscribe.

Bulk imports use the same transitions through `db.merge`. Every function works inside the caller's writing
transaction and locks the rows it decides about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from audience.addresses import normalise_email, normalise_mobile
from audience.errors import UnknownRecipient
from audience.lists import MailingList
from audience.status_rules import Channel, Reason, State, Transition, state_of
from db.functions import merge_json
from db.tables import group_member, history, list_group, recipient, subscription
from db.types import JsonObject


@dataclass(frozen=True, slots=True)
class Address:
    """A normalised e-mail address or mobile number."""

    channel: Channel
    value: str


@dataclass(frozen=True, slots=True)
class Cause:
    """Why and whence a change comes, for the history."""

    source: str
    """The door: `page`, `link`, `soap`, `ftp`, `command-line`."""
    reason: Reason | None = None
    subtype: int | None = None
    actor: str | None = None
    """Who: a user's name, or the address of the machine that called."""


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
    query = (
        select(subscription.c.status, subscription.c.reason_type)
        .join(recipient, recipient.c.id == subscription.c.recipient_id)
        .where(_is_recipient(mailing.account_id, address))
        .where(subscription.c.list_id == mailing.id, subscription.c.channel == address.channel)
    )
    row = connection.execute(query).one_or_none()
    return state_of(row.status, row.reason_type) if row is not None else State.NONE


def change_state(
    connection: Connection, mailing: MailingList, address: Address, transition: Transition, cause: Cause
) -> Change:
    """Apply a transition to one address in one list, adding the recipient and the subscription where it asks for one.

    Raises:
        UnknownRecipient: the address is not in the list and the transition does not add it.
    """
    recipient_id = _find_recipient(connection, mailing.account_id, address)
    if recipient_id is None:
        if transition.none == State.NONE:
            raise UnknownRecipient("The address is not in this list.")
        recipient_id = _add_recipient(connection, mailing.account_id, address)
    while True:
        before = _lock_state(connection, recipient_id, mailing.id, address.channel)
        after = transition[before]
        if before == State.NONE and after == State.NONE:
            raise UnknownRecipient("The address is not in this list.")
        if after == before:
            return Change(recipient_id, before, after)
        if _write_state(connection, recipient_id, mailing, address.channel, before, after, cause):
            return Change(recipient_id, before, after)


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
    if fields:
        patch = {str(number): value or None for number, value in fields.items()}
        merged = merge_json(recipient.c.fields, literal(patch, JsonObject))
        connection.execute(
            recipient.update()
            .where(recipient.c.id == recipient_id, merged != recipient.c.fields)
            .values(fields=merged, updated_at=datetime.now(UTC))
        )
    _put_into_groups(connection, mailing, recipient_id, set(groups), replace_groups)


def _put_into_groups(
    connection: Connection, mailing: MailingList, recipient_id: int, numbers: set[int], replace: bool
) -> None:
    of_list = select(list_group.c.id).where(list_group.c.list_id == mailing.id)
    if replace:
        others = of_list.where(list_group.c.number.not_in(numbers))
        connection.execute(
            delete(group_member).where(group_member.c.recipient_id == recipient_id, group_member.c.group_id.in_(others))
        )
    if numbers:
        wanted = connection.execute(of_list.where(list_group.c.number.in_(numbers))).scalars().all()
        rows = [{"recipient_id": recipient_id, "group_id": group_id} for group_id in wanted]
        if rows:
            connection.execute(_insert(connection, group_member).on_conflict_do_nothing(), rows)


def _is_recipient(account_id: int, address: Address) -> Any:
    key = recipient.c.email if address.channel == Channel.EMAIL else recipient.c.mobile
    return (recipient.c.account_id == account_id) & (key == address.value)


def _find_recipient(connection: Connection, account_id: int, address: Address) -> int | None:
    # The merge of an import locks recipients before subscriptions; so does everybody else, or they would deadlock.
    query = select(recipient.c.id).where(_is_recipient(account_id, address)).with_for_update()
    found = connection.execute(query).scalar_one_or_none()
    return int(found) if found is not None else None


def _add_recipient(connection: Connection, account_id: int, address: Address) -> int:
    now = datetime.now(UTC)
    key = "email" if address.channel == Channel.EMAIL else "mobile"
    values = {"account_id": account_id, key: address.value, "fields": {}, "created_at": now, "updated_at": now}
    insert = _insert(connection, recipient).values(**values).on_conflict_do_nothing().returning(recipient.c.id)
    recipient_id = connection.execute(insert).scalar_one_or_none()
    if recipient_id is None:
        # Somebody else added the same address a moment ago.
        found = select(recipient.c.id).where(_is_recipient(account_id, address))
        return int(connection.execute(found).scalar_one())
    return int(recipient_id)


def _lock_state(connection: Connection, recipient_id: int, list_id: int, channel: Channel) -> State:
    query = select(subscription.c.status, subscription.c.reason_type).where(
        _is_subscription(recipient_id, list_id, channel)
    )
    row = connection.execute(query.with_for_update()).one_or_none()
    return state_of(row.status, row.reason_type) if row is not None else State.NONE


def _is_subscription(recipient_id: int, list_id: int, channel: Channel) -> Any:
    return (
        (subscription.c.recipient_id == recipient_id)
        & (subscription.c.list_id == list_id)
        & (subscription.c.channel == channel)
    )


def _write_state(
    connection: Connection,
    recipient_id: int,
    mailing: MailingList,
    channel: Channel,
    before: State,
    after: State,
    cause: Cause,
) -> bool:
    """Write the subscription and its history row; False when another transaction added the subscription first."""
    now = datetime.now(UTC)
    ended = after in (State.UNSUBSCRIBED, State.BLOCKED)
    status = State.UNSUBSCRIBED if ended else after
    values: dict[str, Any] = {
        "status": status,
        "changed_at": now,
        "unsubscribed_at": now if ended else None,
        "reason_type": cause.reason if ended else None,
        "reason_subtype": cause.subtype if ended else None,
        "message_id": None,
        "source": cause.source,
    }
    if after == State.SUBSCRIBED:
        values["subscribed_at"] = now
    if before == State.NONE:
        key = {"recipient_id": recipient_id, "list_id": mailing.id, "channel": channel}
        added = connection.execute(_insert(connection, subscription).values(**key, **values).on_conflict_do_nothing())
        if added.rowcount == 0:
            return False
    else:
        here = _is_subscription(recipient_id, mailing.id, channel)
        connection.execute(subscription.update().where(here).values(**values))
    connection.execute(
        history.insert().values(
            account_id=mailing.account_id,
            recipient_id=recipient_id,
            list_id=mailing.id,
            kind=1,
            channel=channel,
            at=now,
            old_status=None if before == State.NONE else min(before, State.UNSUBSCRIBED),
            new_status=status,
            reason_type=values["reason_type"],
            reason_subtype=values["reason_subtype"],
            source=cause.source,
            actor=cause.actor,
        )
    )
    return True


def _insert(connection: Connection, table: Any) -> Any:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)
