"""The outbox: mails asked for by the changes they are about, in the same transaction, until they go out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal

from sqlalchemy import BigInteger, ColumnElement, Connection, Exists, Row, Select, and_, cast, exists, func, or_, select

from audience.list_settings import read_settings
from audience.lists import MailingList
from audience.status_rules import FINAL_REASONS, Channel, Reason, State, Status
from audience.subscriptions import Change
from db.functions import insert_into
from db.tables import account, import_run, mailing_list, outbox, recipient, subscription
from delivery.links import LinkKind, write_token

MailKind = Literal["confirmation", "welcome", "goodbye", "unsubscribe-notice"]

LINK_PATHS: dict[LinkKind, str] = {"confirm": "/confirm/", "unsubscribe": "/unsubscribe/"}
"""Where the pages are that links lead to; the token follows."""
_LINKS: dict[str, LinkKind] = {"confirmation": "confirm", "welcome": "unsubscribe"}
"""The link that a mail cannot do without."""
_ENDED = ("completed", "failed", "skipped", "cancelled")
"""States of an import that has ended, well or not: who it has made pending is pending."""
_FOR_GOOD = (*FINAL_REASONS, Reason.FORGOTTEN)
"""Why somebody was unsubscribed who is not written to any more, not even to say goodbye."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Whom a mail comes from, instead of the list's own sender."""

    email: str = ""
    name: str = ""


def queue_mail(
    connection: Connection,
    mailing: MailingList,
    recipient_id: int,
    kind: MailKind,
    *,
    list_ids: Iterable[int] = (),
    message_number: int | None = None,
    sender: Sender | None = None,
) -> None:
    """Ask for a mail, unless the same one is waiting already.

    A confirmation that waits confirms the further lists too, and one that an import has asked for is this caller's
    from now on: it neither waits for the import's end nor goes when the import is undone.

    Args:
        connection: in the writing transaction of the change that the mail is about.
        mailing: the list whose sender, texts and colours it has.
        recipient_id: who the mail goes to, or is about.
        kind: what it is.
        list_ids: of a confirmation: internal ids of the lists that it confirms.
        message_number: the account's message to use instead of the list's own.
        sender: instead of the list's own.
    """
    values: dict[str, Any] = {
        "account_id": mailing.account_id,
        "list_id": mailing.id,
        "recipient_id": recipient_id,
        "kind": kind,
        "list_ids": sorted(list_ids) or None,
        "message_number": message_number,
        "sender_email": (sender.email if sender else "") or None,
        "sender_name": (sender.name if sender else "") or None,
        "state": "waiting",
        "created_at": datetime.now(UTC),
    }
    insert = insert_into(connection, outbox).values(**values).on_conflict_do_nothing().returning(outbox.c.id)
    while connection.execute(insert).one_or_none() is None:
        if kind != "confirmation" or _take_over(connection, values):
            break


def _take_over(connection: Connection, wanted: dict[str, Any]) -> bool:
    """Let the confirmation that waits do for the wanted one too; False when it has gone out meanwhile."""
    query = select(outbox.c.id, outbox.c.list_ids, outbox.c.import_id).where(
        outbox.c.recipient_id == wanted["recipient_id"],
        outbox.c.list_id == wanted["list_id"],
        outbox.c.kind == "confirmation",
        outbox.c.state == "waiting",
    )
    row = connection.execute(query.with_for_update()).one_or_none()
    if row is None:
        return False
    own = [wanted["list_id"]]
    changes: dict[str, Any] = {}
    if row.import_id is not None:
        changes = {name: wanted[name] for name in ("message_number", "sender_email", "sender_name")}
        changes["import_id"] = None
    before = row.list_ids or own
    after = sorted({*before, *(wanted["list_ids"] or own)})
    if after != before:
        changes["list_ids"] = after
    if changes:
        connection.execute(outbox.update().where(outbox.c.id == row.id).values(**changes))
    return True


