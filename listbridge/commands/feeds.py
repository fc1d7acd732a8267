"""`listbridge feed`: the folders of accounts whose files send messages."""

from __future__ import annotations

from typing import Annotated

import typer
from sqlalchemy import Connection

from audience.accounts import find_account
from exchange.parcel_settings import ENGINES, Engine
from jobs.sending_folders import FOLDERS, FoundFolder, SendingFolder, disable_folder, enable_folder, folders_of
from listbridge.commands.options import application, write
from listbridge.errors import CommandError
from listbridge.output import JsonOption, Row, print_rows
from services.mailup.csv_columns import COLUMN_NAMES, SENDING_FILES

app = typer.Typer(help="Folders whose files send messages.", no_args_is_help=True)

Account = Annotated[int, typer.Argument(help="Number of the account.")]
Folder = Annotated[str, typer.Argument(help=f"Folder of the account's home: {' or '.join(FOLDERS)}.")]


@app.command()
def enable(
    account: Account,
    folder: Folder,
    engines: Annotated[
        str, typer.Option(metavar="NAMES", help="By which parcels may be sent: massive, transactional, or both.")
    ] = "massive",
    smtp_user: Annotated[
        str, typer.Option(metavar="NAME", help="SMTP user of transactional parcels that name none.", show_default=False)
    ] = "",
    quiet_seconds: Annotated[
        float, typer.Option(min=0, help="How long a silent, living FTP connection waits until a file is complete.")
    ] = 2.0,
) -> None:
    """Take files in from a folder; what was set for it before is replaced."""
    settings = SendingFolder(
        engines=_read_engines(engines),
        smtp_user=smtp_user,
        quiet_seconds=quiet_seconds,
        column_names=COLUMN_NAMES,
        called=SENDING_FILES.get(FOLDERS.get(folder, "import"), ""),
    )
    with application() as opened:

        def work(connection: Connection) -> None:
            enable_folder(connection, opened.storage, find_account(connection, account), folder, settings)

        write(opened, work)
    print(f"Files in {folder} of account {account} are sent.")


@app.command()
def disable(account: Account, folder: Folder) -> None:
    """Take nothing in from a folder any more; files that came before go on."""
    with application() as opened:
        write(opened, lambda connection: disable_folder(connection, find_account(connection, account), folder))
    print(f"Nothing is taken in from {folder} of account {account} any more.")


@app.command("list")
def list_folders(account: Account, as_json: JsonOption = False) -> None:
    """List the folders of an account whose files send."""
    with application() as opened, opened.database.read() as connection:
        rows = [_describe(found) for found in folders_of(connection, find_account(connection, account).id)]
    print_rows(rows, as_json=as_json, nothing=f"Account {account} has no folders whose files send.")


def _read_engines(text: str) -> tuple[Engine, ...]:
    names = [name.strip() for name in text.split(",")]
    engines = tuple(engine for engine in ENGINES if engine in names)
    if len(engines) != len(names):
        raise CommandError("--engines is massive, transactional, or both, separated by a comma.")
    return engines


def _describe(found: FoundFolder) -> Row:
    settings = found.settings
    return {
        "folder": found.folder,
        "kind": found.kind,
        "enabled": settings.enabled,
        "engines": ",".join(settings.engines) if found.kind == "parcel" else None,
        "smtp_user": settings.smtp_user or None,
        "quiet_seconds": settings.quiet_seconds,
    }
