"""`listbridge transfer`: what is fetched from partners' servers and brought to them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer
from sqlalchemy import Connection

from audience.accounts import find_account, load_account
from db.leases import CANCELLED, name_owner
from jobs.schedules import find_schedule, request_run
from jobs.transfer_runs import run_next_transfer
from jobs.transfers import (
    Transfer,
    TransferError,
    TransferRun,
    TransferSettings,
    add_delivery,
    add_fetch,
    change_transfer,
    describe_subject,
    find_transfer,
    load_transfer_run,
    remove_transfer,
    transfer_runs_of,
    transferred_files,
    transfers_of,
)
from listbridge.app import Application
from listbridge.commands.options import AccountOption, application, write
from listbridge.commands.remotes import open_dialer, refusals_told
from listbridge.errors import CommandError
from listbridge.output import JsonOption, Row, print_json, print_rows, print_values

app = typer.Typer(help="Files fetched from partners' servers, and brought to them.", no_args_is_help=True)

_POLL_SECONDS = 0.2

IdArgument = Annotated[int, typer.Argument(metavar="ID", help="Of the transfer, as `transfer list` shows it.")]
PatternOption = Annotated[str | None, typer.Option(help="With --fetch: names to fetch, by default the folder's.")]
AfterOption = Annotated[
    str | None, typer.Option(help="With --fetch: what becomes of a file there: keep, delete or move:FOLDER.")
]
QuietOption = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="With --fetch: how long a file must have stayed the same.")
]


@app.command()
def add(
    account: AccountOption,
    remote: Annotated[str, typer.Option(metavar="NAME", help="The partner's server.")],
    fetch: Annotated[bool, typer.Option("--fetch", help="Fetch files, with --from and --into.")] = False,
    source: Annotated[str, typer.Option("--from", metavar="FOLDER", help="Where they are on the server.")] = "",
    into: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="The folder of a list they go into, such as import/1.")
    ] = None,
    pattern: PatternOption = None,
    after: AfterOption = None,
    quiet: QuietOption = None,
    deliver: Annotated[int | None, typer.Option(metavar="EXPORT", help="Bring the files of this export.")] = None,
    target: Annotated[str, typer.Option("--to", metavar="FOLDER", help="With --deliver: where to.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="With --deliver: replace files of the same name.")] = False,
    new_only: Annotated[
        bool, typer.Option("--new-only", help="With --deliver: leave the files of runs that ended before now.")
    ] = False,
) -> None:
    """Add a transfer; prints its id. `schedule set --transfer ID` says when it runs by itself."""
    if fetch == (deliver is not None):
        raise typer.BadParameter("give one of --fetch and --deliver")
    if fetch and into is None:
        raise typer.BadParameter("--fetch needs --into")
    given = {"pattern": pattern, "after": after, "quiet": quiet, "replace": replace, "new_only": new_only}
    with application() as opened, _refusals_told():
        settings = TransferSettings.from_dict({key: value for key, value in given.items() if value is not None})

        def work(connection: Connection) -> int:
            owner = find_account(connection, account)
            if deliver is not None:
                return add_delivery(connection, owner, remote, export_id=deliver, folder=target, settings=settings)
            return add_fetch(connection, owner, remote, folder=source, into=str(into), settings=settings)

        print(write(opened, work))


@app.command("list")
def list_all(
    account: Annotated[int | None, typer.Option("--account", help="Only those of this account.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the transfers with their last run."""
    with application() as opened, opened.database.read() as connection:
        account_id = find_account(connection, account).id if account is not None else None
        rows = [_summarise(connection, found) for found in transfers_of(connection, account_id)]
    print_rows(rows, as_json=as_json, nothing="There are no transfers.")


