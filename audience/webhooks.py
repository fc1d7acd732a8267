"""Webhooks: who is told of changes to a list, and the notifications that the changes leave for them.

A notification is written in the transaction of the change, with the person's data as they were then;
`jobs.notifications` delivers it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, Select, delete, func, select

from audience.errors import InvalidWebhook, UnknownWebhook
from audience.history import Cause
from audience.lists import MailingList, lists_of
from audience.numbers import take_number
from audience.status_rules import Channel, Status
from db.tables import account, group_member, list_group, mailing_list, notification, recipient, subscription, webhook

Event = Literal["subscribe", "unsubscribe", "profile", "delete", "pending", "import"]
Source = Literal["api", "console", "recipient"]
Method = Literal["GET", "POST"]
Format = Literal["form", "rc4", "json"]

PARAMETERS = (
    "date",
    "account",
    "list",
    "message",
    "event",
    "source",
    "reason",
    "email",
    "prefix",
    "number",
    "groups",
    "channel",
    "channel+1",
    "import",
    "file",
    "state",
    "code",
    "total",
    "refused",
    "noted",
)
"""What a parameter can stand for, beside `field:N`."""

SWITCHED_OFF = "switched off"
MAX_NAME = 200
MAX_URL = 2000
MAX_SECRET = 256
"""Bytes; the longest key of RC4."""

NOBODY = 0
"""Recipient of a notification that is about no recipient."""

# Only these have a reason; a page's cause names one for whatever it may do.
_ENDINGS = ("unsubscribe", "delete")
# So that whoever asks for a recipient's data in a notification about none gets empty values.
_NOBODYS_DATA: Mapping[str, Any] = {
    "email": None,
    "mobile": None,
    "fields": {},
    "groups": [],
    "channel": int(Channel.EMAIL),
    "reason_type": None,
    "reason_subtype": None,
}
_FIELD = re.compile(r"field:[1-9][0-9]{0,3}")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_HOST = re.compile(r"[^\s/?#@\\\[\]%]+")

# Doors that tell nobody, such as web services and imports, are absent.
_SOURCES: dict[str, Source] = {
    "page": "api",
    "link": "recipient",
    "mail": "recipient",
    "bounce": "recipient",
    "console": "console",
    "command-line": "console",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """What is told to whom, and how."""

    name: str
    url: str
    event: Event
    sources: tuple[Source, ...] = get_args(Source)
    """Where a change must have come from: a page that a program called, the console, or the recipient himself."""
    method: Method = "POST"
    format: Format = "form"
    secret: str | None = dataclasses.field(default=None, repr=False)
    """Key of the RC4 cipher, or of the signature of the JSON form."""
    parameters: tuple[tuple[str, str], ...] = ()
    """Names, and what each stands for: one of `PARAMETERS` or `field:N`."""
    active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A webhook of a list."""

    id: int
    account_id: int
    number: int
    list_number: int
    settings: WebhookSettings


def add_webhook(connection: Connection, mailing: MailingList, settings: WebhookSettings) -> Webhook:
    """Add a webhook to a list.

    Raises:
        InvalidWebhook: see `check_settings`.
    """
    check_settings(settings)
    number = take_number(connection, mailing.account_id, "webhook")
    inserted = connection.execute(
        webhook.insert().values(
            account_id=mailing.account_id,
            number=number,
            list_id=mailing.id,
            created_at=datetime.now(UTC),
            **_to_columns(settings),
        )
    )
    assert inserted.inserted_primary_key is not None
    return Webhook(
        id=inserted.inserted_primary_key[0],
        account_id=mailing.account_id,
        number=number,
        list_number=mailing.number,
        settings=settings,
    )


