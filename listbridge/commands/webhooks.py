"""`listbridge webhook`: who is told of changes to a list."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import typer
from sqlalchemy import Connection

from audience.accounts import Account, find_account
from audience.lists import find_list
from audience.webhooks import (
    Event,
    Format,
    Method,
    Webhook,
    WebhookSettings,
    add_webhook,
    change_webhook,
    find_webhook,
    remove_webhook,
    webhooks_of,
)
from db.retry import retry_on_conflict
from delivery.outgoing_http import OutgoingClient
from jobs.notifications import recent_deliveries, send_sample
from listbridge.app import Application
from listbridge.commands.options import AccountOption, application
from listbridge.errors import CommandError
from listbridge.output import JsonOption, Row, print_json, print_rows, print_values
from listbridge.settings import parse_networks, read_secret
from services.mailup.notification_parameters import WORDING, parse_parameter_name

Outcome = TypeVar("Outcome")

app = typer.Typer(help="Webhooks: programs that are told of changes to a list.", no_args_is_help=True)

NumberArgument = Annotated[int, typer.Argument(metavar="NUMBER", help="Of the webhook, as `webhook list` shows it.")]
SecretOption = Annotated[
    str | None,
    typer.Option(
        help="Key of rc4 or json; without it LISTBRIDGE_SECRET or the file named by LISTBRIDGE_SECRET_FILE is taken.",
        show_default=False,
    ),
]
ParametersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter", metavar="NAME=WHAT", help="A parameter and what it stands for, such as mail=[Email]; repeatable."
    ),
]
SourcesOption = Annotated[
    list[str] | None,
    typer.Option("--source", help="api, console or recipient; repeatable, by default all.", show_default=False),
]


@app.command()
def add(
    account: AccountOption,
    mailing_list: Annotated[int, typer.Option("--list", help="Number of the list.")],
    name: Annotated[str, typer.Option(help="For people.")],
    url: Annotated[str, typer.Option(help="Whom to tell, http:// or https://.")],
    event: Annotated[Event, typer.Option(help="What to tell of.")],
    source: SourcesOption = None,
    method: Annotated[Method, typer.Option(help="How to call.")] = "POST",
    format: Annotated[Format, typer.Option(help="Form of what is told.")] = "form",
    secret: SecretOption = None,
    parameter: ParametersOption = None,
    inactive: Annotated[bool, typer.Option("--inactive", help="Switched off at first.")] = False,
) -> None:
    """Add a webhook to a list; prints its number."""
    given: dict[str, Any] = {"sources": tuple(source)} if source else {}
    settings = WebhookSettings(
        name=name,
        url=url,
        event=event,
        method=method,
        format=format,
        secret=_find_secret(secret) if format != "form" else None,
        parameters=_parse_parameters(parameter or []),
        active=not inactive,
        **given,
    )
    added = _write(account, lambda at, owner: add_webhook(at, find_list(at, owner.id, mailing_list), settings))
    print(added.number)


@app.command("list")
def list_all(account: AccountOption, as_json: JsonOption = False) -> None:
    """List the webhooks of an account."""
    with application() as opened, opened.database.read() as connection:
        rows = [_summarise(found) for found in webhooks_of(connection, find_account(connection, account).id)]
    print_rows(rows, as_json=as_json, nothing="There are no webhooks.")


@app.command()
def show(number: NumberArgument, account: AccountOption, as_json: JsonOption = False) -> None:
    """Show a webhook; its secret is never shown."""
    with application() as opened, opened.database.read() as connection:
        found = find_webhook(connection, find_account(connection, account).id, number)
    values = _summarise(found) | {"secret": "set" if found.settings.secret else None}
    if as_json:
        print_json(values | {"parameters": dict(found.settings.parameters)})
    else:
        parameters = ", ".join(f"{name}={kind}" for name, kind in found.settings.parameters)
        print_values(values | {"parameters": parameters or None})


@app.command("set")
def change(
    number: NumberArgument,
    account: AccountOption,
    name: Annotated[str | None, typer.Option(help="For people.")] = None,
    url: Annotated[str | None, typer.Option(help="Whom to tell, http:// or https://.")] = None,
    event: Annotated[Event | None, typer.Option(help="What to tell of.")] = None,
    source: SourcesOption = None,
    method: Annotated[Method | None, typer.Option(help="How to call.")] = None,
    format: Annotated[Format | None, typer.Option(help="Form of what is told.")] = None,
    secret: SecretOption = None,
    parameter: ParametersOption = None,
    no_parameters: Annotated[bool, typer.Option("--no-parameters", help="Tell nothing but that it happened.")] = False,
) -> None:
    """Change a webhook; what is not given stays. Parameters are given all together.

    The environment's secret is taken only together with --format.
    """
    given = {
        "name": name,
        "url": url,
        "event": event,
        "sources": tuple(source) if source else None,
        "method": method,
        "format": format,
        "secret": _find_secret(secret) if format in ("rc4", "json") else secret,
        "parameters": () if no_parameters else _parse_parameters(parameter) if parameter else None,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    _write(account, lambda at, owner: change_webhook(at, owner.id, number, **changes))
    print(f"Webhook {number} changed.")


@app.command()
def switch(
    number: NumberArgument,
    state: Annotated[Literal["on", "off"], typer.Argument(metavar="STATE", help="on or off.")],
    account: AccountOption,
) -> None:
    """Switch a webhook on or off; what waits for one that is switched off is not told any more."""
    _write(account, lambda at, owner: change_webhook(at, owner.id, number, active=state == "on"))
    print(f"Webhook {number} is {state}.")


@app.command()
def remove(number: NumberArgument, account: AccountOption) -> None:
    """Remove a webhook, with what waits for it and the record of its answers."""
    _write(account, lambda at, owner: remove_webhook(at, owner.id, number))
    print(f"Webhook {number} removed.")


@app.command()
def test(number: NumberArgument, account: AccountOption) -> None:
    """Tell a webhook now of an invented recipient, and print the answer."""
    with application() as opened:
        client = OutgoingClient(parse_networks(opened.settings.webhook_allowed_networks))
        outcome = send_sample(opened.database, client, WORDING, _account_id(opened, account), number)
    if outcome.status is None:
        raise CommandError(outcome.text)
    print(f"{outcome.status} {outcome.text}".rstrip())
    if not outcome.delivered:
        raise CommandError("The answer is not one of success (200 to 299).")


@app.command("log")
def show_log(
    account: AccountOption,
    webhook: Annotated[int | None, typer.Option("--webhook", help="Only this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most notifications to list.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the last notifications, the newest first, and what was answered to them."""
    with application() as opened, opened.database.read() as connection:
        account_id = find_account(connection, account).id
        rows = recent_deliveries(connection, account_id, number=webhook, limit=limit)
    print_rows(rows, as_json=as_json, nothing="There are no notifications.")


def _write(account: int, change: Callable[[Connection, Account], Outcome]) -> Outcome:
    with application() as opened:

        def write() -> Outcome:
            with opened.database.write() as connection:
                return change(connection, find_account(connection, account))

        return retry_on_conflict(write)


def _account_id(opened: Application, account: int) -> int:
    with opened.database.read() as connection:
        return find_account(connection, account).id


def _find_secret(given: str | None) -> str | None:
    path = os.environ.get("LISTBRIDGE_SECRET_FILE")
    if given is None and path is not None:
        return read_secret(path, "LISTBRIDGE_SECRET_FILE")
    return given if given is not None else os.environ.get("LISTBRIDGE_SECRET")


def _parse_parameters(texts: list[str]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for text in texts:
        name, equals, kind = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"expected NAME=WHAT, not {text!r}", param_hint="--parameter")
        pairs.append((name.strip(), parse_parameter_name(kind)))
    return tuple(pairs)


def _summarise(found: Webhook) -> Row:
    settings = found.settings
    return {
        "number": found.number,
        "list": found.list_number,
        "name": settings.name,
        "event": settings.event,
        "sources": ",".join(settings.sources),
        "method": settings.method,
        "format": settings.format,
        "active": settings.active,
        "url": settings.url,
    }
