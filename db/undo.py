"""Takes back what one import did to some people, with a handful of statements; what is newer or final stays.

What happened is read from the history: for each subscription, value and group, the changes that the import made
after the last change by anybody else go back together. Undoing leaves history rows of its own, with the import's id
in their details, so that nothing is undone twice; only people whom the import added are removed with their history.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, TextClause

from db.undo_sql import load_statements

KINDS = {1: "statuses", 2: "values", 3: "groups"}
MAX_EXAMPLES = 20

IsForgotten = Callable[[Sequence[tuple[str, str]]], Collection[tuple[str, str]]]
"""Returns those of some addresses, given as (`email` or `mobile`, address), whose owners were forgotten."""


@dataclass(frozen=True, slots=True)
class UndoPart:
    """Whose changes to take back, and which ones stay."""

    account_id: int
    import_id: int
    recipient_ids: Sequence[int]
    actor: str | None
    now: datetime
    final_reasons: Collection[int]
    find_forgotten: IsForgotten
    keep_unsubscribed: bool
    """Leave those unsubscribed whom the import unsubscribed."""


def _no_counts() -> dict[str, int]:
    return dict.fromkeys(KINDS.values(), 0)


@dataclass(slots=True)
class UndoCounts:
    """What was taken back and what stays, by kind: statuses of subscriptions, values of personal data, groups."""

    reverted: dict[str, int] = field(default_factory=_no_counts)
    newer: dict[str, int] = field(default_factory=_no_counts)
    """Left, because something happened since."""
    final: dict[str, int] = field(default_factory=_no_counts)
    """Left, because of a bounce, a complaint or an erasure."""
    removed_recipients: int = 0
    """Whom the import had added."""
    examples: list[int] = field(default_factory=list)
    """Ids of some recipients with something left."""

    @property
    def total_reverted(self) -> int:
        return sum(self.reverted.values())

    def add(self, other: UndoCounts) -> None:
        """Add the counts of another part."""
        for mine, theirs in ((self.reverted, other.reverted), (self.newer, other.newer), (self.final, other.final)):
            for kind, count in theirs.items():
                mine[kind] += count
        self.removed_recipients += other.removed_recipients
        self.examples = [*self.examples, *other.examples][:MAX_EXAMPLES]


def undo_part(connection: Connection, part: UndoPart) -> UndoCounts:
    """Take back what an import did to some people, within the caller's writing transaction.

    Nobody must add people to the account at the same time; on PostgreSQL the caller keeps them out.
    """
    return _Undo(connection, part).run()


class _Undo:
    def __init__(self, connection: Connection, part: UndoPart) -> None:
        self._connection = connection
        self._part = part
        self._sql = load_statements(connection.dialect.name, tuple(part.final_reasons))
        self._parameters = {
            "account": part.account_id,
            "import": part.import_id,
            "ids": json.dumps(list(part.recipient_ids)),
            "actor": part.actor,
            "now": part.now,
            "limit": MAX_EXAMPLES,
        }

    def run(self) -> UndoCounts:
        self._read()
        self._decide()
        counts = self._count()
        if counts.total_reverted:
            self._write(counts)
        return counts

    def _read(self) -> None:
        sql = self._sql
        if self._connection.dialect.name == "postgresql":
            self._connection.execute(sql.look_up_by_index)
        tables = (
            sql.create_person,
            sql.create_event,
            sql.index_event,
            sql.create_step,
            sql.index_step,
            sql.index_before,
        )
        self._execute_all((*tables, sql.clear_person, sql.clear_event, sql.clear_step))
        self._execute_all((sql.lock_people, sql.add_people, sql.add_events, sql.drop_undone, sql.drop_undoing))

    def _decide(self) -> None:
        sql = self._sql
        self._execute_all((sql.add_steps, sql.mark_statuses, sql.keep_after_undone))
        if self._part.keep_unsubscribed:
            self._execute(sql.keep_unsubscribed)
        self._execute_all((sql.mark_values, sql.mark_emails, sql.mark_mobiles))
        self._mark_forgotten()
        self._execute_all((sql.lock_groups, sql.mark_groups, sql.mark_new))

    def _mark_forgotten(self) -> None:
        rows = self._execute(self._sql.earlier_addresses).all()
        forgotten = self._part.find_forgotten([(row.key, row.before) for row in rows]) if rows else ()
        marks = [
            {"recipient_id": row.recipient_id, "key": row.key} for row in rows if (row.key, row.before) in forgotten
        ]
        if marks:
            self._connection.execute(self._sql.mark_forgotten, marks)

    def _count(self) -> UndoCounts:
        counts = UndoCounts(removed_recipients=self._execute(self._sql.count_new).scalar_one())
        by_outcome = {"revert": counts.reverted, "newer": counts.newer, "final": counts.final}
        for row in self._execute(self._sql.count).mappings():
            by_outcome[row["outcome"]][KINDS[row["kind"]]] = row["count"]
        counts.examples = list(self._execute(self._sql.examples).scalars())
        return counts

    def _write(self, counts: UndoCounts) -> None:
        sql = self._sql
        if counts.reverted["statuses"]:
            self._execute_all((sql.add_status_history, sql.remove_subscriptions, sql.restore_subscriptions))
        if counts.reverted["values"]:
            self._execute_all((sql.add_value_history, sql.restore_values, sql.restore_emails, sql.restore_mobiles))
        if counts.reverted["groups"]:
            self._execute_all((sql.add_group_history, sql.remove_from_groups, sql.return_to_groups))
        if counts.removed_recipients:
            self._execute_all((sql.remove_mails, sql.remove_history, sql.remove_people))

    def _execute_all(self, statements: Iterable[TextClause]) -> None:
        for statement in statements:
            self._execute(statement)

    def _execute(self, statement: TextClause) -> Any:
        names = statement.compile().params
        return self._connection.execute(statement, {name: self._parameters[name] for name in names})
