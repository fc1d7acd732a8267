"""`listbridge list`: the lists of an account."""

from __future__ import annotations

from typing import Annotated

import typer

from audience.accounts import find_account
from listbridge.commands.options import AccountOption, application
from listbridge.customers import open_customer_list

app = typer.Typer(help="Lists of an account.", no_args_is_help=True)


@app.command()
def add(account: AccountOption, name: Annotated[str, typer.Option(help="Name of the list.")]) -> None:
    """Add a list with its import folder import/<number>; prints its number and GUID."""
    with application() as opened, opened.database.write() as connection:
        owner = find_account(connection, account)
        mailing = open_customer_list(connection, opened.storage, owner, name)
    print(f"{mailing.number} {mailing.guid}")
