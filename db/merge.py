"""Merges one part of an import into recipients, subscriptions, groups and history with a handful of statements.

The part's rows are staged in a temporary table, resolved against what is stored (who is known, what is
his state, what will it be), and then written table by table. The caller decides what a transition is: a
tuple of the state after for each state before, 0 for "no subscription" and 4 for "unsubscribed for good".

The statements run inside the caller's transaction. On SQLite that transaction holds the write lock. On
PostgreSQL another transaction may change the same rows in between; then the counts differ from what was
resolved, `MergeConflict` is raised, and the caller rolls back and starts the part again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, TextClause
from sqlalchemy.exc import IntegrityError, OperationalError

from db.merge_sql import load_statements

_CONFLICT_STATES = ("40P01", "40001")
"""PostgreSQL's deadlock and serialization failure."""


class MergeConflict(Exception):
    """Another transaction changed the same recipients at the same moment; try again."""


class RowsMeet(Exception):
    """Two rows of a part turned out to be about one person, one by e-mail address and the other by number."""


class PersonRow(NamedTuple):
    """One person of a part; e-mail addresses, and mobile numbers, are different in each row of a part."""

    seq: int
    """Counts from 1 in the part."""
    email: str | None
    mobile: str | None
    fields: str
    """JSON object of field values to merge; null takes a field out."""
    list_id: int
    email_rule: int | None
    """Index of the transition of the e-mail subscription; None leaves the channel alone."""
    sms_rule: int | None
    group_set: int | None
    """Index of the set of groups to put the person into."""
    rows: int
    """How many rows of the file this one stands for."""
    shares_number: bool
    """Rows of other people in the part gave the same number; it is left out of those."""
    external: str | None = None
    """Id that the sender's own system gives the person."""
    leaves: bool = False
    """The row ends a subscription."""


@dataclass(frozen=True, slots=True)
class Part:
    """What to merge, and with which rules."""

    account_id: int
    import_id: int | None
    source: str
    now: datetime
    people: Sequence[PersonRow]
    transitions: Sequence[Sequence[int]]
    group_sets: Sequence[Collection[int]]
    final_reasons: Collection[int]
    unsubscribe_reason: int
    replace_groups: bool = False
    asks_confirmation: bool = False
    """People who are pending after it get a mail."""
    confirm_message: int | None = None
    """Number of the account's message to use for that, instead of the list's own."""
    key: str = "email"
    """What rows are told apart by: `email` (or the number, where there is no address), `mobile` or `external`."""
    refuse_unknown: bool = False
    """Leave rows out that are about nobody who is known."""
    refuse_repeated: bool = False
    """Leave rows out about people whom this import has met in the same list, unless they end a subscription."""
    remember: bool = False
    """Note down whom the import has met."""

    @property
    def is_plain(self) -> bool:
        """Whether people are found by e-mail address and number alone."""
        return self.key == "email" and not any(person.external for person in self.people)


@dataclass(slots=True)
class MergeCounts:
    """What a merge did. Rows for which an e-mail address is given count by their e-mail subscription."""

    new: int = 0
    existing: int = 0
    updated: int = 0
    """Known recipients whose stored data changed."""
    left_unsubscribed: int = 0
    """Rows that met an unsubscribed recipient and left him so."""
    unsubscribed: int = 0
    """Subscriptions that this merge ended."""
    mobile_in_use: int = 0
    """Rows imported without their mobile number, which another recipient has."""
    email_in_use: int = 0
    """Rows imported without their e-mail address, which another recipient has."""
    external_in_use: int = 0
    """Rows imported without their external id, which another recipient has."""
    new_email: int = 0
    existing_email: int = 0
    optout_email: int = 0
    new_mobile: int = 0
    existing_mobile: int = 0
    optout_mobile: int = 0

    def add(self, other: MergeCounts) -> None:
        """Add the counts of another part."""
        for name in COUNT_NAMES:
            setattr(self, name, getattr(self, name) + getattr(other, name))


_COPY_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

COUNT_NAMES = tuple(item.name for item in fields(MergeCounts))


@dataclass(slots=True)
class Merged:
    """What became of a part."""

    counts: MergeCounts
    unknown: list[int]
    """`seq` of the rows that were left out because they are about nobody who is known."""
    repeated: list[int]
    """`seq` of the rows that were left out because the import had met the person before."""


_STAGE_COLUMNS = (
    "seq, email, mobile, fields, list_id, email_rule, sms_rule, group_set, row_count, shares_number, external, leaves"
)


def merge_part(connection: Connection, part: Part) -> Merged:
    """Merge a part within the caller's transaction.

    Raises:
        RowsMeet: two rows of the part are about one person; nothing was written, merge them one after the other.
        MergeConflict: on PostgreSQL, when another transaction got in between; roll back and try again.
    """
    try:
        return _Merge(connection, part).run()
    except IntegrityError as error:
        raise MergeConflict from error
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) in _CONFLICT_STATES:
            raise MergeConflict from error
        raise


