"""`listbridge field`: the personal data fields of an account."""

from __future__ import annotations

from typing import Annotated

import typer

from audience.accounts import find_account
from audience.lists import set_field
from listbridge.commands.options import AccountOption, application

app = typer.Typer(help="Personal data fields of an account.", no_args_is_help=True)


@app.command("set")
def set_name(
    account: AccountOption,
    number: Annotated[int, typer.Argument(metavar="ID", help="Number of the field.")],
    name: Annotated[str, typer.Argument(help="Its name.")],
) -> None:
    """Name a field, a new one or one that has a name already."""
    with application() as opened, opened.database.write() as connection:
        set_field(connection, find_account(connection, account).id, number, name)
    print(f"Field {number} of account {account} is {name}.")
