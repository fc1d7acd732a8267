"""An account whose imports are done at once and can be undone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, insert, select

from audience.accounts import add_account
from audience.history import Cause
from audience.lists import MailingList, add_group, add_list, groups_of, lists_of
from audience.status_rules import Channel, Reason, Transition
from audience.subscriptions import Address, change_state, update_profile
from db.engine import Database
from db.tables import (
    group_member,
    history,
    import_run,
    outbox,
    recipient,
    subscription,
    suppression,
)
from exchange.profiles import Profile
from exchange.rows import SourceRow
from jobs.import_chunk import Chunk, ImportPlan
from jobs.import_undo import UndoResult, undo_import

EMAILS = ["a@example.com", "b@example.com", "c@example.com"]
PAGE = Cause("page", Reason.LINK, actor="192.0.2.7")

_TOLD = [column for column in subscription.c if column.name != "changed_at"]


def source_row(email: str = "", **values: Any) -> SourceRow:
    empty: dict[str, Any] = dict.fromkeys(SourceRow._fields, "") | {"line": 1, "fields": {}, "status": "1"}
    return SourceRow(**(empty | {"email": email} | values))


class World:
    """An account with a list of two groups, and imports that are done at once."""

    def __init__(self, database: Database) -> None:
        self.database = database
        with database.write() as connection:
            self.account = add_account(connection, 1, password="secret")
            self.mailing: MailingList = add_list(connection, self.account.id, "News")
            self.groups = [add_group(connection, self.mailing, name) for name in ("Red", "Blue")]
        self.runs = 0

    def clear(self) -> None:
        with self.database.write() as connection:
            for table in (recipient, subscription, group_member, history, outbox, import_run, suppression):
                connection.execute(table.delete())

    def start_import(self, state: str = "completed", **values: Any) -> int:
        self.runs += 1
        now = datetime.now(UTC)
        facts = {"account_id": self.account.id, "list_id": self.mailing.id, "number": self.runs, "source": "ftp"}
        facts |= {
            "file_name": "daily.csv",
            "spool_name": "x",
            "profile": Profile().to_dict(),
            "size": 1,
            "counters": {},
        }
        facts |= {"state": state, "created_at": now, "sha256": "0" * 64, **values}
        with self.database.write() as connection:
            return int(connection.execute(insert(import_run).values(**facts).returning(import_run.c.id)).scalar_one())

    def merge(self, import_id: int, profile: Profile, rows: list[SourceRow]) -> None:
        """Do some more rows of an import, as a chunk of its own."""
        with self.database.write() as connection:
            now = datetime.now(UTC)
            lists = {mailing.number: mailing for mailing in lists_of(connection, self.account.id)}
            groups = {group.number: group for group in groups_of(connection, [self.mailing.id])}
            chunk = Chunk(ImportPlan(self.account.id, import_id, "ftp", profile, self.mailing, lists, groups))
            chunk.add(rows)
            chunk.merge(connection, now)
            progress = {
                "profile": profile.to_dict(),
                "rows_done": import_run.c.rows_done + len(rows),
                "started_at": func.coalesce(import_run.c.started_at, now),
                "finished_at": datetime.now(UTC),
            }
            connection.execute(import_run.update().where(import_run.c.id == import_id).values(**progress))

    def import_rows(self, *rows: SourceRow, **profile: Any) -> int:
        import_id = self.start_import()
        self.merge(import_id, Profile(status="column", **profile), list(rows))
        return import_id

    def change(self, email: str, transition: Transition, cause: Cause = PAGE, channel: Channel = Channel.EMAIL) -> int:
        with self.database.write() as connection:
            return change_state(connection, self.mailing, Address(channel, email), transition, cause).recipient_id

    def profile(self, email: str, fields: dict[int, str], groups: list[int], replace: bool = False) -> None:
        with self.database.write() as connection:
            query = select(recipient.c.id).where(recipient.c.email == email)
            recipient_id = connection.execute(query).scalar_one()
            update_profile(
                connection,
                self.mailing,
                recipient_id,
                fields=fields,
                groups=groups,
                replace_groups=replace,
                cause=PAGE,
            )

    def undo(self, import_id: int, **options: Any) -> UndoResult:
        return undo_import(self.database, import_id, "operator", **options)

    def rows(self, table: Any, *conditions: Any) -> list[Any]:
        with self.database.read() as connection:
            query = select(table).where(*conditions)
            return list(connection.execute(query.order_by(*table.primary_key.columns)))

    def subscriptions(self) -> list[tuple[Any, ...]]:
        """Everything that is stored of the subscriptions, except when that changed, which undoing does too."""
        return [tuple(row._mapping[column] for column in _TOLD) for row in self.rows(subscription)]

    def people(self) -> dict[str, tuple[int | None, int | None, dict[str, str], set[int]]]:
        """Status, reason, fields and groups by e-mail address."""
        statuses = {row.recipient_id: row for row in self.rows(subscription, subscription.c.channel == 1)}
        numbers = {group.id: group.number for group in self.groups}
        groups: dict[int, set[int]] = {}
        for row in self.rows(group_member):
            groups.setdefault(row.recipient_id, set()).add(numbers[row.group_id])
        found = {}
        for row in self.rows(recipient):
            status = statuses.get(row.id)
            facts = (status.status, status.reason_type) if status is not None else (None, None)
            found[row.email] = (*facts, row.fields, groups.get(row.id, set()))
        return found
