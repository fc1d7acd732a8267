"""`listbridge export`: files that go out, by a schedule or on request."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import Connection, select

from audience.accounts import Account, find_account, load_account
from db.leases import name_owner
from db.tables import account as account_table
from db.tables import export as export_table
from jobs.export_runs import run_next_export
from jobs.exports import (
    Export,
    ExportType,
    add_export,
    change_export,
    find_export,
    remove_export,
    request_run,
)
from jobs.schedules import enqueue_failed
from listbridge.app import Application
from listbridge.commands import export_options as options
from listbridge.commands.options import AccountOption, application, write
from listbridge.errors import CommandError
from listbridge.export_runs import ExportRun, list_export_runs, load_export_run
from listbridge.output import JsonOption, Row, print_json, print_rows, print_values

app = typer.Typer(help="Exports: files that go out, daily or on request.", no_args_is_help=True)

_POLL_SECONDS = 0.2
_SHOWN_RUNS = 10

IdArgument = Annotated[int, typer.Argument(metavar="ID", help="Of the export, as `export list` shows it.")]


@app.command()
def add(
    account: AccountOption,
    type: Annotated[ExportType, typer.Option(help="What is exported.")],
    lists: options.ListsOption = None,
    exclude_lists: options.ExcludeListsOption = None,
    period: options.PeriodOption = None,
    since: options.SinceOption = None,
    reasons: options.ReasonsOption = None,
    exclude_reasons: options.ExcludeReasonsOption = None,
    where: options.WhereOption = None,
    columns: options.ColumnsOption = None,
    word: options.WordOption = None,
    at: options.AtOption = None,
    name_pattern: options.NamePatternOption = None,
    folder: options.FolderOption = None,
    separator: options.SeparatorOption = None,
    quote: options.QuoteOption = None,
    encoding: options.EncodingOption = None,
    date_format: options.DateFormatOption = None,
    time_zone: options.TimeZoneOption = None,
    header: options.HeaderOption = None,
    defuse_formulas: options.DefuseOption = None,
    zip: options.ZipOption = None,
    manifest: options.ManifestOption = None,
    empty: options.EmptyOption = None,
    split_by_list: options.SplitOption = None,
) -> None:
    """Add an export; prints its id. Without --at it runs on request only, unless `schedule set` says otherwise."""
    given = _without(locals(), "account", "type", "at")

    def work(connection: Connection) -> int:
        owner = find_account(connection, account)
        settings = options.apply_options(options.default_settings(type, owner.time_zone), type, given)
        return add_export(connection, owner, type, settings, at)

    with application() as opened, _values_checked():
        print(write(opened, work))


@app.command("set")
def set_settings(
    number: IdArgument,
    lists: options.ListsOption = None,
    exclude_lists: options.ExcludeListsOption = None,
    period: options.PeriodOption = None,
    since: options.SinceOption = None,
    reasons: options.ReasonsOption = None,
    exclude_reasons: options.ExcludeReasonsOption = None,
    where: options.WhereOption = None,
    columns: options.ColumnsOption = None,
    word: options.WordOption = None,
    at: options.AtOption = None,
    name_pattern: options.NamePatternOption = None,
    folder: options.FolderOption = None,
    separator: options.SeparatorOption = None,
    quote: options.QuoteOption = None,
    encoding: options.EncodingOption = None,
    date_format: options.DateFormatOption = None,
    time_zone: options.TimeZoneOption = None,
    header: options.HeaderOption = None,
    defuse_formulas: options.DefuseOption = None,
    zip: options.ZipOption = None,
    manifest: options.ManifestOption = None,
    empty: options.EmptyOption = None,
    split_by_list: options.SplitOption = None,
) -> None:
    """Change settings of an export; what is not named stays."""
    given = _without(locals(), "number", "at")

    def work(connection: Connection) -> None:
        found = find_export(connection, number)
        owner = load_account(connection, found.account_id)
        settings = options.apply_options(found.settings, found.type, given)
        change_export(connection, owner, number, settings, at)

    with application() as opened, _values_checked():
        write(opened, work)
    print(f"Export {number} is changed.")


@app.command()
def remove(number: IdArgument) -> None:
    """Remove an export with its schedule and the records of its runs; files that it gave stay."""
    with application() as opened, _values_checked():
        write(opened, lambda connection: remove_export(connection, number))
    print(f"Export {number} is removed.")


@app.command()
def run(number: IdArgument) -> None:
    """Run an export now, or again the scheduled runs that failed; prints the files' names in the account's home."""
    with application() as opened:
        with _values_checked(), opened.database.write() as connection:
            exported = find_export(connection, number)
            again = enqueue_failed(connection, number)
            waiting = again or [request_run(connection, number)]
            zone = load_account(connection, exported.account_id).zone
        for run_id in waiting:
            _announce(opened, run_id, zone, again=bool(again))
            files = _work_off(opened, run_id).files
            for name in files or ():
                print(name)
            if not files:
                print("There are no rows, and so no file.", file=sys.stderr)


@app.command()
def show(number: IdArgument, as_json: JsonOption = False) -> None:
    """Show the settings of an export, its schedule and its last runs."""
    with application() as opened, _values_checked(), opened.database.read() as connection:
        found = find_export(connection, number)
        owner = load_account(connection, found.account_id)
        runs = list_export_runs(connection, number, limit=_SHOWN_RUNS)
    settings = _describe(found, owner)
    if as_json:
        print_json({**settings, "runs": [_describe_run(run) for run in runs]})
        return
    print_values(settings)
    print()
    zone = owner.zone
    rows = [
        {**_describe_run(run), **{key: options.show_instant(getattr(run, key), zone) for key in _INSTANTS}}
        for run in runs
    ]
    print_rows(rows, as_json=False, nothing="It has not run yet.")


@app.command("list")
def list_all(
    account: Annotated[int | None, typer.Option("--account", help="Only those of this account.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the exports with their last run."""
    with application() as opened, opened.database.read() as connection:
        rows = [_summarise(connection, export_id) for export_id in _export_ids(connection, account)]
    print_rows(rows, as_json=as_json, nothing="There are no exports.")


_INSTANTS = ("due_at", "covers_since", "covers_until", "started_at", "finished_at")


@contextmanager
def _values_checked() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise CommandError(str(error)) from error


def _without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


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
        CommandError: it failed, was cancelled, or was put back for later.
    """
    owner = name_owner()
    while (found := _load(opened, run_id)).state != "completed":
        if found.state == "failed":
            raise CommandError(f"The export failed. {found.error_text}")
        if found.state == "cancelled":
            raise CommandError("The export was cancelled.")
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


def _describe(export: Export, owner: Account) -> Row:
    settings = export.settings
    described: Row = {"id": export.id, "account": owner.number, "type": export.type}
    described["schedule"] = export.schedule.rule.describe() if export.schedule is not None else None
    described |= {name: value for name, value in settings.to_dict().items() if name not in ("headers", "words", "csv")}
    described |= settings.csv.to_dict()
    described["words"] = ", ".join(f"{state}={word}" for state, word in settings.words.items()) or None
    described["columns"] = options.show_columns(settings, export.type)
    return described


def _describe_run(run: ExportRun) -> Row:
    return {
        "run": run.id,
        "due_at": run.due_at,
        "state": run.state,
        "rows": run.rows,
        "seconds": run.seconds,
        "covers_since": run.covers_since,
        "covers_until": run.covers_until,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "files": ", ".join(run.files) if run.files else None,
        "error": run.error_text,
    }