def change_webhook(connection: Connection, account_id: int, number: int, **changes: Any) -> Webhook:
    """Change some settings of a webhook; when it is switched off, nothing of what waits for it is told any more.

    Args:
        connection: in a writing transaction.
        account_id: whose webhook it is.
        number: of the webhook.
        changes: by names of `WebhookSettings`.

    Raises:
        UnknownWebhook: the account has no such webhook.
        InvalidWebhook: see `check_settings`.
    """
    found = find_webhook(connection, account_id, number)
    settings = dataclasses.replace(found.settings, **changes)
    check_settings(settings)
    connection.execute(webhook.update().where(webhook.c.id == found.id).values(**_to_columns(settings)))
    if not settings.active:
        drop = notification.update().where(notification.c.webhook_id == found.id, notification.c.state == "waiting")
        connection.execute(drop.values(**finished("failed", None, SWITCHED_OFF, datetime.now(UTC))))
    return dataclasses.replace(found, settings=settings)


def remove_webhook(connection: Connection, account_id: int, number: int) -> None:
    """Remove a webhook with all its notifications, told or not.

    Raises:
        UnknownWebhook: the account has no such webhook.
    """
    here = (webhook.c.account_id == account_id) & (webhook.c.number == number)
    webhook_id = connection.execute(select(webhook.c.id).where(here).with_for_update()).scalar_one_or_none()
    if webhook_id is None:
        raise UnknownWebhook(f"There is no webhook {number} in this account.")
    connection.execute(delete(notification).where(notification.c.webhook_id == webhook_id))
    connection.execute(delete(webhook).where(webhook.c.id == webhook_id))


def find_webhook(connection: Connection, account_id: int, number: int) -> Webhook:
    """Return a webhook of an account.

    Raises:
        UnknownWebhook: the account has no such webhook.
    """
    query = _webhooks(account_id).where(webhook.c.number == number)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise UnknownWebhook(f"There is no webhook {number} in this account.")
    return _from_row(row)


def webhooks_of(connection: Connection, account_id: int) -> list[Webhook]:
    """Return the webhooks of an account by number."""
    return [_from_row(row) for row in connection.execute(_webhooks(account_id).order_by(webhook.c.number))]


def announce(
    connection: Connection,
    mailing: MailingList,
    recipient_id: int,
    event: Event,
    cause: Cause,
    *,
    at: datetime | None = None,
    due: datetime | None = None,
    channel: Channel = Channel.EMAIL,
) -> None:
    """Leave a notification of a change for each webhook of the list that wants to know of it.

    Args:
        connection: in the writing transaction of the change, after the change; the recipient must be there still.
        mailing: the list it happened in.
        recipient_id: whose notifications are delivered in the order of these calls.
        event: what happened.
        cause: its source decides whether it is told; web services and imports are not.
        at: when it happened; now if not given.
        due: when to tell it; at once if not given.
        channel: of the subscription that changed.
    """
    source = _SOURCES.get(cause.source)
    if source is None:
        return
    wanting = _find_wanting(connection, mailing, event)
    webhook_ids = [row.id for row in wanting if source in row.sources]
    if not webhook_ids:
        return
    now = at or datetime.now(UTC)
    values = {
        "account_id": mailing.account_id,
        "recipient_id": recipient_id,
        "event": event,
        "source": source,
        "at": now,
        "content": {
            **_describe(connection, mailing, recipient_id),
            "channel": int(channel),
            "reason_type": cause.reason if event in _ENDINGS else None,
            "reason_subtype": cause.subtype if event in _ENDINGS else None,
            "message_number": cause.message_number,
        },
        "state": "waiting",
        "due_at": due or now,
        "attempts": 0,
    }
    connection.execute(notification.insert(), [{"webhook_id": webhook_id, **values} for webhook_id in webhook_ids])


def _find_wanting(connection: Connection, mailing: MailingList, event: Event) -> list[Any]:
    # Locked, so that nobody removes the webhook before its notification is there.
    wanting = (
        select(webhook.c.id, webhook.c.sources)
        .where(webhook.c.list_id == mailing.id, webhook.c.active, webhook.c.event == event)
        .order_by(webhook.c.id)
        .with_for_update(read=True, key_share=True)
    )
    return list(connection.execute(wanting))


