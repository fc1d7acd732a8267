"""What becomes of a recipient whose mail came back, who complained, or who wrote that he leaves.

An address that does not exist and a complaint concern all lists of the account, since the address and its owner are the
same in each. A refusal of the mail or of its sender says nothing about the recipient. Other soft bounces are counted,
one for each sending, until the recipient is seen to open or click a mail; too many in a row take him out for a time,
the next time for good. Nobody is ever subscribed again by these rules.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, exists, select

from audience.errors import UnknownRecipient
from audience.events import MailEvent, MailEventKind, append_mail_events
from audience.history import Cause
from audience.lists import MailingList, lists_of
from audience.status_rules import BOUNCE, COMPLAIN, UNSUBSCRIBE, Channel, Reason, Status, Transition
from audience.subscriptions import Address, change_state
from db.tables import delivery, mail_event, recipient, sending, soft_bounce, subscription
from delivery.bounce_codes import BounceClass
from delivery.outbox import queue_follow_ups
from delivery.return_paths import ReturnPath, UnsubscribeAddress

SOURCE = "bounce"
"""Of the causes in the history."""
MAIL_SOURCE = "mail"
"""The same of somebody who wrote."""
_FOR_A_TIME, _FOR_GOOD = 1, 2


def record_bounce(
    connection: Connection,
    about: ReturnPath,
    bounce: BounceClass,
    *,
    soft_bounce_limit: int,
    address: str | None = None,
) -> bool:
    """Apply the rules to a recipient whose mail was not taken; return whether he was unsubscribed.

    A recipient who has another address by now is left alone. The event is not appended here.

    Args:
        connection: in a writing transaction.
        about: whose mail of which sending.
        bounce: why.
        soft_bounce_limit: soft bounces in a row after which he is taken out.
        address: where it was sent to; by default what is known of that.
    """
    email = _lock_address(connection, about)
    if email is None or email != (address or _address_of(connection, about, email)):
        return False
    if bounce.kind == "hard":
        cause = _cause(connection, about, SOURCE, bounce.reason, bounce.subtype)
        return _end(connection, about, email, BOUNCE, cause)
    if bounce.is_block:
        # A server that refuses ours refuses it for all of its people, who would be lost at once.
        return False
    subtype = _count(connection, about, soft_bounce_limit)
    if subtype is None:
        return False
    cause = _cause(connection, about, SOURCE, Reason.SOFT_BOUNCES, subtype)
    return _end(connection, about, email, UNSUBSCRIBE, cause)


def record_complaint(connection: Connection, about: ReturnPath) -> bool:
    """Take somebody who complained out of all lists of the account for good; return whether that changed anything.

    Args:
        connection: in a writing transaction.
        about: who complained of which sending.
    """
    email = _lock_address(connection, about)
    if email is None:
        return False
    return _end(connection, about, email, COMPLAIN, _cause(connection, about, SOURCE, Reason.COMPLAINT))


def record_leave(connection: Connection, leaver: UnsubscribeAddress) -> bool:
    """Unsubscribe somebody who wrote to the address for that, or had it done; return whether that changed anything.

    Args:
        connection: in a writing transaction.
        leaver: who leaves which list.
    """
    email = _lock_address(connection, leaver.about)
    mailing = next((one for one in lists_of(connection, leaver.account_id) if one.id == leaver.list_id), None)
    if email is None or mailing is None:
        return False
    cause = _cause(connection, leaver.about, MAIL_SOURCE, Reason.HEADER_MAILTO)
    try:
        change = change_state(connection, mailing, Address(Channel.EMAIL, email), UNSUBSCRIBE, cause)
    except UnknownRecipient:
        return False
    queue_follow_ups(connection, mailing, change)
    return change.after != change.before


def append_bounce(connection: Connection, about: ReturnPath, code: str) -> bool:
    """Append the event that a mail came back; False when it is known, or the sending is gone.

    Args:
        connection: in a writing transaction.
        about: whose mail of which sending.
        code: such as `550 5.1.1`.
    """
    # Whoever else has a report of the same mail waits here.
    email = _lock_address(connection, about)
    his = (mail_event.c.recipient_id == about.recipient_id) & (mail_event.c.sending_id == about.sending_id)
    events = connection.execute(select(mail_event.c.kind, mail_event.c.email, mail_event.c.sent_at).where(his)).all()
    row = connection.execute(
        select(sending.c.list_id, sending.c.started_at, sending.c.created_at).where(
            sending.c.id == about.sending_id, sending.c.account_id == about.account_id
        )
    ).one_or_none()
    if row is None or email is None or any(event.kind == MailEventKind.BOUNCED for event in events):
        return False
    sent = next((event for event in events if event.kind == MailEventKind.SENT), None)
    event = MailEvent(
        row.list_id,
        about.sending_id,
        about.recipient_id,
        sent.email if sent is not None else _address_of(connection, about, email),
        MailEventKind.BOUNCED,
        datetime.now(UTC),
        sent.sent_at if sent is not None else row.started_at or row.created_at,
        code or None,
    )
    append_mail_events(connection, about.account_id, [event])
    return True


def _cause(connection: Connection, about: ReturnPath, source: str, reason: Reason, subtype: int | None = None) -> Cause:
    """Return a cause that names the message of the sending, as long as that is known."""
    query = select(sending.c.message_number).where(
        sending.c.id == about.sending_id, sending.c.account_id == about.account_id
    )
    number = connection.execute(query).scalar_one_or_none()
    return Cause(source, reason, subtype, message_number=number or None)


def _lock_address(connection: Connection, about: ReturnPath) -> str | None:
    """Return a recipient's address; None when he is gone, was forgotten or has none."""
    query = select(recipient.c.email).where(
        recipient.c.id == about.recipient_id, recipient.c.account_id == about.account_id
    )
    email: str | None = connection.execute(query.with_for_update()).scalar_one_or_none()
    return email


