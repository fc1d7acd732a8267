"""Subscribes one person to some lists at once and asks for the mails that follow, for programs and for forms alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from audience.addresses import normalise_email, normalise_mobile
from audience.errors import InvalidAddress
from audience.lists import MailingList
from audience.mobile_numbers import give_mobile
from audience.status_rules import REQUEST_CONFIRMATION, SUBSCRIBE, Channel, State
from audience.subscriptions import (
    Address,
    Cause,
    Change,
    ProfileChange,
    add_recipient,
    change_state,
    parse_address,
)
from delivery.outbox import Sender, queue_follow_ups, queue_mail
from services.mailup.page_parameters import PageParameters

MAX_SENDER_NAME = 200

# An address confirms nothing of a number: whoever wanted no more messages there has to ask by the number itself.
_SUBSCRIBE_BESIDE_EMAIL = SUBSCRIBE._replace(unsubscribed=State.UNSUBSCRIBED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody asks for."""

    email: str
    mobile: str
    confirm: bool
    """Whether he has to confirm by a link in a mail."""
    profile: ProfileChange
    sender: Sender
    """Of the mail to confirm by."""
    layout: MailingList | None
    """Whose one mail confirms all lists; without it each list sends one."""
    cause: Cause
    public: bool = False
    """Whether anybody may ask this, so that nothing that is known of a person changes but his subscription."""


def read_sender(parameters: PageParameters) -> Sender:
    """Return the sender that a call names; what is not well-formed is left to the list.

    Raises:
        InvalidParameters: there are control characters in it.
    """
    email, name = parameters.text("Dynsndmail"), parameters.text("dynsndname")
    try:
        email = normalise_email(email)
    except InvalidAddress:
        email = ""
    return Sender(email, name if len(name) <= MAX_SENDER_NAME else "")


def subscribe_to_lists(connection: Connection, lists: Sequence[MailingList], wish: Wish) -> list[Change]:
    """Subscribe somebody by e-mail address, or by mobile number if he has given that alone; return what became of it.

    With both, the number becomes his if nobody else has it, and is subscribed without a confirmation unless it was
    unsubscribed. What is public leaves number, data and groups of somebody who is known already alone.

    Args:
        connection: in a writing transaction.
        lists: one at least; in each of them he is subscribed.
        wish: what is asked for.

    Raises:
        InvalidAddress: the address or the number is not well-formed, or neither is given; nothing was changed.
        AddressForgotten: its owner wanted it erased; nothing was changed.
    """
    addresses = [parse_address(mailing, email=wish.email, mobile=wish.mobile) for mailing in lists]
    channel = addresses[0].channel
    mobile = ""
    if channel == Channel.EMAIL and wish.mobile:
        mobile = normalise_mobile(wish.mobile, lists[0].default_prefix)
    transition = REQUEST_CONFIRMATION if wish.confirm else SUBSCRIBE
    newcomer = channel == Channel.EMAIL and _add_newcomer(connection, lists[0], addresses[0], mobile, wish)
    stores_data = newcomer or not wish.public
    profile = wish.profile if stores_data else None
    changes = [
        change_state(connection, mailing, address, transition, wish.cause, profile)
        for mailing, address in zip(lists, addresses, strict=True)
    ]
    taken = [(mailing, change) for mailing, change in zip(lists, changes, strict=True) if change.after != State.BLOCKED]
    if channel == Channel.EMAIL:
        _ask_for_mails(connection, taken, wish)
    if mobile and taken and stores_data:
        _subscribe_mobile(connection, taken, mobile, wish.cause)
    return changes


def _add_newcomer(connection: Connection, first: MailingList, address: Address, mobile: str, wish: Wish) -> bool:
    """Add somebody with his number, so that it is told with his first subscription; False when he is known.

    Raises:
        AddressForgotten: nothing was changed.
    """
    if not (mobile or wish.public):
        # His first subscription adds him with all there is.
        return False
    recipient_id = add_recipient(connection, first, address, wish.profile)
    if recipient_id is not None and mobile:
        give_mobile(connection, first, recipient_id, mobile, wish.cause, newcomer=True)
    return recipient_id is not None


def _ask_for_mails(connection: Connection, taken: Sequence[tuple[MailingList, Change]], wish: Wish) -> None:
    for mailing, change in taken:
        queue_follow_ups(connection, mailing, change)
    pending = [(mailing, change.recipient_id) for mailing, change in taken if change.after == State.PENDING]
    if wish.layout is not None and pending:
        pending_ids = [mailing.id for mailing, _ in pending]
        queue_mail(connection, wish.layout, pending[0][1], "confirmation", list_ids=pending_ids, sender=wish.sender)
        return
    for mailing, recipient_id in pending:
        queue_mail(connection, mailing, recipient_id, "confirmation", list_ids=[mailing.id], sender=wish.sender)


def _subscribe_mobile(
    connection: Connection, taken: Sequence[tuple[MailingList, Change]], mobile: str, cause: Cause
) -> None:
    first_list, change = taken[0]
    if give_mobile(connection, first_list, change.recipient_id, mobile, cause):
        for mailing, _ in taken:
            change_state(connection, mailing, Address(Channel.SMS, mobile), _SUBSCRIBE_BESIDE_EMAIL, cause)
