"""Tells the people who run an account what became of a sending (specification §6.6, alert centre)."""

from __future__ import annotations

from sqlalchemy import Connection, select

from audience.lists import load_list
from audience.notices import add_notice
from audience.status_rules import Channel
from db.tables import sending

_WORDS = {"completed": "is complete", "failed": "has failed", "cancelled": "was cancelled"}
_COUNTERS = {
    "total": "Messages",
    "sent": "Sent",
    "failed": "Failed",
    "skipped": "Left out: not subscribed any more",
    "unknown": "Unknown: on their way when a process ended",
}


def tell_ended(connection: Connection, sending_id: int) -> None:
    """Write the notice about the end of a sending: once, whoever asks again.

    Whoever the sending names is told of any end; where it names nobody, the technical contact is told of one that
    failed.

    Args:
        connection: in the writing transaction that has ended it.
        sending_id: internal id; state and counters are what they are at its end.
    """
    ended = connection.execute(select(sending).where(sending.c.id == sending_id)).one()
    if not ended.notify_email and ended.state != "failed":
        return
    mailing = load_list(connection, ended.list_id)
    kind = "Text message" if ended.channel == Channel.SMS else "E-mail"
    lines = [f"{kind}: {ended.subject}", f"List: {mailing.name} ({mailing.number})"]
    if ended.message_number:
        lines.append(f"Message: {ended.message_number}")
    lines += [f"{label}: {getattr(ended, name)}" for name, label in _COUNTERS.items()]
    if ended.error_text:
        lines += ["", ended.error_text]
    add_notice(
        connection,
        ended.account_id,
        key=f"sending:{ended.id}:{ended.state}",
        kind="sending",
        subject=f"Sending {ended.number} {_WORDS.get(ended.state, ended.state)}: {ended.subject}",
        text="\n".join([*lines, ""]),
        address=ended.notify_email or None,
    )
