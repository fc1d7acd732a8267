"""Sending newsletters, and how far sendings have come (specification §1.3, no. 18 to 23; §1.3.2 to §1.3.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from audience.accounts import Account
from audience.addresses import normalise_email
from audience.history import Cause
from audience.lists import MailingList
from audience.status_rules import Channel
from delivery.errors import UnknownFilter
from delivery.messages import Message, find_message
from delivery.sending_requests import request_sending, request_single
from delivery.sending_stops import start_channel, stop_channel
from delivery.sendings import NewSending, Sending, find_sending
from delivery.targets import count_target
from services.mailup.keyed_operations import OPTIONS, change, find_own_list, key_holder, keyed_operation
from services.mailup.keyed_results import (
    CODE_NAMES,
    INVALID_PARAMETER,
    Failure,
    Shape,
    Told,
    text_element,
)
from services.mailup.message_content import EXISTING, read_content_type
from services.mailup.message_operations import describe_message
from services.mailup.newsletters import prepare_newsletter
from services.mailup.results import element
from services.mailup.sending_options import (
    clears_statistics,
    find_names,
    read_options,
    read_own_values,
    read_sender,
    read_start,
    read_target,
    read_values,
)
from services.soap.declarations import INT, STRING, Call, Operation

FindMessage = Callable[[Connection, MailingList], Message]

STATUS_CODES = (CODE_NAMES, ("erroCode", "erroDescription"))
STATUSES = {
    "draft": "UNDEFINED",
    "waiting": "SCHEDULED",
    "scheduled": "SCHEDULED",
    "preparing": "SENDING",
    "sending": "SENDING",
    "paused": "PAUSED",
    "completed": "COMPLETED",
    "failed": "FAILED",
    "cancelled": "CANCELLED",
}
"""Those of drafts, and of what was paused, cancelled or failed, are our choice."""


@keyed_operation("SendNewsletter", accessKey=STRING, listID=INT, newsletterID=INT, options=OPTIONS)
def send_newsletter(call: Call, account: Account, list_number: int, number: int, options: Iterable[Any] | None) -> Told:
    """Send a newsletter to people of its list, now or at a set time."""
    return _send(call, account, list_number, lambda at, mailing: _find_newsletter(at, mailing, number), options)


@keyed_operation(
    "SendNewsletterFast",
    accessKey=STRING,
    listID=INT,
    subject=STRING,
    type=STRING,
    content=STRING,
    options=OPTIONS,
)
def send_newsletter_fast(
    call: Call,
    account: Account,
    list_number: int,
    subject: str | None,
    content_type: str | None,
    content: str | None,
    options: Iterable[Any] | None,
) -> Told:
    """Make a newsletter and send it; without the sending it is not made either."""
    with call.resources.database.read_once() as connection:
        find_own_list(connection, account, list_number)
    prepared = prepare_newsletter(call.resources, subject, content_type, content, options)
    return _send(call, account, list_number, prepared.store, options)


@keyed_operation(
    "SendSingleNewsletter",
    accessKey=STRING,
    listID=INT,
    subject=STRING,
    type=STRING,
    content=STRING,
    recipientEmail=STRING,
    options=OPTIONS,
)
def send_single_newsletter(
    call: Call,
    account: Account,
    list_number: int,
    subject: str | None,
    content_type: str | None,
    content: str | None,
    email: str | None,
    options: Iterable[Any] | None,
) -> Told:
    """Send one message to one address, which is subscribed if it never was in the list."""
    with call.resources.database.read_once() as connection:
        find_own_list(connection, account, list_number)
    find = _choose_message(call, subject, content_type, content, options)
    given = read_options(options)
    sender = read_sender(given)
    cause = Cause("soap", actor=key_holder(call).user_name)

    def send(connection: Connection) -> Told:
        mailing = find_own_list(connection, account, list_number)
        message = find(connection, mailing)
        new = request_single(
            connection,
            mailing,
            message,
            email or "",
            cause=cause,
            sender=sender,
            values=read_own_values(given, find_names(connection, account.id, given)),
            rules=call.resources.sending_rules,
        )
        return Told(f"Message sent {normalise_email(email or '')}", _describe_new(mailing, message, new))

    return change(call, send)


@keyed_operation(
    "GetNewsletterDeliveryStatus",
    Shape("GetNewsletterDeliveryStatusResult", element("deliveryStatus"), STATUS_CODES),
    accessKey=STRING,
    deliveryID=INT,
)
def get_delivery_status(call: Call, account: Account, number: int) -> str:
    """Tell how far a sending has come."""
    return describe_status(call, account, Channel.EMAIL, number, "newsletterID")


@keyed_operation("StartDelivery", accessKey=STRING)
def start_delivery(call: Call, account: Account) -> str:
    """Let the account send e-mails again."""
    change(call, lambda connection: start_channel(connection, account.id, Channel.EMAIL))
    return ""


@keyed_operation("StopDelivery", accessKey=STRING)
def stop_delivery(call: Call, account: Account) -> str:
    """Let the account send no more e-mails until it is started again."""
    change(call, lambda connection: stop_channel(connection, account.id, Channel.EMAIL))
    return ""


SENDINGS: tuple[Operation, ...] = (
    send_newsletter,
    get_delivery_status,
    start_delivery,
    stop_delivery,
    send_newsletter_fast,
    send_single_newsletter,
)


def describe_sending(number: int) -> str:
    """Return the number of a sending under the two names that it has (specification §8, no. 8).

    One number is both: this server has one sending per schedule.
    """
    return element("deliveryID", str(number)) + element("scheduleID", str(number))


def describe_status(call: Call, account: Account, channel: Channel, number: int, message_name: str) -> str:
    """Return how far a sending has come, by e-mail or by SMS (specification §1.3.4).

    Args:
        call: of the operation.
        account: the caller's.
        channel: a sending by another one is unknown.
        number: of the sending.
        message_name: of the element with the number of the message.

    Raises:
        UnknownSending: there is none with this number.
    """
    with call.resources.database.read() as connection:
        found = find_sending(connection, account.id, number, channel)
        total = _count(connection, found)
    progress = found.progress()
    return element(
        "deliveryStatus",
        element("deliveryID", str(found.number))
        + element("listID", str(found.list_number))
        + element(message_name, str(found.message_number))
        + element("status", STATUSES[found.state])
        + text_element("details", _describe_details(found, account.zone))
        + element("toSend", str(total))
        # Nobody stands in the queue before it begins.
        + element("toBeSent", str(progress.left))
        + element("progress", str(progress.percent))
        + element("estimatedTime", describe_duration(progress.time_left or timedelta())),
    )


def describe_duration(duration: timedelta) -> str:
    """Return a duration as `0d 00h 01m 58s`."""
    minutes, seconds = divmod(int(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}d {hours:02}h {minutes:02}m {seconds:02}s"


def _send(call: Call, account: Account, list_number: int, find: FindMessage, options: Iterable[Any] | None) -> Told:
    given = read_options(options)
    target = read_target(given, normalise_email)
    sender, start_at, clear = read_sender(given), read_start(given, account.zone), clears_statistics(given)

    def send(connection: Connection) -> Told:
        mailing = find_own_list(connection, account, list_number)
        message = find(connection, mailing)
        new = request_sending(
            connection,
            mailing,
            message,
            target=target,
            sender=sender,
            start_at=start_at,
            values=read_values(given, find_names(connection, account.id, given)),
            clear_statistics=clear,
            rules=call.resources.sending_rules,
        )
        return Told(f"Sending {new.number} is in the queue", _describe_new(mailing, message, new))

    return change(call, send)


def _choose_message(
    call: Call, subject: str | None, content_type: str | None, content: str | None, options: Iterable[Any] | None
) -> FindMessage:
    """Return what finds, or stores, the message of a call; pages are fetched before."""
    if read_content_type(content_type) != EXISTING:
        return prepare_newsletter(call.resources, subject, content_type, content, options).store
    number = (content or "").strip()
    if not (number.isascii() and number.isdigit() and len(number) <= 9):
        raise Failure(INVALID_PARAMETER, "The content is the number of a newsletter when the type is ID.")
    return lambda connection, mailing: _find_newsletter(connection, mailing, int(number))


def _find_newsletter(connection: Connection, mailing: MailingList, number: int) -> Message:
    return find_message(connection, mailing.account_id, Channel.EMAIL, number, mailing)


def _describe_new(mailing: MailingList, message: Message, new: NewSending) -> str:
    return describe_message(mailing, message) + describe_sending(new.number)


def _count(connection: Connection, found: Sending) -> int:
    try:
        return count_target(connection, found) if found.is_open else found.total
    except UnknownFilter:
        # Its filter is gone; the sending will fail and say so.
        return 0


def _describe_details(found: Sending, zone: ZoneInfo) -> str:
    if found.state == "completed":
        return (
            f"Started at: {_write_time(found.started_at, zone)}, Completed at: {_write_time(found.finished_at, zone)}"
        )
    if found.state in ("scheduled", "waiting"):
        return f"Delivery will start on {_write_time(found.start_at or found.created_at, zone)}"
    return found.error_text or ""


def _write_time(at: datetime | None, zone: ZoneInfo) -> str:
    """Return an instant in the form of the documentation's sample, whose hours have no leading zero."""
    if at is None:
        return ""
    shown = at.astimezone(zone)
    return f"{shown:%d/%m/%Y} {shown.hour}:{shown:%M:%S}"
