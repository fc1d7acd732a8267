"""Changes to groups: their names and notes, and their end, with or without the people in them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, exists, func, insert, literal, or_, select

from audience.errors import AlreadyExists
from audience.history import Cause, HistoryKind
from audience.lists import Group, MailingList, clean_group_name, clean_notes, groups_of, lock_list
from audience.status_rules import Status
from audience.suppressions import lock_suppressions
from db.tables import group_member, history, list_group, outbox, recipient, subscription
from db.types import JsonObject


def change_group(
    connection: Connection, mailing: MailingList, group: Group, *, name: str | None = None, notes: str | None = None
) -> Group:
    """Give a group another name or other notes; None leaves them as they are. Return it as it is then.

    Raises:
        InvalidName: as in `audience.lists.add_group`.
        AlreadyExists: another group of the list has the name.
    """
    values: dict[str, str] = {}
    if name is not None:
        values["name"] = clean_group_name(name)
        lock_list(connection, mailing)
        _check_free(connection, group, values["name"])
    if notes is not None:
        values["notes"] = clean_notes(notes)
    if values:
        connection.execute(list_group.update().where(list_group.c.id == group.id).values(**values))
    kept = {"name": group.name, "notes": group.notes}
    return Group(group.id, group.list_id, group.number, **(kept | values))


def remove_group(connection: Connection, group: Group, cause: Cause) -> None:
    """Remove a group; its members stay in the list."""
    _lock_group(connection, group)
    _record_leaving(connection, group, group, cause, datetime.now(UTC))
    connection.execute(delete(group_member).where(group_member.c.group_id == group.id))
    connection.execute(delete(list_group).where(list_group.c.id == group.id))


def remove_group_and_members(connection: Connection, mailing: MailingList, group: Group, cause: Cause) -> None:
    """Remove a group, and its members from the list.

    What is subscribed or pending in the list is taken away; what is unsubscribed stays, or a later import would bring
    back who does not want to come. Members leave all groups of the list, and those without any subscription left, in
    whichever list and state, are removed altogether, with their history.

    Args:
        connection: in a writing transaction.
        mailing: the list that the group is of.
        group: whose members they are.
        cause: for the history of those who stay.
    """
    now = datetime.now(UTC)
    # An import must not find somebody and then, when he is removed, give him a subscription.
    lock_suppressions(connection, mailing.account_id, exclusive=True)
    _lock_group(connection, group)
    _lock_members(connection, group)
    for other in _groups_of_members(connection, mailing, group):
        _record_leaving(connection, group, other, cause, now)
    _end_subscriptions(connection, mailing, group, cause, now)
    _remove_recipients(connection, group)
    _empty_groups(connection, mailing, group)
    connection.execute(delete(list_group).where(list_group.c.id == group.id))


def _check_free(connection: Connection, group: Group, name: str) -> None:
    others = (list_group.c.list_id == group.list_id) & (list_group.c.id != group.id)
    query = select(list_group.c.id).where(others, list_group.c.name == name)
    if connection.execute(query).one_or_none() is not None:
        raise AlreadyExists("Another group of the list has this name.")


def _lock_group(connection: Connection, group: Group) -> None:
    # Imports lock the groups they put people into, then the people; so does everybody else.
    connection.execute(select(list_group.c.id).where(list_group.c.id == group.id).with_for_update())


def _lock_members(connection: Connection, group: Group) -> None:
    members = select(recipient.c.id).where(recipient.c.id.in_(_members(group))).order_by(recipient.c.id)
    # Counted, so that the ids need not travel.
    connection.execute(select(func.count()).select_from(members.with_for_update().subquery()))


def _members(group: Group) -> Select[tuple[int]]:
    member = group_member.alias("member")
    return select(member.c.recipient_id).where(member.c.group_id == group.id)


def _groups_of_members(connection: Connection, mailing: MailingList, group: Group) -> list[Group]:
    theirs = select(group_member.c.group_id).where(group_member.c.recipient_id.in_(_members(group)))
    found = set(connection.execute(theirs.distinct()).scalars())
    return [other for other in groups_of(connection, [mailing.id]) if other.id in found]


def _record_leaving(connection: Connection, group: Group, left: Group, cause: Cause, now: datetime) -> None:
    """Record that those members of a group who are in `left`, the same group or another one, leave it."""
    account_id = select(list_group.c.account_id).where(list_group.c.id == group.id).scalar_subquery()
    details = literal({"added": [], "removed": [left.id]}, JsonObject)
    rows = select(
        account_id,
        group_member.c.recipient_id,
        literal(left.list_id),
        literal(HistoryKind.GROUPS, history.c.kind.type),
        literal(now, history.c.at.type),
        literal(cause.source),
        literal(cause.actor, history.c.actor.type),
        details,
    ).where(group_member.c.group_id == left.id, group_member.c.recipient_id.in_(_members(group)))
    names = ["account_id", "recipient_id", "list_id", "kind", "at", "source", "actor", "details"]
    connection.execute(insert(history).from_select(names, rows))


def _end_subscriptions(connection: Connection, mailing: MailingList, group: Group, cause: Cause, now: datetime) -> None:
    ending = and_(
        subscription.c.list_id == mailing.id,
        subscription.c.status != Status.UNSUBSCRIBED,
        subscription.c.recipient_id.in_(_members(group)),
    )
    rows = select(
        literal(mailing.account_id),
        subscription.c.recipient_id,
        subscription.c.list_id,
        literal(HistoryKind.STATUS, history.c.kind.type),
        subscription.c.channel,
        literal(now, history.c.at.type),
        subscription.c.status,
        literal(cause.source),
        literal(cause.actor, history.c.actor.type),
    ).where(ending)
    names = ["account_id", "recipient_id", "list_id", "kind", "channel", "at", "old_status", "source", "actor"]
    connection.execute(insert(history).from_select(names, rows))
    connection.execute(delete(subscription).where(ending))


def _remove_recipients(connection: Connection, group: Group) -> None:
    """Remove members who have no subscription any more, and all rows by which an id given again would be theirs."""
    subscribed = exists().where(subscription.c.recipient_id == recipient.c.id)
    leaving = select(recipient.c.id).where(recipient.c.id.in_(_members(group)), ~subscribed)
    for table in (history, outbox):
        connection.execute(delete(table).where(table.c.recipient_id.in_(leaving)))
    connection.execute(delete(recipient).where(recipient.c.id.in_(leaving)))


def _empty_groups(connection: Connection, mailing: MailingList, group: Group) -> None:
    """Take members out of all groups of the list, and those who are removed out of all groups there are."""
    of_list: ColumnElement[Any] = group_member.c.group_id.in_(
        select(list_group.c.id).where(list_group.c.list_id == mailing.id)
    )
    removed = ~exists().where(recipient.c.id == group_member.c.recipient_id)
    members = group_member.c.recipient_id.in_(_members(group))
    connection.execute(delete(group_member).where(members, or_(of_list, removed)))
