"""`listbridge group`: the groups of a list."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from sqlalchemy import Connection

from audience.accounts import find_account
from audience.lists import Group, add_group, find_list, groups_of
from listbridge.commands.options import AccountOption, application, write
from listbridge.output import JsonOption, print_rows

app = typer.Typer(help="Groups of a list.", no_args_is_help=True)

ListOption = Annotated[int, typer.Option("--list", help="Number of the list.")]


@app.command()
def add(
    account: AccountOption,
    number: ListOption,
    name: Annotated[str, typer.Option(help="Name of the group.")],
    notes: Annotated[str, typer.Option(help="For people.", show_default=False)] = "",
) -> None:
    """Add a group, or find the one of this name, and print its number."""

    def work(connection: Connection) -> Group:
        mailing = find_list(connection, find_account(connection, account).id, number)
        return add_group(connection, mailing, name, notes)

    with application() as opened:
        group = write(opened, work)
    print(group.number)


@app.command("list")
def list_all(account: AccountOption, number: ListOption, as_json: JsonOption = False) -> None:
    """List the groups of a list by number."""
    with application() as opened, opened.database.read() as connection:
        mailing = find_list(connection, find_account(connection, account).id, number)
        groups = groups_of(connection, [mailing.id])
    shown = ("number", "name", "notes")
    rows = [{name: value for name, value in asdict(group).items() if name in shown} for group in groups]
    print_rows(rows, as_json=as_json, nothing="There are no groups.")