def announce_import(connection: Connection, mailing: MailingList, ended: Mapping[str, Any]) -> None:
    """Leave a notification of the end of an import for each webhook of the list that wants to know of it.

    A program's file counts as coming from a program, whatever sources a webhook names. Notifications of imports are
    delivered in the order of these calls.

    Args:
        connection: in the writing transaction that ends the import.
        mailing: the list that the file's folder belongs to; of one that was deleted nobody is told.
        ended: what is told: `number`, `file`, `state`, `code`, `text` and `counters`.
    """
    gone = select(mailing_list.c.id).where(mailing_list.c.id == mailing.id, mailing_list.c.deleted_at.is_not(None))
    wanting = _find_wanting(connection, mailing, "import")
    if not wanting or connection.execute(gone).first() is not None:
        return
    owner = connection.execute(select(account.c.number).where(account.c.id == mailing.account_id)).scalar_one()
    now = datetime.now(UTC)
    values = {
        "account_id": mailing.account_id,
        "recipient_id": NOBODY,
        "event": "import",
        "source": "api",
        "at": now,
        "content": {
            "account_number": owner,
            "list_number": mailing.number,
            "list_guid": mailing.guid,
            **_NOBODYS_DATA,
            "import": dict(ended),
        },
        "state": "waiting",
        "due_at": now,
        "attempts": 0,
    }
    connection.execute(notification.insert(), [{"webhook_id": row.id, **values} for row in wanting])


def announce_elsewhere(connection: Connection, mailing: MailingList, recipient_id: int, cause: Cause) -> None:
    """Announce a change of personal data, which are the account's, in its other lists that the recipient is in.

    Args:
        connection: in the writing transaction of the change, after the change.
        mailing: the list through which it came, which is left out.
        recipient_id: who is subscribed, or has to confirm that, in the lists told.
        cause: as for `announce`.
    """
    if cause.source not in _SOURCES:
        return
    his = (
        select(subscription.c.list_id, func.min(subscription.c.channel))
        .join(webhook, webhook.c.list_id == subscription.c.list_id)
        .where(webhook.c.active, webhook.c.event == "profile", webhook.c.list_id != mailing.id)
        .where(subscription.c.recipient_id == recipient_id)
        .where(subscription.c.status.in_((Status.SUBSCRIBED, Status.PENDING)))
        .group_by(subscription.c.list_id)
    )
    channels = {list_id: Channel(channel) for list_id, channel in connection.execute(his)}
    others = lists_of(connection, mailing.account_id) if channels else []
    for other in others:
        if other.id in channels:
            announce(connection, other, recipient_id, "profile", cause, channel=channels[other.id])


def finished(state: Literal["delivered", "failed"], status: int | None, text: str, at: datetime) -> dict[str, Any]:
    """Return the column values of a notification that nothing more will be done for.

    Args:
        state: how it ended.
        status: HTTP status of the last answer, None without one.
        text: the beginning of that answer, or why there was none.
        at: when.
    """
    return {
        "state": state,
        "finished_at": at,
        "answer_status": status,
        "answer_text": text,
        "lease_owner": None,
        "lease_until": None,
        # Personal data is kept no longer than needed.
        "content": {},
    }


def check_settings(settings: WebhookSettings) -> None:
    """Refuse settings that cannot work.

    Raises:
        InvalidWebhook: the text says what is wrong.
    """
    if not 0 < len(settings.name.strip()) <= MAX_NAME:
        raise InvalidWebhook(f"The name of a webhook has 1 to {MAX_NAME} characters.")
    _check_choice("event", settings.event, Event)
    _check_choice("method", settings.method, Method)
    _check_choice("format", settings.format, Format)
    for source in settings.sources:
        _check_choice("source", source, Source)
    if not settings.sources or len(set(settings.sources)) < len(settings.sources):
        raise InvalidWebhook("A webhook has one or more sources, each once.")
    _check_url(settings.url)
    _check_secret(settings)
    _check_parameters(settings)


