"""`listbridge export`: files that go out, daily or on request."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import Connection, select

from audience.accounts import find_account, load_account
from audience.unsubscribed import FIELD_PREFIX
from db.tables import account as account_table
from db.tables import export as export_table
from exchange.export_csv import CsvFormat
from exchange.file_names import DEFAULT_PATTERN
from jobs.exports import (
    DEFAULT_COLUMNS,
    EXPORT_FOLDER,
    Export,
    ExportSettings,
    ExportType,
    add_export,
    find_export,
    request_run,
    run_next_export,
)
from jobs.leases import name_owner
from jobs.schedules import Period, enqueue_failed
from listbridge.app import Application
from listbridge.commands.options import TAB_NAMES, AccountOption, application, split_numbers
from listbridge.errors import CommandError
from listbridge.export_runs import ExportRun, list_export_runs, load_export_run
from listbridge.output import JsonOption, Row, print_rows
from services.mailup.csv_columns import EXPORT_HEADERS

app = typer.Typer(help="Exports: files that go out, daily or on request.", no_args_is_help=True)

_POLL_SECONDS = 0.2


@app.command()
def add(
    account: AccountOption,
    type: Annotated[ExportType, typer.Option(help="What is exported.")],
    lists: Annotated[str | None, typer.Option(help="Numbers of the lists that count; by default all.")] = None,
    exclude_lists: Annotated[str | None, typer.Option(help="Numbers of lists that do not count.")] = None,
    period: Annotated[Period, typer.Option(help="Everything, or what happened on the day before.")] = "full",
    reasons: Annotated[str | None, typer.Option(help="Codes of the reasons that count; by default all.")] = None,
    exclude_reasons: Annotated[str | None, typer.Option(help="Codes of reasons that do not count.")] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="Columns, separated by commas: a header, a key such as `reason_type`, or a field's number."),
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="HH:MM", help="Run daily at this time, in the account's time zone.")
    ] = None,
    name_pattern: Annotated[
        str, typer.Option(help="Name of the file, from {type}, {account}, {id} and {date:PATTERN}.")
    ] = DEFAULT_PATTERN,
    folder: Annotated[str, typer.Option(help="Folder in the account's home: export, or one below it.")] = EXPORT_FOLDER,
    separator: Annotated[str, typer.Option(help="Column separator: ; , | or `tab`.")] = ";",
    quote: Annotated[str, typer.Option(help="Quoting character.")] = '"',
    encoding: Annotated[str, typer.Option(help="utf-8, utf-8-sig or cp1252.")] = "utf-8",
    date_format: Annotated[str, typer.Option(help="Form of dates.")] = "yyyyMMddTHHmmss",
    header: Annotated[bool, typer.Option("--header/--no-header", help="Begin with a header.")] = True,
    defuse_formulas: Annotated[
        bool, typer.Option("--defuse-formulas", help="Keep spreadsheets from taking cells for formulas.")
    ] = False,
) -> None:
    """Add an export; prints its id. Without --at it runs on request only."""
    with application() as opened, _values_checked(), opened.database.write() as connection:
        owner = find_account(connection, account)
        csv_format = CsvFormat(
            separator="\t" if separator in TAB_NAMES else separator,
            quote=quote,
            encoding=encoding,
            header=header,
            date_format=date_format,
            time_zone=owner.time_zone,
            defuse_formulas=defuse_formulas,
        )
        settings = ExportSettings(
            lists=split_numbers(lists, "--lists") or None,
            exclude_lists=split_numbers(exclude_lists, "--exclude-lists"),
            period=period,
            reasons=split_numbers(reasons, "--reasons") or None,
            exclude_reasons=split_numbers(exclude_reasons, "--exclude-reasons"),
            columns=_parse_columns(columns),
            headers=EXPORT_HEADERS,
            csv=csv_format,
            name_pattern=name_pattern,
            folder=folder,
        )
        export_id = add_export(connection, owner, type, settings, at)
    print(export_id)


@app.command()
def run(number: Annotated[int, typer.Argument(metavar="ID", help="Of the export, as `export list` shows it.")]) -> None:
    """Run an export now, or again the scheduled runs that failed; prints the file's name in the account's home."""
    with application() as opened:
        with _values_checked(), opened.database.write() as connection:
            exported = find_export(connection, number)
            again = enqueue_failed(connection, number)
            waiting = again or [request_run(connection, number)]
            zone = load_account(connection, exported.account_id).zone
        for run_id in waiting:
            _announce(opened, run_id, zone, again=bool(again))
            print(f"{exported.settings.folder}/{_work_off(opened, run_id).file_name}")


@app.command("list")
def list_all(
    account: Annotated[int | None, typer.Option("--account", help="Only those of this account.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the exports with their last run."""
    with application() as opened, opened.database.read() as connection:
        rows = [_summarise(connection, export_id) for export_id in _export_ids(connection, account)]
    print_rows(rows, as_json=as_json, nothing="There are no exports.")


