"""Appends what readers did with mails: known by sending and recipient alone, and completed from the queue."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

import orjson
from sqlalchemy import Connection, text

from audience.events import MailEvent, MailEventKind, append_mail_events
from db.types import UtcDateTime


class TrackedEvent(NamedTuple):
    """Somebody has opened a mail, or clicked in it."""

    account_id: int
    sending_id: int
    recipient_id: int
    kind: Literal[MailEventKind.OPENED, MailEventKind.CLICKED]
    url: str | None = None
    """Address that was clicked."""
    ip_address: str | None = None
    user_agent: str | None = None


class _Sent(NamedTuple):
    list_id: int
    email: str
    sent_at: datetime | None


_Pair = tuple[int, int]


def append_tracked_events(connection: Connection, events: Sequence[TrackedEvent]) -> int:
    """Append events and return how many there were; they are dated now, see `audience.events`.

    Left out are those of sendings that the account does not have, of recipients whom it does not know any more, and of
    mails that the recipient was not sent.

    Args:
        connection: in a writing transaction.
        events: of any accounts.
    """
    of_accounts: defaultdict[int, list[TrackedEvent]] = defaultdict(list)
    for event in events:
        of_accounts[event.account_id].append(event)
    return sum(_append_of_account(connection, id_, of_accounts[id_]) for id_ in sorted(of_accounts))


def _append_of_account(connection: Connection, account_id: int, events: Sequence[TrackedEvent]) -> int:
    pairs = {(event.sending_id, event.recipient_id) for event in events}
    sent = _find_sent(connection, account_id, pairs)
    return append_mail_events(connection, account_id, _complete(events, sent, datetime.now(UTC))) if sent else 0


def _complete(events: Iterable[TrackedEvent], sent: Mapping[_Pair, _Sent], now: datetime) -> Iterator[MailEvent]:
    for event in events:
        mail = sent.get((event.sending_id, event.recipient_id))
        if mail is not None:
            yield MailEvent(
                list_id=mail.list_id,
                sending_id=event.sending_id,
                recipient_id=event.recipient_id,
                email=mail.email,
                kind=event.kind,
                at=now,
                # A server may open a mail before its sender knows that it has it.
                sent_at=mail.sent_at or now,
                details=event.url,
                ip_address=event.ip_address,
                user_agent=event.user_agent,
            )


def _find_sent(connection: Connection, account_id: int, pairs: set[_Pair]) -> dict[_Pair, _Sent]:
    """Return what is known of the mails of these sendings to these recipients."""
    statements = _STATEMENTS[connection.dialect.name]
    # Rows of the queue go after a while; what was sent in them stays.
    found = _look_up(connection, statements.queued, account_id, pairs)
    missing = pairs - found.keys()
    return found | _look_up(connection, statements.past, account_id, missing) if missing else found


def _look_up(connection: Connection, statement: Any, account_id: int, pairs: set[_Pair]) -> dict[_Pair, _Sent]:
    values = {"account_id": account_id, "pairs": orjson.dumps(sorted(pairs)).decode()}
    return {(row[0], row[1]): _Sent(*row[2:]) for row in connection.execute(statement, values)}


# Whoever was forgotten has no address. The lock, as a foreign key would take it, has those wait who forget him now, so
# that what is appended here is not missed by them.
_FIND = """
SELECT pair.sending_id, pair.recipient_id, known.list_id, known.{email} AS email, known.sent_at
FROM ({pairs}) AS pair
CROSS JOIN {table} AS known
CROSS JOIN sending
CROSS JOIN recipient
WHERE known.sending_id = pair.sending_id AND known.recipient_id = pair.recipient_id
    AND known.account_id = :account_id AND {condition}
    AND sending.id = pair.sending_id AND sending.account_id = :account_id
    AND recipient.id = pair.recipient_id AND recipient.account_id = :account_id AND recipient.email IS NOT NULL
ORDER BY recipient.id {lock}
"""
_WORDS = {
    "sqlite": {
        "pairs": "SELECT json_extract(value, '$[0]') AS sending_id, json_extract(value, '$[1]') AS recipient_id"
        " FROM json_each(:pairs)",
        "lock": "",
    },
    "postgresql": {
        "pairs": "SELECT CAST(value ->> 0 AS bigint) AS sending_id, CAST(value ->> 1 AS bigint) AS recipient_id"
        " FROM json_array_elements(CAST(:pairs AS json))",
        "lock": "FOR KEY SHARE OF recipient",
    },
}


def _prepare(words: Mapping[str, str]) -> SimpleNamespace:
    queued = {"table": "delivery", "email": "address", "condition": "sending.channel = 1"}
    past = {"table": "mail_event", "email": "email", "condition": f"known.kind = {MailEventKind.SENT:d}"}
    return SimpleNamespace(
        **{
            name: text(_FIND.format(**words, **source)).columns(sent_at=UtcDateTime)
            for name, source in (("queued", queued), ("past", past))
        }
    )


_STATEMENTS = {dialect: _prepare(words) for dialect, words in _WORDS.items()}