def queue_follow_ups(connection: Connection, mailing: MailingList, change: Change) -> None:
    """Ask for the mails that a list sends when somebody has come or gone, as its settings say.

    Args:
        connection: in the writing transaction of the change.
        mailing: the list with its settings.
        change: of an e-mail subscription; one that changed nothing is followed by nothing.
    """
    if change.before == change.after:
        return
    settings = read_settings(mailing.settings)
    if change.after == State.SUBSCRIBED and settings.welcome_mail:
        queue_mail(connection, mailing, change.recipient_id, "welcome")
    if change.after == State.UNSUBSCRIBED and settings.goodbye_mail:
        queue_mail(connection, mailing, change.recipient_id, "goodbye")
    if change.after == State.UNSUBSCRIBED and settings.unsubscribe_notice:
        queue_mail(connection, mailing, change.recipient_id, "unsubscribe-notice")


@dataclass(frozen=True, slots=True)
class QueuedMail:
    """A mail that is to go out now."""

    id: int
    account_number: int
    list_number: int
    kind: str
    address: str
    """Who it goes to: the recipient, or the list's staff."""
    about: str
    """The recipient's address."""
    link: str | None
    """To confirm with, or to unsubscribe with; other mails have none."""
    confirms: tuple[int, ...]
    """Numbers of the lists that the link of a confirmation confirms, without those deleted since."""
    message_number: int | None
    sender: Sender
    created_at: datetime
    state: str
    attempts: int
    """To send it, so far."""
    due_at: datetime | None
    """Not before then, after an attempt that did not work."""
    code: str | None
    """Why the last one did not."""
    account_id: int
    list_id: int
    """Of the list whose sender, texts and colours it has."""
    recipient_id: int
    list_names: tuple[str, ...]
    """Of the lists that it confirms; of another mail that of its own."""


def list_outbox(
    connection: Connection,
    *,
    public_url: str,
    account_id: int | None = None,
    limit: int = 100,
    states: Collection[str] = ("waiting", "sending"),
) -> list[QueuedMail]:
    """Return the mails that are to go out, the oldest first.

    Those of an import are to go out when it has ended, even if it failed half way. A request for confirmation is to
    go out only as long as there is something to confirm by e-mail, a welcome only while the recipient is subscribed,
    a goodbye only while he is unsubscribed and may still be written to. A mail to or about somebody who has no e-mail
    address any more is left out, and so is one of a deleted list, or to staff that is not named any more.

    Args:
        connection: reading.
        public_url: under which callers reach the pages, without a slash at its end.
        account_id: only those of this account.
        limit: most mails.
        states: in which they are.
    """
    query = _select_wanted(connection.dialect.name).where(outbox.c.state.in_(states), is_released())
    if account_id is not None:
        query = query.where(outbox.c.account_id == account_id)
    return _read_mails(connection, query.order_by(outbox.c.id).limit(limit), public_url)


def find_mail(connection: Connection, mail_id: int, *, public_url: str) -> QueuedMail | None:
    """Return a mail, whatever its state; None when it is not to go out any more, see `list_outbox`."""
    query = _select_wanted(connection.dialect.name).where(outbox.c.id == mail_id)
    return next(iter(_read_mails(connection, query, public_url)), None)


def is_released() -> ColumnElement[bool]:
    """Return the condition that a mail of the outbox does not wait for the end of an import."""
    ended = exists().where(import_run.c.id == outbox.c.import_id, import_run.c.state.in_(_ENDED))
    return or_(outbox.c.import_id.is_(None), ended)


def join_waiting(connection: Connection, mail_id: int) -> bool:
    """Let the same mail that was asked for again, and waits, do for one that cannot wait beside it.

    Args:
        connection: in a writing transaction.
        mail_id: of the one that cannot.

    Returns:
        False when there is none that waits.
    """
    columns = ("recipient_id", "list_id", "kind", "list_ids", "message_number", "sender_email", "sender_name")
    query = select(*(outbox.c[name] for name in columns)).where(outbox.c.id == mail_id)
    return _take_over(connection, dict(connection.execute(query).one()._mapping))


def _read_mails(connection: Connection, query: Select[Any], public_url: str) -> list[QueuedMail]:
    now = datetime.now(UTC)
    rows = connection.execute(query).all()
    named = _named_lists(connection, {list_id for row in rows for list_id in _linked_lists(row)})
    return [_describe(row, named, public_url, now) for row in rows]


def _named_lists(connection: Connection, list_ids: Collection[int]) -> dict[int, tuple[int, str]]:
    here = mailing_list.c.id.in_(list_ids) & mailing_list.c.deleted_at.is_(None)
    query = select(mailing_list.c.id, mailing_list.c.number, mailing_list.c.name).where(here)
    return {row.id: (row.number, row.name) for row in connection.execute(query)}


