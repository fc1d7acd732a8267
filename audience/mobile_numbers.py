"""Gives a recipient who is known by his e-mail address a mobile number as well, by which he is found from then on."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, exists, select
from sqlalchemy.exc import IntegrityError

from audience.history import Cause, Subject, record_profile
from audience.lists import MailingList
from audience.status_rules import Channel
from audience.suppressions import is_suppressed
from audience.webhooks import announce
from db.tables import recipient


def give_mobile(
    connection: Connection,
    mailing: MailingList,
    recipient_id: int,
    mobile: str,
    cause: Cause,
    *,
    newcomer: bool = False,
) -> bool:
    """Store a mobile number of a recipient in place of the one he had; False when it cannot be his.

    That is so when somebody else of the account has it, or its owner asked to be forgotten.

    Args:
        connection: in a writing transaction that has the recipient locked.
        mailing: the list through which the number came.
        recipient_id: must exist.
        mobile: normalised.
        cause: for the history.
        newcomer: he was added a moment ago; the data somebody begins with are told to nobody as a change.
    """
    here = recipient.c.id == recipient_id
    before = connection.execute(select(recipient.c.mobile).where(here)).scalar_one()
    if before == mobile:
        return True
    taken = select(exists().where(recipient.c.mobile == mobile, recipient.c.account_id == mailing.account_id))
    if connection.execute(taken).scalar_one() or is_suppressed(connection, mailing.account_id, Channel.SMS, mobile):
        return False
    now = datetime.now(UTC)
    try:
        with connection.begin_nested():
            connection.execute(recipient.update().where(here).values(mobile=mobile, updated_at=now))
    except IntegrityError:
        # Somebody else got it a moment ago.
        return False
    subject = Subject(mailing.account_id, recipient_id, mailing.id)
    record_profile(connection, subject, {"mobile": before}, {"mobile": mobile}, cause, now)
    if mailing.notifies and not newcomer:
        announce(connection, mailing, recipient_id, "profile", cause)
    return True