def _check_choice(what: str, value: str, choices: Any) -> None:
    known = get_args(choices)
    if value not in known:
        raise InvalidWebhook(f"The {what} of a webhook is one of {', '.join(known)}.")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidWebhook("The address of a webhook is not a URL.") from None
    if len(url) > MAX_URL or _CONTROL.search(url):
        raise InvalidWebhook(f"The address of a webhook has at most {MAX_URL} characters, and no spaces among them.")
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host):
        raise InvalidWebhook("The address of a webhook begins with http:// or https:// and a host.")
    if "@" in parts.netloc:
        raise InvalidWebhook("The address of a webhook names no user and no password.")
    if parts.fragment:
        raise InvalidWebhook("The address of a webhook has no fragment.")


def _check_secret(settings: WebhookSettings) -> None:
    if settings.format == "form":
        return
    if not settings.secret:
        raise InvalidWebhook(f"The format {settings.format} needs a secret.")
    if len(settings.secret.encode()) > MAX_SECRET:
        raise InvalidWebhook(f"A secret has at most {MAX_SECRET} bytes.")


def _check_parameters(settings: WebhookSettings) -> None:
    if settings.format == "json":
        if settings.method != "POST":
            raise InvalidWebhook("The format json is sent by POST.")
        if settings.parameters:
            raise InvalidWebhook("The format json has a content of its own and takes no parameters.")
    names = [name for name, _ in settings.parameters]
    if len(set(names)) < len(names):
        raise InvalidWebhook("The parameters of a webhook have different names.")
    for name, kind in settings.parameters:
        if not 0 < len(name) <= MAX_NAME:
            raise InvalidWebhook(f"The name of a parameter has 1 to {MAX_NAME} characters.")
        if kind not in PARAMETERS and not _FIELD.fullmatch(kind):
            raise InvalidWebhook(f"A parameter stands for one of {', '.join(PARAMETERS)} or field:N, not for {kind}.")


def _describe(connection: Connection, mailing: MailingList, recipient_id: int) -> dict[str, Any]:
    """Return what may have to be told of a recipient and his list, as it is now."""
    query = (
        select(recipient.c.email, recipient.c.mobile, recipient.c.fields, account.c.number)
        .join(account, account.c.id == recipient.c.account_id)
        .where(recipient.c.id == recipient_id)
    )
    person = connection.execute(query).one()
    groups = (
        select(list_group.c.number)
        .join(group_member, group_member.c.group_id == list_group.c.id)
        .where(group_member.c.recipient_id == recipient_id, list_group.c.list_id == mailing.id)
        .order_by(list_group.c.number)
    )
    return {
        "account_number": person.number,
        "list_number": mailing.number,
        "list_guid": mailing.guid,
        "email": person.email,
        "mobile": person.mobile,
        "fields": person.fields,
        "groups": list(connection.execute(groups).scalars()),
    }


def _webhooks(account_id: int) -> Select[Any]:
    query = select(webhook, mailing_list.c.number.label("list_number"))
    here = (webhook.c.account_id == account_id) & mailing_list.c.deleted_at.is_(None)
    return query.join(mailing_list, mailing_list.c.id == webhook.c.list_id).where(here)


def _to_columns(settings: WebhookSettings) -> dict[str, Any]:
    values = {item.name: getattr(settings, item.name) for item in dataclasses.fields(WebhookSettings)}
    return {**values, "sources": list(settings.sources), "parameters": [list(pair) for pair in settings.parameters]}


def _from_row(row: Row[Any]) -> Webhook:
    return Webhook(
        id=row.id,
        account_id=row.account_id,
        number=row.number,
        list_number=row.list_number,
        settings=read_webhook_settings(row),
    )


def read_webhook_settings(row: Row[Any]) -> WebhookSettings:
    """Return the settings that a row of the table holds."""
    values = {item.name: getattr(row, item.name) for item in dataclasses.fields(WebhookSettings)}
    parameters: Sequence[Sequence[str]] = row.parameters
    values |= {"sources": tuple(row.sources), "parameters": tuple((name, kind) for name, kind in parameters)}
    return WebhookSettings(**values)
