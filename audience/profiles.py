"""Changes to the personal data and the groups of one recipient, with their history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select

from audience.history import Cause, Subject, record_groups, record_profile
from db.functions import insert_into
from db.tables import group_member, list_group, recipient


@dataclass(frozen=True, slots=True)
class ProfileChange:
    """Personal data and groups to store."""

    fields: Mapping[int, str] = field(default_factory=dict)
    """Value by field number; an empty value takes the stored one out."""
    groups: Iterable[int] = ()
    """Numbers of groups to put the recipient into; those that are not of the list are ignored."""
    replace_groups: bool = False
    """Take him out of the list's other groups."""

    def values(self) -> dict[str, str | None]:
        """Return the fields as they are stored; None takes one out."""
        return {str(number): value or None for number, value in self.fields.items()}


def change_fields(
    connection: Connection,
    subject: Subject,
    stored: Mapping[str, str],
    wanted: Mapping[str, str | None],
    cause: Cause,
    now: datetime,
) -> bool:
    """Store personal data; tell whether anything changed.

    Args:
        connection: in a writing transaction, in which the recipient is locked.
        subject: whose they are.
        stored: what he has.
        wanted: what to change; None takes a value out.
        cause: for the history.
        now: for the history.
    """
    after = {number: value for number, value in wanted.items() if stored.get(number) != value}
    if not after:
        return False
    merged = {number: value for number, value in {**stored, **after}.items() if value is not None}
    connection.execute(_STORE_FIELDS, {"here": subject.recipient_id, "merged": merged, "now": now})
    record_profile(connection, subject, {number: stored.get(number) for number in after}, after, cause, now)
    return True


def change_groups(connection: Connection, subject: Subject, change: ProfileChange, cause: Cause, now: datetime) -> bool:
    """Put somebody into groups of a list, and out of others if asked; tell whether anything changed."""
    numbers = set(change.groups)
    if not (numbers or change.replace_groups):
        return False
    groups = _groups_with_membership(connection, subject, None if change.replace_groups else numbers)
    added = [row.id for row in groups if row.number in numbers and row.recipient_id is None]
    removed = [row.id for row in groups if row.number not in numbers and row.recipient_id is not None]
    if removed:
        gone = (group_member.c.recipient_id == subject.recipient_id) & group_member.c.group_id.in_(removed)
        connection.execute(delete(group_member).where(gone))
    if added:
        rows = [{"recipient_id": subject.recipient_id, "group_id": group_id} for group_id in added]
        connection.execute(insert_into(connection, group_member).on_conflict_do_nothing(), rows)
    if not (added or removed):
        return False
    record_groups(connection, subject, added, removed, cause, now)
    return True


def _groups_with_membership(connection: Connection, subject: Subject, numbers: set[int] | None) -> Any:
    """Return groups of a list, those of some numbers or all, each with whether the recipient is in it."""
    member = (group_member.c.group_id == list_group.c.id) & (group_member.c.recipient_id == subject.recipient_id)
    query = (
        select(list_group.c.id, list_group.c.number, group_member.c.recipient_id)
        .outerjoin(group_member, member)
        .where(list_group.c.list_id == subject.list_id)
        # So that nobody deletes a group that somebody is being put into.
        .with_for_update(read=True, key_share=True, of=list_group)
    )
    if numbers is not None:
        query = query.where(list_group.c.number.in_(numbers))
    return connection.execute(query).all()


_STORE_FIELDS = (
    recipient.update()
    .where(recipient.c.id == bindparam("here"))
    .values(fields=bindparam("merged"), updated_at=bindparam("now"))
)
