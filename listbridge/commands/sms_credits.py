"""`listbridge credits`: what an account and its lists may spend on text messages."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer
from sqlalchemy import Connection

from audience.accounts import find_account
from audience.lists import MailingList, find_list
from delivery.sms_credits import account_credit, add_credits, list_credits, set_credits
from listbridge.commands.options import application, write
from listbridge.errors import CommandError
from listbridge.output import JsonOption, Row, print_rows

app = typer.Typer(help="Credits for text messages.", no_args_is_help=True)

AccountArgument = Annotated[int, typer.Argument(metavar="ACCOUNT", help="Number of the account.")]
AmountArgument = Annotated[str, typer.Argument(metavar="AMOUNT", help="Credits, with up to three decimals.")]
ListOption = Annotated[
    int | None, typer.Option("--list", help="Number of the list that they are of.", show_default=False)
]


@app.command()
def show(account: AccountArgument, number: ListOption = None, as_json: JsonOption = False) -> None:
    """Show what an account has, and what each of its lists can pay with."""
    with application() as opened, opened.database.read() as connection:
        account_id = find_account(connection, account).id
        rows: list[Row] = [{"list": None, "name": None, "credits": account_credit(connection, account_id), "own": True}]
        rows += [
            {"list": found.number, "name": found.name, "credits": found.credit, "own": found.is_own}
            for found in list_credits(connection, account_id)
        ]
        if number is not None:
            find_list(connection, account_id, number)
            rows = [row for row in rows if row["list"] == number]
    shown = [row | {"credits": float(row["credits"])} for row in rows]
    print_rows(shown, as_json=as_json, nothing="There are no credits.")


@app.command()
def add(account: AccountArgument, amount: AmountArgument, number: ListOption = None) -> None:
    """Add credits to an account, or to a list; a negative amount, after `--`, takes some away."""
    wanted = _read(amount)
    _change(account, number, lambda connection, account_id, of: add_credits(connection, account_id, wanted, of))


@app.command("set")
def replace(account: AccountArgument, amount: AmountArgument, number: ListOption = None) -> None:
    """Set the credits of an account, or of a list; `none` has a list pay with the account's again."""
    wanted = None if amount == "none" and number is not None else _read(amount)
    _change(account, number, lambda connection, account_id, of: set_credits(connection, account_id, wanted, of))


def _read(amount: str) -> Decimal:
    try:
        return Decimal(amount)
    except InvalidOperation:
        raise CommandError("The amount is not a number.") from None


def _change(account: int, number: int | None, change: Callable[[Connection, int, MailingList | None], None]) -> None:
    def work(connection: Connection) -> None:
        account_id = find_account(connection, account).id
        change(connection, account_id, find_list(connection, account_id, number) if number is not None else None)

    with application() as opened:
        try:
            write(opened, work)
        except ValueError as error:
            raise CommandError(str(error)) from None
