"""What callers ask to be sent as text messages to one number: checked, paid for, and put into the queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import phonenumbers
from sqlalchemy import Connection, select

from audience.addresses import normalise_mobile
from audience.errors import InvalidAddress
from audience.lists import MailingList, lock_list
from audience.status_rules import Channel, State
from audience.subscriptions import Address, add_recipient, state_in_list
from db.tables import delivery, recipient
from delivery.errors import InvalidTarget, UnknownMessage
from delivery.messages import Message, add_message, find_message, list_messages
from delivery.queue import add_delivery
from delivery.sendings import NewSending, Sender, Target, add_sending
from delivery.sms_credits import take_credits
from delivery.sms_senders import check_sender
from delivery.sms_writing import WrittenText, check_text, load_writer, write_text
from delivery.sources import Person
from delivery.vocabulary import Vocabulary

MAX_NAME = 50
_HAS_LEFT = (State.UNSUBSCRIBED, State.BLOCKED)


@dataclass(frozen=True, slots=True)
class RequestedText:
    """A text message that was put into the queue."""

    sending: NewSending
    number: str
    """Normalised."""
    parts: int


def read_number(mailing: MailingList, number: str) -> str:
    """Return a mobile number as it is kept.

    Args:
        mailing: whose default prefix numbers without one get.
        number: as typed.

    Raises:
        InvalidAddress: it is not a telephone number that could exist.
    """
    normalised = normalise_mobile(number.strip(), mailing.default_prefix)
    try:
        is_possible = phonenumbers.is_possible_number(phonenumbers.parse(normalised))
    except phonenumbers.NumberParseException:
        is_possible = False
    if not is_possible:
        raise InvalidAddress("The mobile number is not one that could exist.")
    return normalised


def request_text(
    connection: Connection,
    mailing: MailingList,
    message: Message,
    number: str,
    *,
    sender: str,
    vocabulary: Vocabulary,
    public_url: str,
) -> RequestedText:
    """Send a message to one number, at once (specification §1.3.5).

    Its owner need not be subscribed, and is not subscribed by it.

    Args:
        connection: in a writing transaction.
        mailing: the list.
        message: of the list, by SMS.
        number: as typed.
        sender: a name or a number; empty: the list's own.
        vocabulary: of the merge tags.
        public_url: where this server's pages are.

    Raises:
        UnknownMessage: the message is another list's.
        InvalidAddress: it is no telephone number.
        InvalidMessage: the sender cannot be, or the text is too long for this recipient.
        InvalidTarget: the number's owner has unsubscribed from the list.
        AddressForgotten: the number was erased at its owner's wish.
        NotEnoughCredits: it cannot be paid.
    """
    if message.list_id != mailing.id:
        raise UnknownMessage(f"There is no message {message.number} in list {mailing.number}.")
    person = _find_person(connection, mailing, read_number(mailing, number))
    written = load_writer(connection, mailing.account_id, vocabulary, public_url).write(message, person)
    return _queue(connection, mailing, message, person, written, sender)


def request_direct_text(
    connection: Connection,
    mailing: MailingList,
    text: str,
    number: str,
    *,
    sender: str,
    unicode: bool,
    message_number: int | None = None,
) -> RequestedText:
    """Send a text to one number, at once; its statistics are those of a message that has another text.

    Args:
        connection: in a writing transaction.
        mailing: the list.
        text: as it goes out.
        number: as typed.
        sender: as in `request_text`.
        unicode: whether it may go out as Unicode.
        message_number: of the message; None for the one that the list has for this, which is made if need be.

    Raises:
        UnknownMessage: there is no such message in the list.
        InvalidMessage: the text is empty or too long, or has characters that need Unicode.
        InvalidAddress, InvalidTarget, AddressForgotten, NotEnoughCredits: as in `request_text`.
    """
    written = write_text(check_text(text, unicode=unicode), unicode=unicode)
    if message_number is None:
        message = find_default_message(connection, mailing)
    else:
        message = find_message(connection, mailing.account_id, Channel.SMS, message_number, mailing)
    person = _find_person(connection, mailing, read_number(mailing, number))
    return _queue(connection, mailing, message, person, written, sender)


def find_default_message(connection: Connection, mailing: MailingList) -> Message:
    """Return the message that texts without one are counted under, named `Default N` after the list's number."""
    name = f"Default {mailing.number}"
    found = _find_by_name(connection, mailing, name)
    if found is None:
        lock_list(connection, mailing)
        found = _find_by_name(connection, mailing, name)
    return found or add_message(connection, mailing, Channel.SMS, subject=name, text=name)


def name_text(subject: str, text: str) -> str:
    """Return the name of a text message: what the caller calls it, or how its text begins."""
    return subject.strip() or " ".join(text.split())[:MAX_NAME]


def _find_by_name(connection: Connection, mailing: MailingList, name: str) -> Message | None:
    listed = list_messages(connection, mailing, Channel.SMS)
    number = next((item.number for item in listed if item.subject == name), None)
    if number is None:
        return None
    return find_message(connection, mailing.account_id, Channel.SMS, number, mailing)


def _find_person(connection: Connection, mailing: MailingList, mobile: str) -> Person:
    address = Address(Channel.SMS, mobile)
    if state_in_list(connection, mailing, address) in _HAS_LEFT:
        raise InvalidTarget("The recipient has unsubscribed from text messages of this list.")
    row = _read_person(connection, mailing, mobile)
    if row is None:
        add_recipient(connection, mailing, address)
        row = _read_person(connection, mailing, mobile)
    return Person(0, row.id, row.email or "", mobile, row.fields)


def _read_person(connection: Connection, mailing: MailingList, mobile: str) -> Any:
    query = select(recipient.c.id, recipient.c.email, recipient.c.fields)
    here = (recipient.c.mobile == mobile) & (recipient.c.account_id == mailing.account_id)
    return connection.execute(query.where(here)).one_or_none()


def _queue(
    connection: Connection,
    mailing: MailingList,
    message: Message,
    person: Person,
    written: WrittenText,
    sender: str,
) -> RequestedText:
    """Pay for a text and put it into the queue as it was written for its recipient."""
    mobile, parts = person.mobile or "", len(written.parts)
    checked = Sender(name=check_sender(sender))
    take_credits(connection, mailing.account_id, mailing.id, parts)
    new = add_sending(
        connection,
        mailing,
        Channel.SMS,
        message,
        target=Target(to="queue"),
        sender=checked,
        kind="single",
        state="sending",
    )
    text = "".join(written.parts)
    row_id = add_delivery(connection, new, mailing, person.recipient_id, mobile, text=text)
    connection.execute(delivery.update().where(delivery.c.id == row_id).values(parts=parts))
    return RequestedText(new, mobile, parts)
