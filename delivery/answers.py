"""What servers' refusals at the moment of sending mean for the people who were to be reached."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from delivery.bounce_codes import classify_answer
from delivery.bounce_rules import record_bounce
from delivery.queue import ActiveSending, Failed
from delivery.return_paths import ReturnPath


def record_answers(connection: Connection, of: ActiveSending, failed: Iterable[Failed], soft_bounce_limit: int) -> None:
    """Draw the consequences of refusals, in the transaction that records them.

    Args:
        connection: in a writing transaction.
        of: which sending of e-mails.
        failed: those whose recipient no server has said anything about have no consequences.
        soft_bounce_limit: see `record_bounce`.
    """
    for row in failed:
        if row.answer.code and not row.answer.about_sender:
            bounce = classify_answer(row.answer.code, row.answer.text)
            about = ReturnPath(of.account_id, of.id, row.recipient_id)
            record_bounce(connection, about, bounce, soft_bounce_limit=soft_bounce_limit, address=row.address)
