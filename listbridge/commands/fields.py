"""`listbridge field`: the personal data fields of an account."""

from __future__ import annotations

from typing import Annotated

import typer

from audience.accounts import find_account
from audience.lists import default_values_of, fields_of, set_field
from listbridge.commands.options import AccountOption, application
from listbridge.output import JsonOption, print_rows

app = typer.Typer(help="Personal data fields of an account.", no_args_is_help=True)


@app.command("set")
def set_name(
    account: AccountOption,
    number: Annotated[int, typer.Argument(metavar="ID", help="Number of the field.")],
    name: Annotated[str, typer.Argument(help="Its name.")],
    default: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What messages say where a recipient has no value.", show_default=False),
    ] = None,
) -> None:
    """Name a field, a new one or one that has a name already."""
    with application() as opened, opened.database.write() as connection:
        set_field(connection, find_account(connection, account).id, number, name, default_value=default)
    print(f"Field {number} of account {account} is {name}.")


@app.command("list")
def list_all(account: AccountOption, as_json: JsonOption = False) -> None:
    """List the fields of an account by number, with what messages say where a recipient has no value."""
    with application() as opened, opened.database.read() as connection:
        owner = find_account(connection, account)
        defaults = default_values_of(connection, owner.id)
        rows = [
            {"number": number, "name": name, "default": defaults.get(number)}
            for number, name in fields_of(connection, owner.id).items()
        ]
    print_rows(rows, as_json=as_json, nothing="There are no fields.")