class _Merge:
    def __init__(self, connection: Connection, part: Part) -> None:
        self._connection = connection
        self._part = part
        self._sql = load_statements(connection.dialect.name, tuple(part.final_reasons), part.key)
        self._parameters = {
            "account": part.account_id,
            "import": part.import_id,
            "source": part.source,
            "now": part.now,
            "reason": part.unsubscribe_reason,
            "message": part.confirm_message,
        }

    def run(self) -> Merged:
        part, sql = self._part, self._sql
        self._prepare_tables()
        self._stage(part.people)
        self._execute(sql.resolve if part.is_plain else sql.resolve_by_key)
        if self._execute(sql.meetings if part.is_plain else sql.meetings_by_key).scalar_one():
            raise RowsMeet
        if part.refuse_unknown and not part.is_plain:
            self._execute(sql.redirect_unknown)
        unknown = self._remove(sql.remove_unknown) if part.refuse_unknown else []
        repeated = self._remove(sql.remove_repeated) if part.refuse_repeated else []
        counts = self._write()
        if part.remember:
            self._execute(sql.remember)
        return Merged(counts, unknown, repeated)

    def _remove(self, statement: TextClause) -> list[int]:
        return list(self._execute(statement).scalars())

    def _prepare_tables(self) -> None:
        sql = self._sql
        if self._connection.dialect.name == "postgresql":
            self._connection.execute(sql.look_up_by_index)
        for statement in (
            sql.create_rule,
            sql.create_group_set,
            sql.create_group_list,
            sql.index_group_set,
            sql.create_stage,
            sql.create_resolved,
        ):
            self._connection.execute(statement)
        for statement in (sql.clear_rule, sql.clear_group_set, sql.clear_group_list):
            self._connection.execute(statement)
        rules = [
            {"rule": rule, "before": before, "after": after}
            for rule, transition in enumerate(self._part.transitions)
            for before, after in enumerate(transition)
        ]
        self._connection.execute(sql.add_rule, rules)
        members = [
            {"group_set": index, "group_id": group_id}
            for index, groups in enumerate(self._part.group_sets)
            for group_id in groups
        ]
        if members:
            self._connection.execute(sql.add_group_set, members)
            self._connection.execute(sql.add_group_list)

    def _stage(self, people: Sequence[PersonRow]) -> None:
        for statement in (self._sql.clear_stage, self._sql.clear_resolved):
            self._connection.execute(statement)
        _load_stage(self._connection, people)

    def _write(self) -> MergeCounts:
        row = self._execute(self._sql.count).mappings().one()
        counts = MergeCounts(**{name: int(row.get(name) or 0) for name in COUNT_NAMES})
        if row["new_recipients"]:
            self._execute(self._sql.add_recipients)
        if row["known_recipients"]:
            counts.updated = self._update_recipients()
        if row["new_subscriptions"]:
            self._execute(self._sql.add_subscriptions)
        if row["changed_subscriptions"]:
            changed = sum(
                self._execute(statement).rowcount for statement in (self._sql.change_email, self._sql.change_sms)
            )
            if changed != row["changed_subscriptions"]:
                raise MergeConflict
        if row["new_subscriptions"] or row["changed_subscriptions"]:
            self._execute(self._sql.add_history)
        self._write_groups(bool(row["known_recipients"]))
        if self._part.asks_confirmation:
            self._execute(self._sql.add_confirmations)
        return counts

    def _update_recipients(self) -> int:
        """Write what changes of people who are known, with its history; return how many there are."""
        sql, updated = self._sql, 0
        if self._connection.dialect.name == "postgresql":
            updated = self._execute(sql.update_profiles).rowcount
        elif self._execute(sql.add_profile_history).rowcount:
            updated = self._execute(sql.update_recipients).rowcount
        if not self._part.is_plain:
            self._execute(sql.add_external_keys)
        return updated

    def _write_groups(self, some_known: bool) -> None:
        replaces = self._part.replace_groups and some_known
        if replaces:
            self._execute(self._sql.add_group_history_replacing)
            self._execute(self._sql.remove_groups)
        elif self._part.group_sets:
            self._execute(self._sql.add_group_history)
        if self._part.group_sets:
            self._execute(self._sql.add_groups)

    def _execute(self, statement: TextClause) -> Any:
        names = statement.compile().params
        return self._connection.execute(statement, {name: self._parameters[name] for name in names})


def _load_stage(connection: Connection, people: Iterable[PersonRow]) -> None:
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(PersonRow._fields))
        connection.exec_driver_sql(
            f"INSERT INTO import_stage ({_STAGE_COLUMNS}) VALUES ({marks})", [tuple(row) for row in people]
        )
        return
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY import_stage ({_STAGE_COLUMNS}) FROM STDIN") as copy:
        copy.write("".join(map(_format_row, people)))


def _format_row(row: PersonRow) -> str:
    """Return a row in the text form of COPY; the driver would take several times as long."""
    return "\t".join(["\\N" if value is None else _format_value(value) for value in row]) + "\n"


def _format_value(value: object) -> str:
    if not isinstance(value, str):
        return str(value)
    if "\\" in value or "\t" in value or "\n" in value or "\r" in value:
        return value.translate(_COPY_ESCAPES)
    return value
