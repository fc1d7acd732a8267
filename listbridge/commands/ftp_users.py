"""`listbridge ftp-user`: virtual FTP users."""

from __future__ import annotations

from typing import Annotated

import typer

from audience.accounts import add_ftp_user, find_account
from listbridge.commands.options import AccountOption, PasswordOption, application, require_password

app = typer.Typer(help="Virtual FTP users; each sees the home of its account and nothing else.", no_args_is_help=True)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Name to log in with.")],
    account: AccountOption,
    password: PasswordOption = None,
) -> None:
    """Add an FTP user to an account."""
    secret = require_password(password)
    with application() as opened, opened.database.write() as connection:
        add_ftp_user(connection, find_account(connection, account).id, name, password=secret)
    print(f"FTP user {name} of account {account} added.")
