"""What callers ask to be sent: checked, and turned into sendings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection

from audience.addresses import normalise_email
from audience.daily_totals import hide_statistics
from audience.history import Cause
from audience.list_settings import parse_setting, read_settings
from audience.lists import MailingList
from audience.status_rules import Channel, ImportRule, State
from audience.subscriptions import Address, change_state
from db.tables import delivery
from delivery.errors import NotAllowedNow, SenderNotVerified, UnknownMessage
from delivery.messages import Message, check_notes
from delivery.queue import add_delivery
from delivery.sender_addresses import is_verified
from delivery.sendings import NewSending, Sender, SendingKind, SendingMode, Target, add_sending
from delivery.targets import check_target, select_people

DEFAULT_MODE: SendingMode = "at-most-once"
RequestedState = Literal["draft", "waiting", "scheduled"]

# Whoever has left, or has not confirmed yet, is not brought back by a message to him.
_ADD = ImportRule().transition()
_REFUSALS = {
    State.PENDING: "has not confirmed the subscription",
    State.UNSUBSCRIBED: "is unsubscribed",
    State.BLOCKED: "is unsubscribed because of a bounce or a complaint",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingRules:
    """What the operator of this server demands of all sendings."""

    require_verified_senders: bool = False
    """Whether only sender addresses are used whose owners have proved that they are theirs."""


def request_sending(
    connection: Connection,
    mailing: MailingList,
    message: Message,
    *,
    target: Target,
    sender: Sender | None = None,
    start_at: datetime | None = None,
    state: RequestedState = "scheduled",
    kind: SendingKind = "bulk",
    mode: SendingMode | None = None,
    subject: str = "",
    values: Mapping[str, Mapping[str, str]] | None = None,
    clear_statistics: bool = False,
    notes: str = "",
    notify_email: str = "",
    tags: Sequence[str] = (),
    rules: SendingRules | None = None,
) -> NewSending:
    """Send a message to people of its list, whoever is subscribed to it when the sending begins.

    Args:
        connection: in a writing transaction.
        mailing: the list.
        message: of the list.
        target: who gets it.
        sender: of an e-mail; what is empty is the list's own.
        start_at: aware; None, or a time that has passed, for as soon as possible.
        state: which it begins with.
        kind: a `single` one does not wait for others.
        mode: None for the server's.
        subject: instead of the message's.
        values: what the message is filled with beside the recipients' own data, by their addresses, normalised, and
            by name. Goes with a target of addresses, who stand in the queue from now on.
        clear_statistics: whether reports leave out what happened in earlier sendings of the message.
        notes: for people.
        notify_email: who is told of its end.
        tags: of the campaign.
        rules: of this server; None for none.

    Raises:
        UnknownMessage: the message is another list's.
        InvalidTarget: see `delivery.targets.check_target`.
        InvalidMessage: the notes are too long.
        UnknownFilter: a filter does not exist, or is another list's.
        SenderNotVerified: there is no sender's address, or it lacks the proof that the rules demand.
        InvalidSetting: sender or reply address is none, or the sender's name is not one line.
        InvalidAddress: it is nobody who could be told of the end.
    """
    _check_message(mailing, message)
    check_target(connection, mailing, target)
    checked = check_sender(connection, mailing, message.channel, sender or Sender(), rules or SendingRules())
    if clear_statistics:
        hide_statistics(connection, message.account_id, message.channel, message.number)
    new = add_sending(
        connection,
        mailing,
        message.channel,
        message,
        subject=subject,
        target=replace(target, to="queue", addresses=()) if values else target,
        sender=checked,
        kind=kind,
        state=state,
        mode=mode or DEFAULT_MODE,
        start_at=start_at,
        tags=tags,
        notes=check_notes(notes),
        notify_email=normalise_email(notify_email) if notify_email.strip() else "",
    )
    if values:
        _fill_queue(connection, mailing, message.channel, new, target, values)
    return new


def request_single(
    connection: Connection,
    mailing: MailingList,
    message: Message,
    email: str,
    *,
    cause: Cause,
    sender: Sender | None = None,
    values: Mapping[str, str] | None = None,
    mode: SendingMode | None = None,
    subject: str = "",
    notes: str = "",
    rules: SendingRules | None = None,
) -> NewSending:
    """Send an e-mail to one address, at once; who has no subscription yet is subscribed (specification §1.3.3).

    Args:
        connection: in a writing transaction.
        mailing: the list.
        message: of the list.
        email: of the recipient.
        cause: of his subscription, for the history.
        sender: as in `request_sending`.
        values: what the message is filled with beside the recipient's own data, by name.
        mode: as in `request_sending`.
        subject: instead of the message's.
        notes: for people.
        rules: as in `request_sending`.

    Raises:
        UnknownMessage: the message is another list's.
        InvalidAddress: it is not an e-mail address.
        NotAllowedNow: its owner is not subscribed any more, or has not confirmed.
        InvalidMessage: the notes are too long.
        AddressForgotten: the address was erased at its owner's wish.
        SenderNotVerified: as in `request_sending`.
        InvalidSetting: as in `request_sending`.
    """
    _check_message(mailing, message)
    checked = check_sender(connection, mailing, message.channel, sender or Sender(), rules or SendingRules())
    address = Address(Channel.EMAIL, normalise_email(email))
    change = change_state(connection, mailing, address, _ADD, cause)
    if change.after != State.SUBSCRIBED:
        raise NotAllowedNow(f"The recipient {_REFUSALS[change.after]}.")
    new = add_sending(
        connection,
        mailing,
        message.channel,
        message,
        subject=subject,
        target=Target(to="queue"),
        sender=checked,
        kind="single",
        state="sending",
        mode=mode or DEFAULT_MODE,
        notes=check_notes(notes),
    )
    add_delivery(connection, new, mailing, change.recipient_id, address.value, values=values)
    return new


def check_sender(
    connection: Connection, mailing: MailingList, channel: Channel, sender: Sender, rules: SendingRules
) -> Sender:
    """Return a sender as it is stored, its addresses normalised; what is empty is the list's own.

    Args:
        connection: reading or writing.
        mailing: the list that is sent to.
        channel: text messages have senders of their own kind, which pass as they are.
        sender: as it was asked for.
        rules: of this server.

    Raises:
        SenderNotVerified: there is no address, or it lacks the proof that the rules demand.
        InvalidSetting: sender or reply address is none, or the name is not one line.
    """
    if channel != Channel.EMAIL:
        return sender
    wanted = {
        "sender_email": sender.email,
        "sender_name": sender.name,
        "reply_to": sender.reply_to,
    }
    checked = {name: parse_setting(name, text) for name, text in wanted.items()}
    email = checked["sender_email"] or read_settings(mailing.settings).sender_email
    if not email:
        raise SenderNotVerified(f"List {mailing.number} has no sender address, and none was given.")
    if rules.require_verified_senders and not is_verified(connection, mailing.account_id, email):
        raise SenderNotVerified("The owner of the sender address has not proved that it is his.")
    return Sender(email=checked["sender_email"], name=checked["sender_name"], reply_to=checked["reply_to"])


def _check_message(mailing: MailingList, message: Message) -> None:
    if message.list_id != mailing.id:
        raise UnknownMessage(f"There is no message {message.number} in list {mailing.number}.")


def _fill_queue(
    connection: Connection,
    mailing: MailingList,
    channel: Channel,
    new: NewSending,
    target: Target,
    values: Mapping[str, Mapping[str, str]],
) -> None:
    """Put everybody into the queue with values of his own; `total` is counted when the sending begins."""
    common: dict[str, Any] = {"account_id": mailing.account_id, "sending_id": new.id, "list_id": mailing.id}
    common["due_at"] = datetime.now(UTC)
    people: list[tuple[int, str]] = list(connection.execute(select_people(connection, mailing, channel, target)))
    rows = [
        common
        | {"recipient_id": recipient_id, "address": address, "domain": address.rpartition("@")[2]}
        | {"values": dict(values.get(address, {})) or None}
        for recipient_id, address in people
    ]
    if rows:
        connection.execute(delivery.insert(), rows)
