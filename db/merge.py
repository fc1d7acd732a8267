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

from sqlalchemy import Connection, TextClause, bindparam, text
from sqlalchemy.exc import IntegrityError

from db.types import UtcDateTime


class MergeConflict(Exception):
    """Another transaction changed the same recipients at the same moment; try again."""


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


COUNT_NAMES = tuple(item.name for item in fields(MergeCounts))

_STAGE_COLUMNS = "seq, email, mobile, fields, list_id, email_rule, sms_rule, group_set, row_count"


def merge_part(connection: Connection, part: Part) -> MergeCounts:
    """Merge a part within the caller's transaction.

    Raises:
        MergeConflict: on PostgreSQL, when another transaction got in between; roll back and try again.
    """
    merge = _Merge(connection, part)
    try:
        return merge.run(part.people)
    except IntegrityError as error:
        raise MergeConflict from error


class _Merge:
    def __init__(self, connection: Connection, part: Part) -> None:
        self._connection = connection
        self._part = part
        self._sql = _Statements(connection.dialect.name, part)
        self._parameters = {
            "account": part.account_id,
            "import": part.import_id,
            "source": part.source,
            "now": part.now,
            "reason": part.unsubscribe_reason,
        }

    def run(self, people: Sequence[PersonRow]) -> MergeCounts:
        self._prepare_tables()
        return self._merge(people)

    def _merge(self, people: Sequence[PersonRow]) -> MergeCounts:
        self._stage(people)
        self._execute(self._sql.resolve)
        if len(people) > 1 and self._rows_meet():
            # Two rows turned out to be one person (one by e-mail, the other by number): one after the other.
            middle = len(people) // 2
            counts = self._merge(people[:middle])
            counts.add(self._merge(people[middle:]))
            return counts
        return self._write()

    def _prepare_tables(self) -> None:
        for statement in self._sql.create:
            self._connection.execute(statement)
        for statement in self._sql.clear_rules:
            self._connection.execute(statement)
        rules = [
            {"rule": rule, "before": before, "after": after}
            for rule, transition in enumerate(self._part.transitions)
            for before, after in enumerate(transition)
        ]
        self._connection.execute(self._sql.add_rule, rules)
        members = [
            {"group_set": index, "group_id": group_id}
            for index, groups in enumerate(self._part.group_sets)
            for group_id in groups
        ]
        if members:
            self._connection.execute(self._sql.add_group_set, members)

    def _stage(self, people: Sequence[PersonRow]) -> None:
        for statement in self._sql.clear:
            self._connection.execute(statement)
        _load_stage(self._connection, people)
        if self._sql.analyze is not None:
            self._connection.execute(self._sql.analyze)

    def _rows_meet(self) -> bool:
        return bool(self._execute(self._sql.meetings).scalar_one())

    def _write(self) -> MergeCounts:
        row = self._execute(self._sql.count).mappings().one()
        counts = MergeCounts(**{name: int(row.get(name) or 0) for name in COUNT_NAMES})
        if row["new_recipients"]:
            self._execute(self._sql.add_recipients)
        if row["known_recipients"]:
            counts.updated = self._execute(self._sql.update_recipients).rowcount
        if row["new_subscriptions"]:
            self._execute(self._sql.add_subscriptions)
        if row["changed_subscriptions"]:
            changed = sum(self._execute(statement).rowcount for statement in self._sql.change_subscriptions)
            if changed != row["changed_subscriptions"]:
                raise MergeConflict
        if row["new_subscriptions"] or row["changed_subscriptions"]:
            self._execute(self._sql.add_history)
        if self._part.replace_groups and row["known_recipients"]:
            self._execute(self._sql.remove_groups)
        if self._part.group_sets:
            self._execute(self._sql.add_groups)
        return counts

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
        for row in people:
            copy.write_row(row)


