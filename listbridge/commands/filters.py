"""`listbridge filter`: conditions on people that sendings can be limited by."""

from __future__ import annotations

from typing import Annotated

import typer
from sqlalchemy import Connection

from audience.accounts import find_account
from audience.lists import find_list
from delivery.filters import FilterMatch, StoredFilter, add_filter, filters_of, find_filter, remove_filter
from listbridge.commands.options import application, write
from listbridge.output import JsonOption, Row, print_json, print_rows, print_values

app = typer.Typer(help="Conditions on people that sendings can be limited by.", no_args_is_help=True)

AccountArgument = Annotated[int, typer.Argument(metavar="ACCOUNT", help="Number of the account.")]
NumberArgument = Annotated[int, typer.Argument(metavar="NUMBER", help="Of the filter, as `filter list` shows it.")]


@app.command()
def add(
    account: AccountArgument,
    name: Annotated[str, typer.Option(help="For people.")],
    where: Annotated[
        list[str], typer.Option(metavar="KEY OPERATOR VALUE", help="A condition, such as `field:3 = Rome`; repeatable.")
    ],
    match: Annotated[FilterMatch, typer.Option(help="Whether all conditions must hold, or any.")] = "all",
    mailing_list: Annotated[
        int | None, typer.Option("--list", help="Only for sendings to this list.", show_default=False)
    ] = None,
) -> None:
    """Add a filter and print its number."""

    def work(connection: Connection) -> int:
        owner = find_account(connection, account)
        mailing = find_list(connection, owner.id, mailing_list) if mailing_list is not None else None
        return add_filter(connection, owner, name, where, match=match, mailing=mailing)

    with application() as opened:
        number = write(opened, work)
    print(number)


@app.command("list")
def list_all(account: AccountArgument, as_json: JsonOption = False) -> None:
    """List the filters of an account."""
    with application() as opened, opened.database.read() as connection:
        found = filters_of(connection, find_account(connection, account).id)
    rows = [_describe(each) | ({"conditions": list(each.conditions)} if as_json else {}) for each in found]
    print_rows(rows, as_json=as_json, nothing="There are no filters.")


@app.command()
def show(account: AccountArgument, number: NumberArgument, as_json: JsonOption = False) -> None:
    """Show a filter with its conditions."""
    with application() as opened, opened.database.read() as connection:
        found = find_filter(connection, find_account(connection, account).id, number)
    if as_json:
        print_json(_describe(found) | {"conditions": list(found.conditions)})
    else:
        joint = " and " if found.match == "all" else " or "
        print_values(_describe(found) | {"conditions": joint.join(found.conditions)})


@app.command()
def remove(account: AccountArgument, number: NumberArgument) -> None:
    """Remove a filter; a sending that has it and has not begun fails when its time comes."""
    with application() as opened:
        write(opened, lambda at: remove_filter(at, find_account(at, account).id, number))
    print(f"Filter {number} removed.")


def _describe(found: StoredFilter) -> Row:
    return {
        "number": found.number,
        "name": found.name,
        "list": found.list_number,
        "match": found.match,
        "created_at": found.created_at,
    }
