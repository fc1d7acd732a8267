"""`listbridge message send`: a message goes out to people of its list."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import Connection

from audience.accounts import find_account
from audience.addresses import normalise_email
from audience.lists import load_list
from audience.status_rules import Channel
from delivery.messages import find_message
from delivery.sending_requests import SendingRules, request_sending
from delivery.sendings import NewSending, Sender, Sending, SendingMode, Target, find_sending
from listbridge.app import Application
from listbridge.commands.options import AccountOption, application, split_numbers, write
from listbridge.errors import CommandError

_POLL_SECONDS = 0.2


def send(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="Of the message, in the account.")],
    account: AccountOption,
    everybody: Annotated[bool, typer.Option("--all", help="To all subscribers of its list.")] = False,
    groups: Annotated[str | None, typer.Option(metavar="N,…", help="To members of these groups.")] = None,
    addresses: Annotated[str | None, typer.Option(metavar="EMAIL,…", help="To these, if they are subscribed.")] = None,
    exclude_groups: Annotated[str | None, typer.Option(metavar="N,…", help="Not to members of these groups.")] = None,
    filters: Annotated[
        str | None, typer.Option(metavar="N,…", help="Only to whom all of these filters let by.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When, like 2026-12-01T09:30, in the account's time zone; else now."),
    ] = None,
    sender: Annotated[
        str, typer.Option(metavar="EMAIL", help="Sender, instead of the list's.", show_default=False)
    ] = "",
    sender_name: Annotated[str, typer.Option(help="Name of the sender.", show_default=False)] = "",
    reply_to: Annotated[str, typer.Option(metavar="EMAIL", help="Where answers go.", show_default=False)] = "",
    mode: Annotated[
        SendingMode | None, typer.Option(help="What becomes of mails that are on their way when a process dies.")
    ] = None,
    clear_statistics: Annotated[
        bool, typer.Option("--clear-statistics", help="Let reports leave out earlier sendings of the message.")
    ] = False,
    notes: Annotated[str, typer.Option(help="For people.", show_default=False)] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end; a running server does the work.")] = False,
) -> None:
    """Send a message to all, to groups or to some addresses of its list, and print the number of the sending."""
    target = _read_target(everybody, groups, addresses, exclude_groups, filters)

    def work(connection: Connection) -> NewSending:
        owner = find_account(connection, account)
        message = find_message(connection, owner.id, Channel.EMAIL, number)
        return request_sending(
            connection,
            load_list(connection, message.list_id),
            message,
            target=target,
            sender=Sender(email=sender, name=sender_name, reply_to=reply_to),
            start_at=_read_time(at, owner.zone),
            mode=mode,
            clear_statistics=clear_statistics,
            notes=notes,
            rules=rules,
        )

    with application() as opened:
        rules = SendingRules(require_verified_senders=opened.settings.require_verified_senders)
        new = write(opened, work)
        print(new.number, flush=True)
        if wait:
            _report(_await_end(opened, account, new))


def _read_target(
    everybody: bool, groups: str | None, addresses: str | None, exclude_groups: str | None, filters: str | None
) -> Target:
    """Return who is to get it.

    Raises:
        CommandError: not exactly one of the three ways to say so is used.
    """
    if everybody + (groups is not None) + (addresses is not None) != 1:
        raise CommandError("Choose one of --all, --groups and --addresses.")
    target = Target()
    if groups is not None:
        target = Target(to="groups", groups=split_numbers(groups, "--groups"))
    if addresses is not None:
        wanted = (normalise_email(address) for address in addresses.split(",") if address.strip())
        target = Target(to="addresses", addresses=tuple(wanted))
    return replace(
        target,
        exclude_groups=split_numbers(exclude_groups, "--exclude-groups"),
        filters=split_numbers(filters, "--filters"),
    )


def _read_time(text: str | None, zone: ZoneInfo) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError("--at is a date and a time like 2026-12-01T09:30.") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=zone)


def _await_end(opened: Application, account: int, new: NewSending) -> Sending:
    while True:
        with opened.database.read() as connection:
            found = find_sending(connection, find_account(connection, account).id, new.number)
        if not found.is_open:
            return found
        time.sleep(_POLL_SECONDS)


def _report(found: Sending) -> None:
    print(f"{found.state}: {found.sent} sent, {found.failed} failed, {found.skipped} skipped, {found.unknown} unknown.")
    if found.state != "completed":
        raise CommandError(found.error_text or f"The sending is {found.state}.")
