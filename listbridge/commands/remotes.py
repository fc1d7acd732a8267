"""`listbridge remote`: the servers of partners that transfers go to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from audience.accounts import find_account
from jobs.remote_access import Dialer
from jobs.remote_servers import (
    DEFAULT_PORTS,
    Access,
    Protocol,
    RemoteServer,
    RemoteServerError,
    add_remote_server,
    change_remote_server,
    find_remote_server,
    remote_servers_of,
    remove_remote_server,
)
from jobs.remote_sessions import Listing, RemoteError, RemoteSession, check_folder
from listbridge.app import Application
from listbridge.commands.options import AccountOption, PasswordOption, application, require_password, write
from listbridge.errors import CommandError
from listbridge.output import JsonOption, Row, print_json, print_rows, print_values
from listbridge.settings import parse_networks

app = typer.Typer(help="Servers of partners, to fetch files from and to bring files to.", no_args_is_help=True)

_SHOWN_FILES = 20

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of the server in its account.")]
KeyOption = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help="For sftp: the private key to log in with, not encrypted.")
]
FingerprintOption = Annotated[
    str | None,
    typer.Option(help="What the server must show: SHA256:… of its host key, or sha256:… of its certificate."),
]


@app.command()
def add(
    name: NameArgument,
    account: AccountOption,
    protocol: Annotated[Protocol, typer.Option(help="How to speak with it.")],
    host: Annotated[str, typer.Option(help="Its name or address.")],
    user: Annotated[str, typer.Option(help="Whom to log in as.")],
    port: Annotated[int | None, typer.Option(help="By default the usual one of the protocol.")] = None,
    password: PasswordOption = None,
    key: KeyOption = None,
    fingerprint: FingerprintOption = None,
) -> None:
    """Add a server of a partner; prints its name. No connection is made: `remote probe` does that."""
    with application() as opened, refusals_told():
        access = Access(
            protocol=protocol,
            host=host,
            port=port if port is not None else DEFAULT_PORTS[protocol],
            user_name=user,
            password=_find_password(password, needed=key is None),
            private_key=_read_key(key),
            fingerprint=fingerprint,
        )
        write(opened, lambda at: add_remote_server(at, find_account(at, account).id, name, access))
    print(name)


@app.command("list")
def list_all(account: AccountOption, as_json: JsonOption = False) -> None:
    """List the servers of an account."""
    with application() as opened, opened.database.read() as connection:
        rows = [_summarise(found) for found in remote_servers_of(connection, find_account(connection, account).id)]
    print_rows(rows, as_json=as_json, nothing="There are no servers.")


@app.command()
def show(name: NameArgument, account: AccountOption, as_json: JsonOption = False) -> None:
    """Show a server; its password and key are never shown."""
    with application() as opened, refusals_told():
        values = _summarise(_find(opened, account, name))
    if as_json:
        print_json(values)
    else:
        print_values(values)


@app.command("set")
def change(
    name: NameArgument,
    account: AccountOption,
    host: Annotated[str | None, typer.Option(help="Its name or address.")] = None,
    port: Annotated[int | None, typer.Option(help="Where it listens.")] = None,
    user: Annotated[str | None, typer.Option(help="Whom to log in as.")] = None,
    password: PasswordOption = None,
    new_password: Annotated[
        bool, typer.Option("--new-password", help="Take the password from LISTBRIDGE_PASSWORD or its file.")
    ] = False,
    key: KeyOption = None,
    fingerprint: FingerprintOption = None,
    no_fingerprint: Annotated[
        bool, typer.Option("--no-fingerprint", help="Pin nothing: have the certificate checked as usual.")
    ] = False,
) -> None:
    """Change a server; what is not given stays."""
    with application() as opened, refusals_told():
        given: dict[str, str | int | None] = {
            "host": host,
            "port": port,
            "user_name": user,
            "password": require_password(password) if new_password else password,
            "private_key": _read_key(key),
            "fingerprint": fingerprint,
        }
        changes: dict[str, str | int | None] = {field: value for field, value in given.items() if value is not None}
        changes |= {"fingerprint": None} if no_fingerprint else {}
        write(opened, lambda at: change_remote_server(at, find_account(at, account).id, name, **changes))
    print(f"Server {name} changed.")


@app.command()
def remove(name: NameArgument, account: AccountOption) -> None:
    """Remove a server that no transfer uses."""
    with application() as opened, refusals_told():
        write(opened, lambda at: remove_remote_server(at, find_account(at, account).id, name))
    print(f"Server {name} removed.")


@app.command()
def probe(
    name: NameArgument,
    account: AccountOption,
    folder: Annotated[str, typer.Option(help="Which folder to list; by default the one after login.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Connect to a server: print the fingerprint that it shows, log in and list a folder."""
    with application() as opened, refusals_told():
        found = _find(opened, account, name)
        dialer = open_dialer(opened)
        shown = dialer.see_fingerprint(found.access)
        if not as_json:
            print(f"fingerprint  {shown or '-'}")
        if found.access.protocol == "sftp" and found.access.fingerprint is None:
            raise CommandError(
                f"The host key is not pinned. If its owner confirms it: listbridge remote set {name} "
                f"--account {account} --fingerprint {shown}"
            )
        with dialer.open(found.access) as session:
            listing = _list(session, folder)
    if as_json:
        files = [{"name": file.name, "size": file.size, "modified": file.modified} for file in listing.files]
        print_json({"fingerprint": shown, "unusable": listing.unusable, "files": files})
    else:
        _print_listing(listing)


@contextmanager
def refusals_told() -> Iterator[None]:
    """Turn what servers and their settings are refused for into the error of a command."""
    try:
        yield
    except (RemoteServerError, RemoteError) as error:
        raise CommandError(str(error)) from error


def open_dialer(opened: Application) -> Dialer:
    """Return what makes connections, with the rules of this process's settings."""
    return Dialer(parse_networks(opened.settings.transfer_allowed_networks))


def _list(session: RemoteSession, folder: str) -> Listing:
    try:
        return session.list_files(check_folder(folder), lambda _name: True)
    except ValueError as error:
        raise CommandError(str(error)) from error


def _print_listing(listing: Listing) -> None:
    newest = sorted(listing.files, key=lambda file: file.modified, reverse=True)[:_SHOWN_FILES]
    rows: list[Row] = [{"name": file.name, "size": file.size, "modified": file.modified or None} for file in newest]
    print_rows(rows, as_json=False, nothing="The folder has no files.")
    if len(listing.files) > _SHOWN_FILES:
        print(f"These are the newest of {len(listing.files)} files.")
    if listing.unusable:
        print(f"{listing.unusable} names cannot be used: they have separators, control characters or a dot in front.")


def _find(opened: Application, account: int, name: str) -> RemoteServer:
    with opened.database.read() as connection:
        return find_remote_server(connection, find_account(connection, account).id, name)


def _find_password(given: str | None, *, needed: bool) -> str | None:
    """Return the password to log in with; with a key one is taken only where it is given as an option."""
    if not needed and given is None:
        return None
    return require_password(given)


def _read_key(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise CommandError(f"The key {os.fspath(path)} cannot be read.") from None


def _summarise(found: RemoteServer) -> Row:
    access = found.access
    return {
        "name": found.name,
        "protocol": access.protocol,
        "host": access.host,
        "port": access.port,
        "user": access.user_name,
        "password": "set" if access.password else None,
        "key": "set" if access.private_key else None,
        "fingerprint": access.fingerprint,
    }
