"""`listbridge import`: import a file now, see what became of imports, and undo them.

The group takes the name of a file where others take the name of a command. A file that is called like a command
is given as `./list`.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Connection
from typer.core import TyperCommand, TyperGroup

from audience.accounts import Account, find_account
from audience.lists import find_list
from db.leases import name_owner
from exchange.profiles import Profile
from jobs.feeds import IMPORT_FOLDER, find_feed, parse_folder
from jobs.import_results import ImportResult, import_result, list_imports
from jobs.import_undo import UndoResult, undo_import
from jobs.imports import import_file
from listbridge.commands.operator import YesOption, confirm, name_operator
from listbridge.commands.options import AccountOption, application
from listbridge.errors import CommandError
from listbridge.output import JsonOption, Row, print_json, print_rows, print_values
from listbridge.progress import show_progress

FILE = "FILE"


class FileGroup(TyperGroup):
    """A group of commands in which anything that is no command's name goes to the command `FILE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the command in front of a file's name and its options."""
        known = (set(self.commands) - {FILE}) | set(ctx.help_option_names)
        if args and args[0] not in known:
            args = [FILE, *args]
        return super().parse_args(ctx, args)


class FileCommand(TyperCommand):
    """The command `FILE`, whose name in the usage line stands for its argument."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Leave the argument out: it is there already as the name."""
        return [piece for piece in super().collect_usage_pieces(ctx) if piece.strip("{}") != FILE]


app = typer.Typer(cls=FileGroup, help="Import a file now, see what became of imports, undo one.", no_args_is_help=True)


@app.command(FILE, cls=FileCommand)
def import_now(
    file: Annotated[Path, typer.Argument(metavar=FILE, exists=True, dir_okay=False, help="The file.")],
    account: AccountOption,
    mailing_list: Annotated[int, typer.Option("--list", help="Number of the list.")],
    profile: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Read it as files of this folder are read; by default import/<list>."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything except keeping it.")] = False,
) -> None:
    """Import a file now, in this process; exit code 1 when it was refused as a whole."""
    with application() as opened:
        with opened.database.read() as connection:
            owner = find_account(connection, account)
            mailing = find_list(connection, owner.id, mailing_list)
            settings = _find_profile(connection, owner, profile or f"{IMPORT_FOLDER}/{mailing_list}")
        with show_progress(file) as progress:
            result = import_file(
                opened.database,
                opened.storage,
                name_owner(),
                account=owner,
                mailing=mailing,
                path=file,
                profile=settings,
                dry_run=dry_run,
                progress=progress,
            )
    _print_result(result)
    if dry_run:
        print("Dry run: nothing was kept.")
    if result.state != "completed":
        raise CommandError(f"The file was refused: {result.error_text}")


@app.command("list")
def list_all(
    account: Annotated[int | None, typer.Option("--account", help="Only those of this account.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most imports to list.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List the newest imports, whichever door they came through."""
    with application() as opened, opened.database.read() as connection:
        account_id = find_account(connection, account).id if account is not None else None
        results = list_imports(connection, account_id, limit=limit)
    print_rows([_summarise(result) for result in results], as_json=as_json, nothing="There are no imports.")


@app.command()
def show(
    number: Annotated[int, typer.Argument(metavar="ID", help="Of the import, as `import list` shows it.")],
    as_json: JsonOption = False,
) -> None:
    """Show one import with its counters and the reasons of refused rows."""
    with application() as opened, opened.database.read() as connection:
        result = import_result(connection, number)
    if as_json:
        print_json(asdict(result))
    else:
        _print_result(result)


@app.command()
def undo(
    number: Annotated[int, typer.Argument(metavar="ID", help="Of the import, as `import list` shows it.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything except keeping it.")] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take back what an import did to people, where nothing newer happened since, and say what was left."""
    with application() as opened:
        with opened.database.read() as connection:
            result = import_result(connection, number)
        if not dry_run:
            file = Path(result.file_name).name
            confirm(f"Undo import {number} ({file}, {result.counters['total']} rows)?", yes=yes)
        undone = undo_import(opened.database, number, name_operator(), dry_run=dry_run)
    if as_json:
        print_json({**asdict(undone), "did_nothing": undone.did_nothing})
    else:
        _print_undone(undone)


def _find_profile(connection: Connection, account: Account, folder: str) -> Profile:
    feed = find_feed(connection, account.id, parse_folder(folder)[0])
    if feed is None:
        raise CommandError(f"Account {account.number} has no folder {folder}.")
    return feed.profile


def _summarise(result: ImportResult) -> Row:
    counters = result.counters
    return {
        "id": result.id,
        "account": result.account_number,
        "list": result.list_number,
        "source": result.source,
        "file": result.file_name,
        "state": result.state,
        "total": counters["total"],
        "new": counters["new"],
        "existing": counters["existing"],
        "refused": sum(counters["refused"].values()),
        "created_at": result.created_at,
    }


def _print_undone(undone: UndoResult) -> None:
    counts = undone.counts
    if undone.did_nothing:
        print(f"There is nothing left to undo of import {undone.import_id}.")
    else:
        changes = {f"{kind} taken back": count for kind, count in counts.reverted.items()}
        print_values(
            {
                "import": f"{undone.import_id}, undone",
                **changes,
                "recipients removed": counts.removed_recipients,
                "mails not sent": undone.removed_mails,
            }
        )
    for why, left in (("something newer happened", counts.newer), ("they are final", counts.final)):
        if any(left.values()):
            print(f"\nLeft, because {why}")
            print_values(dict(left))
    if counts.examples:
        print(f"\nRecipients with something left, for example: {', '.join(map(str, counts.examples))}")
    if undone.dry_run:
        print("Dry run: nothing was kept.")


def _print_result(result: ImportResult) -> None:
    counters = dict(result.counters)
    refused, noted = counters.pop("refused"), counters.pop("noted")
    values = {
        "import": f"{result.id} (number {result.number} of account {result.account_number})",
        "file": result.file_name,
        "list": result.list_number,
        "source": result.source,
        "state": result.state,
        "created": result.created_at,
        "started": result.started_at,
        "finished": result.finished_at,
    }
    if result.error_code is not None:
        values["reason"] = f"{result.error_code}: {result.error_text}"
    print_values(values)
    print()
    print_values({**counters, "refused": sum(refused.values())})
    for title, counts in (("Refused rows by reason", refused), ("Imported with a remark, by reason", noted)):
        if counts:
            print(f"\n{title}")
            print_values(counts)
    sys.stdout.flush()