@contextmanager
def _values_checked() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise CommandError(str(error)) from error


def _parse_columns(text: str | None) -> tuple[str, ...]:
    if text is None:
        return DEFAULT_COLUMNS
    keys = {header.lower(): key for key, header in EXPORT_HEADERS.items()}
    cells = [cell.strip() for cell in text.split(",")]
    return tuple(f"{FIELD_PREFIX}{cell}" if cell.isdigit() else keys.get(cell.lower(), cell) for cell in cells)


def _announce(opened: Application, run_id: int, zone: ZoneInfo, *, again: bool) -> None:
    """Tell, beside the output that scripts read, what is not the usual: a run done again, or one that must wait."""
    found = _load(opened, run_id)
    if again:
        print(
            f"The run due at {found.due_at.astimezone(zone):%Y-%m-%d %H:%M} failed; it is run again.", file=sys.stderr
        )
    elif found.not_before is not None and found.not_before > datetime.now(UTC):
        begin = found.not_before.astimezone(zone)
        print(f"The day before is taken as final at {begin:%H:%M}; the export waits until then.", file=sys.stderr)


def _work_off(opened: Application, run_id: int) -> ExportRun:
    """Do waiting runs here until this one has ended; a running server may do it before us.

    Raises:
        CommandError: it failed, or was put back for later.
    """
    owner = name_owner()
    while (found := _load(opened, run_id)).state != "completed":
        if found.state == "failed":
            raise CommandError(f"The export failed. {found.error_text}")
        if found.error_text is not None:
            raise CommandError(f"{found.error_text} A running server tries it again for a day.")
        if not run_next_export(opened.database, opened.storage, owner):
            time.sleep(_POLL_SECONDS)
    return found


def _load(opened: Application, run_id: int) -> ExportRun:
    with opened.database.read() as connection:
        return load_export_run(connection, run_id)


def _export_ids(connection: Connection, account_number: int | None) -> list[int]:
    query = select(export_table.c.id).join(account_table, account_table.c.id == export_table.c.account_id)
    if account_number is not None:
        query = query.where(account_table.c.id == find_account(connection, account_number).id)
    return list(connection.execute(query.order_by(export_table.c.id)).scalars())


def _summarise(connection: Connection, export_id: int) -> Row:
    export: Export = find_export(connection, export_id)
    runs = list_export_runs(connection, export_id, limit=1)
    last = runs[0] if runs else None
    return {
        "id": export.id,
        "account": load_account(connection, export.account_id).number,
        "type": export.type,
        "period": export.settings.period,
        "at": export.at,
        "folder": export.settings.folder,
        "last_state": last.state if last else None,
        "last_rows": last.rows if last else None,
        "last_file": last.file_name if last else None,
        "last_due_at": last.due_at if last else None,
        "last_error": last.error_text if last else None,
    }
