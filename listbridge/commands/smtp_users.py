"""`listbridge smtp-user`: users in whose name transactional parcels are sent."""

from __future__ import annotations

from typing import Annotated

import typer
from sqlalchemy import Connection

from audience.accounts import find_account
from audience.smtp_users import add_smtp_user, list_smtp_users, remove_smtp_user, set_smtp_password
from listbridge.commands.options import AccountOption, PasswordOption, application, require_password, write
from listbridge.output import JsonOption, print_rows

app = typer.Typer(help="Users whom files that send name with a password.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the user.")]


@app.command()
def add(name: Name, account: AccountOption, password: PasswordOption = None) -> None:
    """Add an SMTP user to an account."""
    secret = require_password(password)

    def work(connection: Connection) -> None:
        add_smtp_user(connection, find_account(connection, account).id, name, secret)

    with application() as opened:
        write(opened, work)
    print(f"SMTP user {name} of account {account} added.")


@app.command("list")
def list_users(
    account: Annotated[int | None, typer.Option(help="Only of this account.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """List the SMTP users by name."""
    with application() as opened, opened.database.read() as connection:
        account_id = find_account(connection, account).id if account is not None else None
        users = list_smtp_users(connection, account_id)
    rows = [{"name": user.name, "account": user.account_number, "created_at": user.created_at} for user in users]
    print_rows(rows, as_json=as_json, nothing="There are no SMTP users.")


@app.command()
def remove(name: Name) -> None:
    """Remove an SMTP user."""
    with application() as opened:
        write(opened, lambda connection: remove_smtp_user(connection, name))
    print(f"SMTP user {name} removed.")


@app.command("set-password")
def set_password(name: Name, password: PasswordOption = None) -> None:
    """Give an SMTP user a new password."""
    secret = require_password(password)
    with application() as opened:
        write(opened, lambda connection: set_smtp_password(connection, name, secret))
    print(f"New password for SMTP user {name}.")
