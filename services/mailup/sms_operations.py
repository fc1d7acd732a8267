"""Text messages: making, listing and sending them (specification §1.3, no. 41 to 46; §1.3.5; §8, no. 5 and 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from audience.accounts import Account
from audience.lists import MailingList
from audience.status_rules import Channel
from delivery.errors import InvalidMessage
from delivery.messages import (
    ListedMessage,
    Message,
    MessageSettings,
    add_message,
    check_notes,
    find_message,
    list_messages,
)
from delivery.sending_requests import request_sending
from delivery.sendings import NewSending, Sender
from delivery.sms_credits import require_credits
from delivery.sms_requests import name_text, read_number, request_direct_text, request_text
from delivery.sms_senders import check_sender
from delivery.sms_writing import check_text
from services.mailup.instants import describe_instant
from services.mailup.keyed_operations import OPTIONS, change, find_own_list, keyed_operation
from services.mailup.keyed_results import INVALID_OPTION, INVALID_PARAMETER, Failure, Shape, Told, text_element
from services.mailup.list_results import describe_list
from services.mailup.merge_tags import VOCABULARY
from services.mailup.message_content import EXISTING, read_flag
from services.mailup.results import element
from services.mailup.sending_operations import describe_sending
from services.mailup.sending_options import Options, read_options, read_start, read_target
from services.soap.declarations import INT, STRING, Call, Operation

FindText = Callable[[Connection, MailingList], Message]

_FLAGS = {"dyn_fld": "merge_fields", "track_delivery": "report_delivery", "isunicode": "unicode"}


@keyed_operation("GetSMS", Shape("GetSMSResult", element("list", element("smss"))), accessKey=STRING, listID=INT)
def get_texts(call: Call, account: Account, number: int) -> str:
    """Return the text messages of a list."""
    with call.resources.database.read() as connection:
        mailing = find_own_list(connection, account, number)
        found = list_messages(connection, mailing, Channel.SMS)
    described = "".join(_describe_text(message, account) for message in found)
    return element("list", describe_list(mailing) + element("smss", described))


@keyed_operation("CreateSMS", accessKey=STRING, listID=INT, subject=STRING, text=STRING, options=OPTIONS)
def create_text(
    call: Call, account: Account, number: int, subject: str | None, text: str | None, options: Iterable[Any] | None
) -> str:
    """Make a text message."""
    store = _prepare(subject, text, read_options(options))

    def create(connection: Connection) -> str:
        mailing = find_own_list(connection, account, number)
        return _describe_message(mailing, store(connection, mailing))

    return change(call, create)


@keyed_operation("SendSMS", accessKey=STRING, listID=INT, smsID=INT, options=OPTIONS)
def send_text(call: Call, account: Account, list_number: int, number: int, options: Iterable[Any] | None) -> Told:
    """Send a text message to people of its list, now or at a set time."""
    return _send(call, account, list_number, _find(number), read_options(options))


@keyed_operation("SendSMSFast", accessKey=STRING, listID=INT, subject=STRING, text=STRING, options=OPTIONS)
def send_text_fast(
    call: Call, account: Account, number: int, subject: str | None, text: str | None, options: Iterable[Any] | None
) -> Told:
    """Make a text message and send it; without the sending it is not made either."""
    given = read_options(options)
    return _send(call, account, number, _prepare(subject, text, given), given)


@keyed_operation(
    "SendSingleSMS",
    accessKey=STRING,
    listID=INT,
    subject=STRING,
    type=STRING,
    content=STRING,
    numero=STRING,
    options=OPTIONS,
)
def send_single_text(
    call: Call,
    account: Account,
    list_number: int,
    subject: str | None,
    content_type: str | None,
    content: str | None,
    number: str | None,
    options: Iterable[Any] | None,
) -> Told:
    """Send one text message to one number, whose owner need not be subscribed."""
    given = read_options(options)
    find = _choose(subject, content_type, content, given)
    sender = _read_sender(given)

    def send(connection: Connection) -> Told:
        mailing = find_own_list(connection, account, list_number)
        message = find(connection, mailing)
        if "isunicode" in given:
            message = replace(message, settings=replace(message.settings, unicode=_read_unicode(given)))
        new = request_text(
            connection,
            mailing,
            message,
            number or "",
            sender=sender,
            vocabulary=VOCABULARY,
            public_url=call.resources.public_url,
        )
        return Told(f"Message sent {new.number}", _describe_new(mailing, message, new.sending))

    return change(call, send)


@keyed_operation("SendDirectSMS", accessKey=STRING, listID=INT, content=STRING, numero=STRING, options=OPTIONS)
def send_direct_text(
    call: Call,
    account: Account,
    list_number: int,
    content: str | None,
    number: str | None,
    options: Iterable[Any] | None,
) -> Told:
    """Send a text to one number without making a message of it."""
    given = read_options(options)
    sender, unicode, message_number = _read_sender(given), _read_unicode(given), _read_message_number(given)

    def send(connection: Connection) -> Told:
        mailing = find_own_list(connection, account, list_number)
        new = request_direct_text(
            connection,
            mailing,
            content or "",
            number or "",
            sender=sender,
            unicode=unicode,
            message_number=message_number,
        )
        numbers = element("listID", str(mailing.number)) + describe_sending(new.sending.number)
        return Told(f"Message sent {new.number}", numbers)

    return change(call, send)


TEXTS: tuple[Operation, ...] = (
    get_texts,
    create_text,
    send_text,
    send_text_fast,
    send_single_text,
    send_direct_text,
)


def _send(call: Call, account: Account, list_number: int, find: FindText, given: Options) -> Told:
    sender, start_at = _read_sender(given), read_start(given, account.zone)

    def send(connection: Connection) -> Told:
        mailing = find_own_list(connection, account, list_number)
        target = read_target(given, lambda number: read_number(mailing, number))
        message = find(connection, mailing)
        if start_at is None or start_at <= datetime.now(UTC):
            require_credits(connection, mailing)
        new = request_sending(
            connection, mailing, message, target=target, sender=Sender(name=sender), start_at=start_at
        )
        return Told(f"Sending {new.number} is in the queue", _describe_new(mailing, message, new))

    return change(call, send)


def _choose(subject: str | None, content_type: str | None, content: str | None, given: Options) -> FindText:
    """Return what finds, or stores, the message of a call."""
    name = (content_type or "").strip().upper() or "TEXT"
    if name == "TEXT":
        return _prepare(subject, content, given)
    if name != EXISTING:
        raise Failure(INVALID_PARAMETER, "The type is TEXT or ID.")
    number = (content or "").strip()
    if not (number.isascii() and number.isdigit() and len(number) <= 9):
        raise Failure(INVALID_PARAMETER, "The content is the number of a text message when the type is ID.")
    return _find(int(number))


def _find(number: int) -> FindText:
    return lambda connection, mailing: find_message(connection, mailing.account_id, Channel.SMS, number, mailing)


def _prepare(subject: str | None, text: str | None, given: Options) -> FindText:
    """Return what stores a new message, which has been checked."""
    wanted: dict[str, Any] = {name: read_flag(key, given[key]) for key, name in _FLAGS.items() if key in given}
    settings = MessageSettings(**wanted)
    checked = check_text(text or "", unicode=settings.unicode, has_tags=settings.merge_fields and "[" in (text or ""))
    notes = _read_notes(given.get("note", ""))
    name = name_text(subject or "", checked)

    def store(connection: Connection, mailing: MailingList) -> Message:
        return add_message(connection, mailing, Channel.SMS, subject=name, text=checked, notes=notes, settings=settings)

    return store


def _read_notes(notes: str) -> str:
    try:
        return check_notes(notes)
    except InvalidMessage as error:
        raise Failure(INVALID_OPTION, f"note: {error}") from None


def _read_sender(given: Options) -> str:
    try:
        return check_sender(given.get("from", ""))
    except InvalidMessage as error:
        raise Failure(INVALID_OPTION, f"from: {error}") from None


def _read_unicode(given: Options) -> bool:
    return read_flag("isUnicode", given.get("isunicode", ""))


def _read_message_number(given: Options) -> int | None:
    text = given.get("messageid", "").strip()
    if text and not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Failure(INVALID_OPTION, "MessageId: It is the number of a text message.")
    # Programs that have no message send 0.
    return int(text or "0") or None


def _describe_text(message: ListedMessage, account: Account) -> str:
    content = (
        element("smsID", str(message.number))
        + text_element("subject", message.subject)
        + text_element("text", message.text)
        + text_element("note", message.notes)
        + element("creationdate", describe_instant(message.created_at, account.zone))
    )
    return element("sms", content)


def _describe_message(mailing: MailingList, message: Message) -> str:
    return element("listID", str(mailing.number)) + element("smsID", str(message.number))


def _describe_new(mailing: MailingList, message: Message, new: NewSending) -> str:
    return _describe_message(mailing, message) + describe_sending(new.number)
