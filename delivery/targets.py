"""Whom a sending goes to, as one query: people of its list who are subscribed to it by its channel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, exists, false, func, select

from audience.lists import MailingList, groups_of
from audience.status_rules import Channel, Status
from db.functions import select_texts
from db.tables import delivery, group_member, list_group, mailing_list, recipient, subscription
from delivery.errors import InvalidTarget
from delivery.filters import check_filters, filter_clauses
from delivery.sendings import Sending, Target

MAX_ADDRESSES = 100_000


def select_target(connection: Connection, sending: Row[Any]) -> Select[tuple[int, str]]:
    """Return the query for the people of a sending: `recipient_id` and `address`, each once, without an order.

    Nobody is selected for a sending to whoever stands in its queue already.

    Args:
        connection: it will be executed on.
        sending: with `account_id`, `list_id`, `channel` and `target`.

    Raises:
        UnknownFilter: one of its filters does not exist any more.
    """
    target = Target.from_dict(sending.target or {})
    return _select(connection, sending.account_id, sending.list_id, sending.channel, target)


def select_people(
    connection: Connection, mailing: MailingList, channel: Channel, target: Target
) -> Select[tuple[int, str]]:
    """Return the same query for a target of a list that is no sending's yet; see `select_target`.

    Args:
        connection: it will be executed on.
        mailing: the list.
        channel: by which the people are subscribed.
        target: who of them.

    Raises:
        UnknownFilter: one of the filters does not exist.
    """
    return _select(connection, mailing.account_id, mailing.id, channel, target)


def count_target(connection: Connection, sending: Sending) -> int:
    """Return how many people a sending goes to: those who stand in its queue, or who would if it began now.

    Raises:
        UnknownFilter: one of its filters does not exist any more.
    """
    if sending.total:
        return sending.total
    if sending.target.to == "queue":
        in_queue = select(func.count()).where(delivery.c.sending_id == sending.id)
        return int(connection.execute(in_queue).scalar_one())
    people = _select(connection, sending.account_id, sending.list_id, sending.channel, sending.target).subquery()
    return int(connection.execute(select(func.count()).select_from(people)).scalar_one())


def count_subscribers(connection: Connection, mailing: MailingList, channel: Channel) -> int:
    """Return how many people a sending to a whole list would go to."""
    people = select_people(connection, mailing, channel, Target()).subquery()
    return int(connection.execute(select(func.count()).select_from(people)).scalar_one())


def check_target(connection: Connection, mailing: MailingList, target: Target) -> None:
    """Let a target pass that a sending of a list can have.

    Raises:
        InvalidTarget: a group is not of the list; nobody is named where somebody must be; or it is too much.
        UnknownFilter: a filter does not exist, or is another list's.
    """
    if target.to == "addresses" and not 0 < len(target.addresses) <= MAX_ADDRESSES:
        raise InvalidTarget(f"A sending to addresses has 1 to {MAX_ADDRESSES} of them.")
    if target.to == "groups" and not target.groups:
        raise InvalidTarget("A sending to groups has at least one of them.")
    known = {group.number for group in groups_of(connection, [mailing.id])}
    strange = {*target.groups, *target.exclude_groups} - known
    if strange:
        raise InvalidTarget(f"There is no group {min(strange)} in list {mailing.number}.")
    check_filters(connection, mailing, target.filters)


def _select(
    connection: Connection, account_id: int, list_id: int, channel: int, target: Target
) -> Select[tuple[int, str]]:
    address = recipient.c.email if channel == Channel.EMAIL else recipient.c.mobile
    joined = mailing_list.join(subscription, subscription.c.list_id == mailing_list.c.id).join(
        recipient, recipient.c.id == subscription.c.recipient_id
    )
    return (
        select(subscription.c.recipient_id.label("recipient_id"), address.label("address"))
        .select_from(joined)
        .where(
            mailing_list.c.id == list_id,
            mailing_list.c.account_id == account_id,
            subscription.c.channel == int(channel),
            subscription.c.status == int(Status.SUBSCRIBED),
            # The recipient's too, by which he is found when addresses are given.
            recipient.c.account_id == account_id,
            address.is_not(None),
            *_choose(connection, target, address),
            filter_clauses(connection, account_id, target.filters, target.filters_match),
        )
    )


def _choose(connection: Connection, target: Target, address: ColumnElement[Any]) -> Iterator[ColumnElement[bool]]:
    if target.to == "queue":
        yield false()
    if target.to == "addresses":
        yield address.in_(select_texts(connection, target.addresses))
    if target.to == "groups":
        yield _is_member(target.groups)
    if target.exclude_groups:
        yield ~_is_member(target.exclude_groups)


def _is_member(groups: Iterable[int]) -> ColumnElement[bool]:
    member = exists().where(
        group_member.c.recipient_id == recipient.c.id,
        group_member.c.group_id == list_group.c.id,
        list_group.c.list_id == mailing_list.c.id,
        list_group.c.number.in_(list(groups)),
    )
    return member.correlate_except(group_member, list_group)
