"""How the first rows of a file would be imported, with nothing written and the rest of the file unread."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

from sqlalchemy import Connection

from audience.accounts import Account
from audience.lists import MailingList, fields_of, groups_of, lists_of
from exchange.csv_reader import CsvRows
from exchange.profiles import Profile
from exchange.rows import RowError, SourceRow
from jobs.import_chunk import Chunk, ImportPlan


@dataclass(frozen=True, slots=True)
class PreviewedRow:
    """A row of a file as it would be imported."""

    line: int
    values: dict[str, str]
    """By role, or number of a field; what is empty is left out, unless it clears the stored value."""
    is_refused: bool
    problems: tuple[tuple[str, str], ...]
    """Code and text of why it is refused, or of what is left out of it."""


def preview_rows(
    connection: Connection, account: Account, mailing: MailingList, profile: Profile, sample: bytes, count: int
) -> list[PreviewedRow]:
    """Read the first rows of a CSV file and validate them.

    Args:
        connection: open for reading.
        account: whose lists, groups and fields count.
        mailing: the list of rows that name none.
        profile: how the file is read.
        sample: the beginning of the file, up to the end of a line.
        count: most rows to return.

    Raises:
        FileRefused: the file could not be imported.
    """
    plan = _make_plan(connection, account, mailing, profile)
    numbers = {name.lower(): str(number) for number, name in fields_of(connection, account.id).items()}
    source = CsvRows(lambda: BytesIO(sample), profile, numbers)
    batch = next(source.batches(count), None)
    if batch is None:
        return []
    previewed = [_preview(plan, row) for row in batch.rows] + [_explain(error) for error in batch.errors]
    return sorted(previewed, key=lambda row: row.line)


def _make_plan(connection: Connection, account: Account, mailing: MailingList, profile: Profile) -> ImportPlan:
    lists = lists_of(connection, account.id)
    groups = groups_of(connection, [known.id for known in lists])
    return ImportPlan(
        account_id=account.id,
        import_id=None,
        source="check",
        profile=profile,
        default_list=mailing,
        lists={known.number: known for known in lists},
        groups={group.number: group for group in groups},
    )


def _preview(plan: ImportPlan, row: SourceRow) -> PreviewedRow:
    chunk = Chunk(plan)
    chunk.add([row])
    problems = [(error.code, error.text) for error in (*chunk.refused, *chunk.noted)]
    values = {
        "email": row.email,
        "mobile": row.mobile,
        "external": row.external,
        "list": row.list_number,
        "group": row.groups,
        "group_name": row.group_name,
        "status": row.status,
    }
    given = {role: value for role, value in values.items() if value}
    return PreviewedRow(row.line, given | row.fields, bool(chunk.refused), tuple(problems))


def _explain(error: RowError) -> PreviewedRow:
    return PreviewedRow(error.line, {}, True, ((error.code, error.text),))