class _Statements:
    """The statements of one merge, in the dialect at hand and in the order in which they run."""

    def __init__(self, dialect: str, part: Part) -> None:
        sqlite = dialect == "sqlite"
        final = ", ".join(str(int(reason)) for reason in part.final_reasons)
        json_type = "TEXT" if sqlite else "JSONB"
        merged = "json_patch(r.fields, x.fields)" if sqlite else "jsonb_strip_nulls(r.fields || x.fields)"
        stripped = "json_patch('{}', x.fields)" if sqlite else "jsonb_strip_nulls(x.fields)"
        next_id = "(SELECT COALESCE(MAX(id), 0) FROM recipient) + k.seq" if sqlite else "nextval('recipient_id_seq')"
        kept = "" if sqlite else " ON COMMIT DELETE ROWS"

        self.create = [
            text(f"CREATE TEMP TABLE IF NOT EXISTS {name} ({columns}){kept}")
            for name, columns in {
                "import_rule": "rule INTEGER, before INTEGER, after INTEGER",
                "import_group_set": "group_set INTEGER, group_id BIGINT",
                "import_stage": (
                    f"seq INTEGER, email TEXT, mobile TEXT, fields {json_type}, list_id BIGINT,"
                    " email_rule INTEGER, sms_rule INTEGER, group_set INTEGER, row_count INTEGER"
                ),
                "import_resolved": (
                    "recipient_id BIGINT, is_new BOOLEAN, sms_recipient_id BIGINT, email TEXT, mobile TEXT,"
                    f" fields {json_type}, list_id BIGINT, group_set INTEGER, row_count INTEGER, mobile_in_use BOOLEAN,"
                    " email_before INTEGER, email_after INTEGER, sms_before INTEGER, sms_after INTEGER"
                ),
            }.items()
        ]
        self.clear_rules = [text("DELETE FROM import_rule"), text("DELETE FROM import_group_set")]
        self.add_rule = text("INSERT INTO import_rule (rule, before, after) VALUES (:rule, :before, :after)")
        self.add_group_set = text("INSERT INTO import_group_set (group_set, group_id) VALUES (:group_set, :group_id)")
        clear = "DELETE FROM" if sqlite else "TRUNCATE"
        self.clear = [text(f"{clear} import_stage"), text(f"{clear} import_resolved")]
        self.analyze = None if sqlite else text("ANALYZE import_stage")

        def state(subscription: str) -> str:
            return (
                f"CASE WHEN {subscription}.status IS NULL THEN 0"
                f" WHEN {subscription}.status = 3 AND {subscription}.reason_type IN ({final}) THEN 4"
                f" ELSE {subscription}.status END"
            )

        # Who is meant: the one with this e-mail address; failing that the one with this number, unless he has
        # another address. The SMS channel belongs to whoever holds the number.
        self.resolve = text(f"""
            INSERT INTO import_resolved
            SELECT t.recipient_id, t.is_new, COALESCE(t.holder_id, t.recipient_id), t.email,
                   CASE WHEN t.holder_id IS NULL THEN t.mobile END,
                   t.fields, t.list_id, t.group_set, t.row_count,
                   t.holder_id IS NOT NULL AND t.holder_id <> t.recipient_id,
                   CASE WHEN t.email_rule IS NOT NULL THEN t.email_before END, er.after,
                   CASE WHEN t.sms_rule IS NOT NULL THEN t.sms_before END, sr.after
            FROM (
                SELECT k.*, COALESCE(k.known_id, {next_id}) AS recipient_id, k.known_id IS NULL AS is_new,
                       {state("es")} AS email_before, {state("ss")} AS sms_before
                FROM (
                    SELECT s.*, m.id AS holder_id,
                           COALESCE(e.id, CASE WHEN s.email IS NULL OR m.email IS NULL THEN m.id END) AS known_id
                    FROM import_stage s
                    LEFT JOIN recipient e ON e.account_id = :account AND e.email = s.email
                    LEFT JOIN recipient m ON m.account_id = :account AND m.mobile = s.mobile
                ) k
                LEFT JOIN subscription es
                  ON es.recipient_id = k.known_id AND es.list_id = k.list_id AND es.channel = 1
                LEFT JOIN subscription ss
                  ON ss.recipient_id = COALESCE(k.holder_id, k.known_id) AND ss.list_id = k.list_id AND ss.channel = 2
            ) t
            LEFT JOIN import_rule er ON er.rule = t.email_rule AND er.before = t.email_before
            LEFT JOIN import_rule sr ON sr.rule = t.sms_rule AND sr.before = t.sms_before
        """)
        self.meetings = text("""
            SELECT COUNT(*) <> COUNT(DISTINCT recipient_id)
                OR COUNT(sms_after) <> COUNT(DISTINCT CASE WHEN sms_after IS NOT NULL THEN sms_recipient_id END)
            FROM import_resolved
        """)
        self.count = text("""
            SELECT COUNT(CASE WHEN is_new THEN 1 END) AS new_recipients,
                   COUNT(CASE WHEN NOT is_new THEN 1 END) AS known_recipients,
                   COUNT(CASE WHEN email_before = 0 AND email_after <> 0 THEN 1 END)
                     + COUNT(CASE WHEN sms_before = 0 AND sms_after <> 0 THEN 1 END) AS new_subscriptions,
                   COUNT(CASE WHEN email_before <> 0 AND email_after <> email_before THEN 1 END)
                     + COUNT(CASE WHEN sms_before <> 0 AND sms_after <> sms_before THEN 1 END)
                     AS changed_subscriptions,
                   COUNT(CASE WHEN COALESCE(email_before, sms_before) = 0 THEN 1 END) AS new,
                   SUM(CASE WHEN COALESCE(email_before, sms_before) = 0 THEN row_count - 1 ELSE row_count END)
                     AS existing,
                   SUM(CASE WHEN COALESCE(email_before, sms_before) IN (3, 4)
                             AND COALESCE(email_after, sms_after) = COALESCE(email_before, sms_before)
                            THEN row_count ELSE 0 END) AS left_unsubscribed,
                   COUNT(CASE WHEN email_before IN (1, 2) AND email_after = 3 THEN 1 END)
                     + COUNT(CASE WHEN sms_before IN (1, 2) AND sms_after = 3 THEN 1 END) AS unsubscribed,
                   COUNT(CASE WHEN mobile_in_use THEN 1 END) AS mobile_in_use,
                   COUNT(CASE WHEN email_before = 0 THEN 1 END) AS new_email,
                   COUNT(CASE WHEN email_before <> 0 THEN 1 END) AS existing_email,
                   COUNT(CASE WHEN email_before IN (3, 4) THEN 1 END) AS optout_email,
                   COUNT(CASE WHEN sms_before = 0 THEN 1 END) AS new_mobile,
                   COUNT(CASE WHEN sms_before <> 0 THEN 1 END) AS existing_mobile,
                   COUNT(CASE WHEN sms_before IN (3, 4) THEN 1 END) AS optout_mobile
            FROM import_resolved
        """)
        self.add_recipients = _timed(f"""
            INSERT INTO recipient (id, account_id, email, mobile, fields, created_at, updated_at)
            SELECT x.recipient_id, :account, x.email, x.mobile, {stripped}, :now, :now
            FROM import_resolved x WHERE x.is_new
        """)
        self.update_recipients = _timed(f"""
            UPDATE recipient AS r
            SET fields = {merged}, email = COALESCE(r.email, x.email), mobile = COALESCE(x.mobile, r.mobile),
                updated_at = :now
            FROM import_resolved x
            WHERE r.id = x.recipient_id AND NOT x.is_new
              AND ({merged} <> r.fields OR (r.email IS NULL AND x.email IS NOT NULL)
                   OR (x.mobile IS NOT NULL AND (r.mobile IS NULL OR r.mobile <> x.mobile)))
        """)

        def both_channels(columns: str, condition: str) -> str:
            """Select from the resolved rows once per channel; `{}` stands for the channel's name."""
            halves = (("email", "1", "recipient_id"), ("sms", "2", "sms_recipient_id"))
            return " UNION ALL ".join(
                f"SELECT {recipient} AS recipient_id, list_id, {number} AS channel, {columns.format(name)}"
                f" FROM import_resolved WHERE {condition.format(name)}"
                for name, number, recipient in halves
            )

        started = both_channels("{0}_after AS after", "{0}_before = 0 AND {0}_after <> 0")
        self.add_subscriptions = _timed(f"""
            INSERT INTO subscription (recipient_id, list_id, channel, status, subscribed_at, changed_at,
                                      unsubscribed_at, reason_type, source)
            SELECT recipient_id, list_id, channel, after, CASE WHEN after = 1 THEN CAST(:now AS {_TIME[dialect]}) END,
                   :now, CASE WHEN after = 3 THEN CAST(:now AS {_TIME[dialect]}) END,
                   CASE WHEN after = 3 THEN CAST(:reason AS INTEGER) END, :source
            FROM ({started}) c
        """)
        self.change_subscriptions = [
            _timed(f"""
                UPDATE subscription AS s
                SET status = x.{name}_after, changed_at = :now,
                    subscribed_at = CASE WHEN x.{name}_after = 1 THEN CAST(:now AS {_TIME[dialect]})
                                         ELSE s.subscribed_at END,
                    unsubscribed_at = CASE WHEN x.{name}_after = 3 THEN CAST(:now AS {_TIME[dialect]}) END,
                    reason_type = CASE WHEN x.{name}_after = 3 THEN CAST(:reason AS INTEGER) END,
                    reason_subtype = NULL, message_id = NULL, source = :source
                FROM import_resolved x
                WHERE s.recipient_id = x.{recipient} AND s.list_id = x.list_id AND s.channel = {number}
                  AND x.{name}_before <> 0 AND x.{name}_after <> x.{name}_before
                  AND {state("s")} = x.{name}_before
            """)
            for name, number, recipient in (("email", 1, "recipient_id"), ("sms", 2, "sms_recipient_id"))
        ]
        moved = both_channels("{0}_before AS before, {0}_after AS after", "{0}_after <> {0}_before")
        self.add_history = _timed(f"""
            INSERT INTO history (account_id, recipient_id, list_id, channel, at, old_status, new_status,
                                 reason_type, source, import_id)
            SELECT :account, recipient_id, list_id, channel, :now,
                   CASE before WHEN 0 THEN NULL WHEN 4 THEN 3 ELSE before END, after,
                   CASE WHEN after = 3 THEN CAST(:reason AS INTEGER) END, :source, :import
            FROM ({moved}) c
        """)
        self.remove_groups = text("""
            DELETE FROM group_member
            WHERE (recipient_id, group_id) IN (
                SELECT x.recipient_id, g.id FROM import_resolved x JOIN list_group g ON g.list_id = x.list_id
                WHERE NOT EXISTS (
                    SELECT 1 FROM import_group_set n WHERE n.group_set = x.group_set AND n.group_id = g.id
                )
            )
        """)
        self.add_groups = text("""
            INSERT INTO group_member (recipient_id, group_id)
            SELECT x.recipient_id, n.group_id
            FROM import_resolved x JOIN import_group_set n ON n.group_set = x.group_set
            WHERE true
            ON CONFLICT DO NOTHING
        """)


_TIME = {"sqlite": "TEXT", "postgresql": "TIMESTAMPTZ"}


def _timed(statement: str) -> TextClause:
    clause = text(statement)
    return clause.bindparams(bindparam("now", type_=UtcDateTime)) if ":now" in statement else clause