def _address_of(connection: Connection, about: ReturnPath, otherwise: str) -> str:
    """Return where a mail was sent to, as long as that is known."""
    for table, address in ((delivery, delivery.c.address), (mail_event, mail_event.c.email)):
        his = (table.c.recipient_id == about.recipient_id) & (table.c.sending_id == about.sending_id)
        found: str | None = connection.execute(select(address).where(his).limit(1)).scalar_one_or_none()
        if found:
            return found
    return otherwise


def _end(connection: Connection, about: ReturnPath, email: str, transition: Transition, cause: Cause) -> bool:
    """Apply a transition to all of a recipient's subscriptions by mail; return whether one changed."""
    address = Address(Channel.EMAIL, email)
    changes = [
        change_state(connection, mailing, address, transition, cause)
        for mailing in _lists_of_recipient(connection, about)
    ]
    return any(change.after != change.before for change in changes)


def _lists_of_recipient(connection: Connection, about: ReturnPath) -> list[MailingList]:
    his = select(subscription.c.list_id).where(
        subscription.c.recipient_id == about.recipient_id, subscription.c.channel == Channel.EMAIL
    )
    list_ids = set(connection.execute(his).scalars())
    return [mailing for mailing in lists_of(connection, about.account_id) if mailing.id in list_ids]


def _count(connection: Connection, about: ReturnPath, limit: int) -> int | None:
    """Count a soft bounce; return the subtype to unsubscribe its recipient with when it is one too many."""
    here = soft_bounce.c.recipient_id == about.recipient_id
    row = connection.execute(_COUNTED.where(here)).one_or_none()
    now = datetime.now(UTC)
    if row is not None and row.last_sending_id == about.sending_id:
        return None
    begins = row is None or row.in_a_row == 0 or _was_reached(connection, about.recipient_id, row.last_at)
    count = 1 if row is None or begins else row.in_a_row + 1
    pauses = row.pauses if row is not None else 0
    too_many = count >= limit and _is_subscribed(connection, about.recipient_id)
    values = {
        "count": 0 if too_many else count,
        "first_at": now if row is None or begins else row.first_at,
        "last_at": now,
        "last_sending_id": about.sending_id,
        "pauses": pauses + 1 if too_many else pauses,
    }
    if row is None:
        connection.execute(
            soft_bounce.insert().values(recipient_id=about.recipient_id, account_id=about.account_id, **values)
        )
    else:
        connection.execute(soft_bounce.update().where(here).values(values))
    if not too_many:
        return None
    return _FOR_A_TIME if pauses == 0 else _FOR_GOOD


_COUNTED = select(
    soft_bounce.c["count"].label("in_a_row"),
    *(soft_bounce.c[name] for name in ("first_at", "last_at", "last_sending_id", "pauses")),
)


def _was_reached(connection: Connection, recipient_id: int, since: datetime) -> bool:
    """Tell whether a recipient opened or clicked a mail after an instant."""
    seen = exists().where(
        mail_event.c.recipient_id == recipient_id,
        mail_event.c.kind.in_((MailEventKind.OPENED, MailEventKind.CLICKED)),
        mail_event.c.at > since,
    )
    return bool(connection.execute(select(seen)).scalar_one())


def _is_subscribed(connection: Connection, recipient_id: int) -> bool:
    somewhere = exists().where(
        subscription.c.recipient_id == recipient_id,
        subscription.c.channel == Channel.EMAIL,
        subscription.c.status != Status.UNSUBSCRIBED,
    )
    return bool(connection.execute(select(somewhere)).scalar_one())
