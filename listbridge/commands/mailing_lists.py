"""`listbridge list`: the lists of an account, and what is set for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from audience.accounts import find_account
from audience.list_changes import PREFIX, change_defaults, change_list, read_defaults
from audience.list_settings import read_settings
from audience.lists import DEFAULT_PREFIX, MailingList, find_list, lists_of
from jobs.feeds import close_list
from listbridge.commands.options import AccountOption, application, write
from listbridge.customers import open_customer_list
from listbridge.output import JsonOption, print_json, print_rows, print_values

app = typer.Typer(help="Lists of an account.", no_args_is_help=True)

NumberArgument = Annotated[int, typer.Argument(help="Number of the list.")]
_SETTINGS_HELP = "KEY=VALUE, any number of them, such as language=it."
_PAIRS_HINT = "SETTINGS"


@app.command()
def add(account: AccountOption, name: Annotated[str, typer.Option(help="Name of the list.")]) -> None:
    """Add a list with its import folder import/<number>; prints its number and GUID."""
    with application() as opened:
        storage = opened.storage
        mailing = write(
            opened,
            lambda connection: open_customer_list(connection, storage, find_account(connection, account), name),
        )
    print(f"{mailing.number} {mailing.guid}")


@app.command("list")
def list_all(account: AccountOption, as_json: JsonOption = False) -> None:
    """List the lists of an account by number."""
    with application() as opened, opened.database.read() as connection:
        lists = lists_of(connection, find_account(connection, account).id)
    print_rows([_describe(mailing) for mailing in lists], as_json=as_json, nothing="There are no lists.")


@app.command()
def show(number: NumberArgument, account: AccountOption, as_json: JsonOption = False) -> None:
    """Show one list with all its settings, as `list set` takes them."""
    with application() as opened, opened.database.read() as connection:
        mailing = _find(connection, account, number)
    settings = _all_settings(mailing.settings, mailing.default_prefix)
    if as_json:
        print_json({**_describe(mailing), "settings": settings})
    else:
        print_values(_describe(mailing))
        _print_settings(settings)


@app.command("set")
def set_settings(
    number: NumberArgument,
    settings: Annotated[list[str], typer.Argument(metavar=_PAIRS_HINT, help=_SETTINGS_HELP)],
    account: AccountOption,
) -> None:
    """Change settings of a list: all that are given or, if one is not valid, none."""
    changes = _read_pairs(settings)
    with application() as opened:
        write(opened, lambda connection: change_list(connection, _find(connection, account, number), changes))
    print(f"List {number} of account {account} is changed.")


@app.command()
def delete(number: NumberArgument, account: AccountOption) -> None:
    """Delete a list for good; its recipients stay in the account."""
    with application() as opened:
        write(opened, lambda connection: close_list(connection, _find(connection, account, number)))
    print(f"List {number} of account {account} is deleted.")


@app.command()
def defaults(
    account: AccountOption,
    settings: Annotated[
        list[str] | None, typer.Argument(metavar=_PAIRS_HINT, help=_SETTINGS_HELP, show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Change what new lists of an account begin with, then show it; lists that are there stay as they are."""
    changes = _read_pairs(settings or [])

    def work(connection: Connection) -> dict[str, Any]:
        account_id = find_account(connection, account).id
        change_defaults(connection, account_id, changes)
        return read_defaults(connection, account_id)

    with application() as opened:
        stored = write(opened, work)
    shown = _all_settings(stored, stored.get(PREFIX, DEFAULT_PREFIX))
    if as_json:
        print_json(shown)
    else:
        _print_settings(shown)


def _find(connection: Connection, account: int, number: int) -> MailingList:
    return find_list(connection, find_account(connection, account).id, number)


def _describe(mailing: MailingList) -> dict[str, Any]:
    return {
        "number": mailing.number,
        "guid": mailing.guid,
        "name": mailing.name,
        "external_id": mailing.external_id,
    }


def _read_pairs(pairs: list[str]) -> dict[str, str]:
    split = [pair.partition("=") for pair in pairs]
    if not all(key and sign for key, sign, _ in split):
        raise typer.BadParameter("expected KEY=VALUE", param_hint=_PAIRS_HINT)
    return {key.strip(): value for key, _, value in split}


def _all_settings(stored: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {PREFIX: prefix, **asdict(read_settings(stored))}


def _print_settings(settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        print(f"{key}={_write(value)}")


def _write(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
