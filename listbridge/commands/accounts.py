"""`listbridge account`: the customers of the server."""

from __future__ import annotations

from typing import Annotated

import typer

from audience.accounts import API_USER_PREFIXES, DEFAULT_TIME_ZONE
from listbridge.commands.options import PasswordOption, application, require_password
from listbridge.customers import open_account

app = typer.Typer(help="Accounts: the customers of the server.", no_args_is_help=True)


@app.command()
def add(
    number: Annotated[int, typer.Argument(help="Number of the account, a positive one.")],
    password: PasswordOption = None,
    name: Annotated[str, typer.Option(help="Name of the account.", show_default=False)] = "",
    time_zone: Annotated[str, typer.Option(help="Time zone of its schedules and dates.")] = DEFAULT_TIME_ZONE,
) -> None:
    """Add an account with its API users m<NUMBER> and a<NUMBER>, which share the password."""
    secret = require_password(password)
    with application() as opened, opened.database.write() as connection:
        open_account(connection, opened.storage, number, password=secret, name=name, time_zone=time_zone)
    users = " and ".join(f"{prefix}{number}" for prefix in API_USER_PREFIXES)
    print(f"Account {number} added with the users {users}.")
