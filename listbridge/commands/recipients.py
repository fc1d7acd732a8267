"""`listbridge recipient`: what is known of one person, and what has to go when he asks for it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import Connection

from audience.accounts import find_account
from audience.erasure import erase_recipient, is_suppressed, readmit_address
from audience.errors import UnknownRecipient
from audience.history import Cause
from audience.recipients import Event, RecipientFacts, SubscriptionFacts, find_recipients, read_address
from audience.subscriptions import Address
from db.retry import retry_on_conflict
from listbridge.app import Application
from listbridge.commands.operator import YesOption, confirm, name_operator
from listbridge.commands.options import AccountOption, application
from listbridge.errors import CommandError
from listbridge.output import JsonOption, Row, print_json, print_rows, print_values

AddressArgument = Annotated[
    str, typer.Argument(metavar="ADDRESS", help="E-mail address, or mobile number with its international prefix.")
]

app = typer.Typer(help="One recipient: his history, and his right to be forgotten.", no_args_is_help=True)


@app.command()
def show(
    address: AddressArgument,
    account: Annotated[
        int | None, typer.Option("--account", help="Number of the account, if several know him.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a recipient: his data, his subscriptions, and who changed what, when and why."""
    with application() as opened, opened.database.read() as connection:
        facts = _find_one(connection, read_address(address), account)
    if as_json:
        print_json(asdict(facts))
    else:
        _print_facts(facts)


@app.command()
def erase(address: AddressArgument, account: AccountOption, yes: YesOption = False) -> None:
    """Forget a recipient: take his addresses and data away, and never add him again. It cannot be undone."""
    wanted = read_address(address)
    with application() as opened:
        with opened.database.read() as connection:
            facts = _find_one(connection, wanted, account)
        confirm(f"Forget this recipient of account {account}, known in {_count_lists(facts)}?", yes=yes)
        _erase(opened, wanted, account)


@app.command()
def readmit(address: AddressArgument, account: AccountOption) -> None:
    """Let an address that was forgotten be added again, because its owner asked for it."""
    wanted = read_address(address)
    with application() as opened:

        def remove() -> bool:
            with opened.database.write() as connection:
                return readmit_address(connection, find_account(connection, account).id, wanted)

        removed = retry_on_conflict(remove)
    if not removed:
        raise CommandError(f"Nothing keeps the address out of account {account}.")
    print(f"The address may be added to account {account} again.")


def _find_one(connection: Connection, address: Address, number: int | None) -> RecipientFacts:
    owner = find_account(connection, number) if number is not None else None
    found = find_recipients(connection, address, owner.id if owner is not None else None)
    if len(found) > 1:
        accounts = ", ".join(str(facts.account) for facts in found)
        raise CommandError(f"Accounts {accounts} know the address: name one of them with --account.")
    if found:
        return found[0]
    if owner is not None and is_suppressed(connection, owner.id, address.channel, address.value):
        raise UnknownRecipient(f"The owner of the address was forgotten in account {number}.")
    raise UnknownRecipient("Nobody has the address.")


def _count_lists(facts: RecipientFacts) -> str:
    count = len({item.list for item in facts.subscriptions})
    return "1 list" if count == 1 else f"{count} lists"


def _erase(opened: Application, address: Address, number: int) -> None:
    def work() -> Any:
        with opened.database.write() as connection:
            account_id = find_account(connection, number).id
            return erase_recipient(connection, account_id, address, Cause("command-line", actor=name_operator()))

    erasure = retry_on_conflict(work)
    print_values(
        {
            "recipient": f"{erasure.recipient_id}, forgotten",
            "subscriptions ended": erasure.ended,
            "refused rows emptied": erasure.refused_rows,
        }
    )


def _print_facts(facts: RecipientFacts) -> None:
    zone = ZoneInfo(facts.time_zone)
    values = {
        "recipient": f"{facts.id} of account {facts.account}",
        "e-mail": facts.email,
        "mobile": facts.mobile,
        "external key": facts.external_key,
        "known since": _instant(facts.created_at, zone),
        "changed": _instant(facts.updated_at, zone),
        **facts.fields,
    }
    print_values({str(_printable(name)): _printable(value) for name, value in values.items()})
    print()
    subscriptions = [_subscription_row(item, zone) for item in facts.subscriptions]
    print_rows(subscriptions, as_json=False, nothing="In no list.")
    print(f"\nHistory (times of {facts.time_zone})")
    print_rows([_event_row(event, zone) for event in facts.history], as_json=False, nothing="Nothing has changed.")
    sys.stdout.flush()


def _subscription_row(item: SubscriptionFacts, zone: ZoneInfo) -> Row:
    return {
        "list": _printable(f"{item.list} {item.list_name}"),
        "channel": item.channel,
        "status": item.status,
        "since": _instant(item.since, zone),
        "reason": _reason(item.reason, item.reason_text),
        "source": item.source,
        "groups": _printable(", ".join(item.groups)) or None,
    }


def _event_row(event: Event, zone: ZoneInfo) -> Row:
    return {
        "when": _instant(event.at, zone),
        "list": event.list,
        "what": _printable("; ".join(_describe(event))),
        "who": _printable(event.actor),
        "source": event.source,
        "reason": _reason(event.reason, event.reason_text),
        "import": event.import_number,
    }


def _describe(event: Event) -> Iterable[str]:
    change = event.change
    if event.kind == "status":
        yield f"{change['channel']}: {change['before'] or 'none'} -> {change['after'] or 'none'}"
    elif event.kind == "profile":
        for name, (before, after) in change.items():
            yield f"{name}: {_quote(before)} -> {_quote(after)}"
    elif event.kind == "groups":
        for what, names in change.items():
            if names:
                yield f"groups {what}: {', '.join(names)}"
    else:
        yield "forgotten"


def _quote(value: str | None) -> str:
    return "-" if value is None else f'"{value}"'


def _reason(code: str | None, words: str | None) -> str | None:
    return None if code is None else f"{code} ({words})"


def _instant(instant: datetime, zone: ZoneInfo) -> str:
    return instant.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def _printable(text: str | None) -> str | None:
    """Return a text without what could steer a terminal: people's data may hold anything."""
    return (
        None
        if text is None
        else "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    )