@cache
def _select_wanted(dialect: str) -> Select[Any]:
    tables = (
        outbox.join(account, account.c.id == outbox.c.account_id)
        .join(mailing_list, mailing_list.c.id == outbox.c.list_id)
        .join(recipient, recipient.c.id == outbox.c.recipient_id)
    )
    return (
        select(
            outbox,
            account.c.number.label("account_number"),
            account.c.secret_key,
            mailing_list.c.number.label("list_number"),
            mailing_list.c.settings,
            recipient.c.email,
        )
        .select_from(tables)
        .where(
            _is_still_wanted(dialect),
            recipient.c.account_id == outbox.c.account_id,
            recipient.c.email.is_not(None),
            mailing_list.c.deleted_at.is_(None),
        )
    )


def _is_still_wanted(dialect: str) -> ColumnElement[bool]:
    """Whether what a mail says is still so; much may have happened since it was asked for."""
    kind = outbox.c.kind
    reason = func.coalesce(subscription.c.reason_type, Reason.ADMINISTRATOR)
    gone = _is(Status.UNSUBSCRIBED).where(reason.not_in(_FOR_GOOD))
    return or_(
        and_(kind == "confirmation", _is_pending(dialect)),
        and_(kind == "welcome", _is(Status.SUBSCRIBED)),
        and_(kind == "goodbye", gone),
        and_(kind == "unsubscribe-notice", mailing_list.c.settings["unsubscribe_notice"].as_string() != ""),
    )


def _is(status: Status) -> Exists:
    """Whether a mail's recipient has this status by e-mail in the mail's own list."""
    return exists().where(
        subscription.c.recipient_id == outbox.c.recipient_id,
        subscription.c.list_id == outbox.c.list_id,
        subscription.c.channel == Channel.EMAIL,
        subscription.c.status == status,
    )


def _is_pending(dialect: str) -> Exists:
    """Whether a confirmation's recipient is pending in any of its lists: those it names, or else its own."""
    elements = func.json_each if dialect == "sqlite" else func.json_array_elements_text
    named = select(cast(elements(outbox.c.list_ids).table_valued("value").c.value, BigInteger))
    own = outbox.c.list_ids.is_(None) & (subscription.c.list_id == outbox.c.list_id)
    return exists().where(
        subscription.c.recipient_id == outbox.c.recipient_id,
        subscription.c.channel == Channel.EMAIL,
        subscription.c.status == Status.PENDING,
        own | subscription.c.list_id.in_(named),
    )


def _describe(row: Row[Any], named: Mapping[int, tuple[int, str]], public_url: str, now: datetime) -> QueuedMail:
    staff = read_settings(row.settings).unsubscribe_notice
    lists = [named[list_id] for list_id in _linked_lists(row) if list_id in named]
    return QueuedMail(
        id=row.id,
        account_number=row.account_number,
        list_number=row.list_number,
        kind=row.kind,
        address=staff if row.kind == "unsubscribe-notice" else row.email,
        about=row.email,
        link=_write_link(row, public_url, now),
        confirms=tuple(number for number, _ in lists) if row.kind == "confirmation" else (),
        message_number=row.message_number,
        sender=Sender(row.sender_email or "", row.sender_name or ""),
        created_at=row.created_at,
        state=row.state,
        attempts=row.attempts,
        due_at=row.due_at,
        code=row.code,
        account_id=row.account_id,
        list_id=row.list_id,
        recipient_id=row.recipient_id,
        list_names=tuple(name for _, name in lists),
    )


def _linked_lists(row: Row[Any]) -> list[int]:
    # The pages are those of the list that the mail is of.
    return sorted(row.list_ids or [row.list_id], key=lambda list_id: bool(list_id != row.list_id))


def _write_link(row: Row[Any], public_url: str, now: datetime) -> str | None:
    kind = _LINKS.get(row.kind)
    if kind is None:
        return None
    token = write_token(
        row.secret_key,
        kind,
        account_number=row.account_number,
        recipient_id=row.recipient_id,
        email=row.email,
        list_ids=_linked_lists(row),
        issued_at=now,
    )
    return f"{public_url}{LINK_PATHS[kind]}{token}"