@app.command()
def show(number: IdArgument, as_json: JsonOption = False) -> None:
    """Show a transfer with its last runs and files."""
    with application() as opened, _refusals_told(), opened.database.read() as connection:
        found = find_transfer(connection, number)
        scheduled = find_schedule(connection, "transfer", number)
        values = _summarise(connection, found) | asdict(found.settings)
        values["schedule"] = scheduled.rule.describe() if scheduled is not None else None
        runs = [_describe_run(run) for run in transfer_runs_of(connection, number)]
        files = transferred_files(connection, number)
    if as_json:
        print_json(values | {"runs": runs, "files": files})
        return
    print_values(values)
    print()
    print_rows(runs, as_json=False, nothing="It has not run yet.")
    print()
    print_rows(files, as_json=False, nothing="It has transferred no file yet.")


@app.command("set")
def change(
    number: IdArgument,
    folder: Annotated[str | None, typer.Option(help="On the partner's server.")] = None,
    pattern: PatternOption = None,
    after: AfterOption = None,
    quiet: QuietOption = None,
    replace: Annotated[
        bool | None, typer.Option("--replace/--no-replace", help="With --deliver: whether to replace files.")
    ] = None,
) -> None:
    """Change a transfer; what is not given stays."""
    given = {"pattern": pattern, "after": after, "quiet": quiet, "replace": replace}
    changes = {key: value for key, value in given.items() if value is not None}
    with application() as opened, _refusals_told():
        write(opened, lambda connection: change_transfer(connection, number, folder=folder, **changes))
    print(f"Transfer {number} changed.")


@app.command()
def remove(number: IdArgument) -> None:
    """Remove a transfer, with its schedule, its runs and the memory of what it transferred."""
    with application() as opened, _refusals_told():
        write(opened, lambda connection: remove_transfer(connection, number))
    print(f"Transfer {number} removed.")


@app.command()
def run(number: IdArgument) -> None:
    """Run a transfer now, here; prints the number of files."""

    def request(connection: Connection) -> int:
        find_transfer(connection, number)
        return request_run(connection, "transfer", number)

    with application() as opened, _refusals_told():
        ended = _work_off(opened, write(opened, request))
    if ended.error_text is not None:
        typer.echo(ended.error_text, err=True)
    print(ended.files)


@contextmanager
def _refusals_told() -> Iterator[None]:
    try:
        with refusals_told():
            yield
    except TransferError as error:
        raise CommandError(str(error)) from error


def _work_off(opened: Application, run_id: int) -> TransferRun:
    """Do waiting runs here until this one has ended; a running server may do it before us.

    Raises:
        CommandError: it failed, was cancelled, or was put back for later.
    """
    owner, dialer = name_owner(), open_dialer(opened)
    while (found := _load(opened, run_id)).state not in ("completed", "skipped"):
        if found.state in ("failed", CANCELLED):
            raise CommandError(f"The transfer failed. {found.error_text}" if found.error_text else "It was cancelled.")
        if found.state == "queued" and found.error_text is not None:
            raise CommandError(f"{found.error_text} A running server tries it again for a day.")
        if not run_next_transfer(opened.database, opened.storage, owner, dialer=dialer):
            time.sleep(_POLL_SECONDS)
    return found


def _load(opened: Application, run_id: int) -> TransferRun:
    with opened.database.read() as connection:
        return load_transfer_run(connection, run_id)


def _summarise(connection: Connection, found: Transfer) -> Row:
    runs = transfer_runs_of(connection, found.id, limit=1)
    last = runs[0] if runs else None
    remote, subject = describe_subject(connection, found)
    return {
        "id": found.id,
        "account": load_account(connection, found.account_id).number,
        "direction": found.direction,
        "remote": remote,
        "folder": found.folder or None,
        "about": subject,
        "last_state": last.state if last else None,
        "last_files": last.files if last else None,
        "last_due_at": last.due_at if last else None,
        "last_error": last.error_text if last else None,
    }


def _describe_run(run: TransferRun) -> Row:
    return {
        "run": run.id,
        "due_at": run.due_at,
        "state": run.state,
        "files": run.files,
        "bytes": run.bytes,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "error": run.error_text,
    }
