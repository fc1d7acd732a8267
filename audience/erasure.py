"""The right to be forgotten: takes what is known of a person away, and sees to it that nobody adds him again.

What stays is that somebody was here: his subscriptions, ended, and the instants of his history, without addresses,
values or machines. Copies of files that he came in are not of the audience; `docs/history.md` says when they go.
"""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import phonenumbers
from sqlalchemy import Connection, Row, and_, delete, exists, false, func, literal, select

from audience.errors import UnknownRecipient
from audience.history import Cause, HistoryKind
from audience.lists import lists_of
from audience.status_rules import Channel, Reason, Status
from audience.subscriptions import Address
from audience.suppressions import (
    add_suppressions,
    digest_address,
    has_suppressions,
    is_suppressed,
    lock_suppressions,
    remove_suppression,
    suppressed_among,
)
from audience.webhooks import announce
from db.tables import (
    account,
    delivery,
    group_member,
    history,
    import_error,
    import_run,
    mail_event,
    notification,
    outbox,
    recipient,
    sending,
    sms_event,
    soft_bounce,
    subscription,
    webhook,
)

__all__ = [
    "Erasure",
    "digest_address",
    "erase_recipient",
    "has_suppressions",
    "is_suppressed",
    "lock_suppressions",
    "readmit_address",
    "suppressed_among",
]

_SEPARATORS = b" -./()\xa0\xc2"
"""In a number as people write it; the last two are a no-break space in cp1252 and UTF-8."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was taken away."""

    recipient_id: int
    ended: int
    """Subscriptions that were not unsubscribed before."""
    refused_rows: int
    """Refused rows of imports in which an address of his stood."""


def erase_recipient(connection: Connection, account_id: int, address: Address, cause: Cause) -> Erasure:
    """Forget the recipient who has this address, all his addresses and all that is known of him.

    Subscriptions end with the reason 1024 (mailup specification, section 6.4). His addresses are kept as keyed
    digests, so that no door adds him again.

    Args:
        connection: in a writing transaction.
        account_id: whose recipient he is.
        address: his e-mail address or mobile number.
        cause: for the history.

    Raises:
        UnknownRecipient: nobody in the account has the address.
    """
    lock_suppressions(connection, account_id, exclusive=True)
    person = _lock_person(connection, account_id, address)
    now = datetime.now(UTC)
    addresses = [*_addresses(person), *_earlier_addresses(connection, account_id, person.id)]
    _suppress(connection, account_id, addresses)
    under_way_until = _scrub_messages(connection, account_id, person.id, now)
    _announce(connection, account_id, person.id, cause, under_way_until or now)
    ended = _end_subscriptions(connection, account_id, person.id, cause, now)
    connection.execute(delete(group_member).where(group_member.c.recipient_id == person.id))
    _scrub_history(connection, person.id)
    _record(connection, account_id, person.id, cause, now)
    for his_rows in (mail_event, sms_event, soft_bounce):
        connection.execute(delete(his_rows).where(his_rows.c.recipient_id == person.id))
    _empty_queue(connection, account_id, person.id)
    _scrub_targets(connection, account_id, {address.value for address in addresses})
    refused_rows = _scrub_refused_rows(connection, account_id, addresses)
    empty: dict[str, Any] = {"email": None, "mobile": None, "external_key": None, "fields": {}, "updated_at": now}
    connection.execute(recipient.update().where(recipient.c.id == person.id).values(**empty))
    return Erasure(person.id, ended, refused_rows)


def readmit_address(connection: Connection, account_id: int, address: Address) -> bool:
    """Let an address be added again, because its owner asked for it; False when nothing kept it out.

    A person who was forgotten by two addresses may be added by this one only.
    """
    query = select(account.c.secret_key).where(account.c.id == account_id)
    secret_key = connection.execute(query).scalar_one()
    return remove_suppression(connection, account_id, digest_address(secret_key, address.channel, address.value))


def _lock_person(connection: Connection, account_id: int, address: Address) -> Row[int, str | None, str | None]:
    key = recipient.c.email if address.channel == Channel.EMAIL else recipient.c.mobile
    query = select(recipient.c.id, recipient.c.email, recipient.c.mobile).where(
        key == address.value, recipient.c.account_id == account_id
    )
    person = connection.execute(query.with_for_update()).one_or_none()
    if person is None:
        raise UnknownRecipient("Nobody in this account has the address.")
    return person


def _addresses(person: Row[int, str | None, str | None]) -> list[Address]:
    both = ((Channel.EMAIL, person.email), (Channel.SMS, person.mobile))
    return [Address(channel, value) for channel, value in both if value is not None]


def _earlier_addresses(connection: Connection, account_id: int, recipient_id: int) -> list[Address]:
    """Return the addresses that his history tells of, without those that somebody else has by now."""
    query = select(history.c.details).where(
        history.c.recipient_id == recipient_id, history.c.kind == HistoryKind.PROFILE, history.c.details.is_not(None)
    )
    told = {
        Address(channel, values[name])
        for details in connection.execute(query).scalars()
        for values in (details["before"], details["after"])
        for name, channel in (("email", Channel.EMAIL), ("mobile", Channel.SMS))
        if values.get(name)
    }
    return [address for address in told if not _is_held(connection, account_id, address)]


def _is_held(connection: Connection, account_id: int, address: Address) -> bool:
    """Tell whether a recipient has an address now; the present ones of the person himself count elsewhere."""
    key = recipient.c.email if address.channel == Channel.EMAIL else recipient.c.mobile
    held = exists().where(key == address.value, recipient.c.account_id == account_id)
    return bool(connection.execute(select(held)).scalar_one())


def _suppress(connection: Connection, account_id: int, addresses: list[Address]) -> None:
    query = select(account.c.secret_key).where(account.c.id == account_id)
    secret_key = connection.execute(query).scalar_one()
    digests = [digest_address(secret_key, address.channel, address.value) for address in addresses]
    add_suppressions(connection, account_id, digests)


def _scrub_messages(connection: Connection, account_id: int, recipient_id: int, now: datetime) -> datetime | None:
    """Take back what was to be sent to him or about him, and empty what was told about him.

    What is being told at this moment cannot be taken back; returns when all of it will have ended, if there is any.
    """
    connection.execute(delete(outbox).where(outbox.c.recipient_id == recipient_id, outbox.c.state == "waiting"))
    webhooks = select(webhook.c.id).where(webhook.c.account_id == account_id)
    his = and_(notification.c.webhook_id.in_(webhooks), notification.c.recipient_id == recipient_id)
    under_way = func.coalesce(notification.c.lease_until >= now, false())
    connection.execute(delete(notification).where(his, notification.c.state == "waiting", ~under_way))
    connection.execute(notification.update().where(his).values(content={}, answer_text=None))
    ends = select(func.max(notification.c.lease_until)).where(his, notification.c.state == "waiting")
    until: datetime | None = connection.execute(ends).scalar_one()
    return until


def _empty_queue(connection: Connection, account_id: int, recipient_id: int) -> None:
    """Take him out of what is to be sent, which finds nobody there when it is his turn, and of what was."""
    # By sending, for which there is an index.
    sendings = select(sending.c.id).where(sending.c.account_id == account_id)
    his = and_(delivery.c.sending_id.in_(sendings), delivery.c.recipient_id == recipient_id)
    empty: dict[str, Any] = {"address": "", "domain": "", "values": None, "text": None}
    connection.execute(delivery.update().where(his).values(empty))


def _scrub_targets(connection: Connection, account_id: int, addresses: set[str]) -> None:
    """Take him out of those whom sendings were asked for by their addresses."""
    named = sending.c.target["to"].as_string() == "addresses"
    query = select(sending.c.id, sending.c.target).where(sending.c.account_id == account_id, named)
    rows = connection.execute(query.execution_options(yield_per=100))
    found = [row.id for row in rows if not addresses.isdisjoint(row.target["addresses"])]
    for sending_id in found:
        here = sending.c.id == sending_id
        # Somebody may have given it another target meanwhile.
        target = connection.execute(select(sending.c.target).where(here).with_for_update()).scalar_one()
        left = [address for address in target.get("addresses", ()) if address not in addresses]
        connection.execute(sending.update().where(here).values(target=target | {"addresses": left}))


def _announce(connection: Connection, account_id: int, recipient_id: int, cause: Cause, due: datetime) -> None:
    """Have those told who must forget him too; his address goes with that, and stays until they have been told."""
    his = select(subscription.c.list_id).where(subscription.c.recipient_id == recipient_id)
    list_ids = set(connection.execute(his).scalars())
    for mailing in lists_of(connection, account_id):
        if mailing.notifies and mailing.id in list_ids:
            announce(connection, mailing, recipient_id, "delete", replace(cause, reason=Reason.FORGOTTEN), due=due)


def _end_subscriptions(connection: Connection, account_id: int, recipient_id: int, cause: Cause, now: datetime) -> int:
    his = subscription.c.recipient_id == recipient_id
    ending = and_(his, subscription.c.status != Status.UNSUBSCRIBED)
    facts = {
        "account_id": account_id,
        "kind": HistoryKind.STATUS,
        "at": now,
        "new_status": Status.UNSUBSCRIBED,
        "reason_type": Reason.FORGOTTEN,
        "source": cause.source,
        "actor": cause.actor,
    }
    columns = [subscription.c.recipient_id, subscription.c.list_id, subscription.c.channel, subscription.c.status]
    rows = select(*columns, *(literal(value, history.c[name].type) for name, value in facts.items())).where(ending)
    names = ["recipient_id", "list_id", "channel", "old_status", *facts]
    record = history.insert().from_select(names, rows).execution_options(preserve_rowcount=True)
    ended = connection.execute(record).rowcount
    connection.execute(
        subscription.update()
        .where(his)
        .values(
            status=Status.UNSUBSCRIBED,
            changed_at=now,
            unsubscribed_at=func.coalesce(subscription.c.unsubscribed_at, literal(now, subscription.c.changed_at.type)),
            reason_type=Reason.FORGOTTEN,
            reason_subtype=None,
            message_id=None,
            source=cause.source,
        )
    )
    return ended


def _scrub_history(connection: Connection, recipient_id: int) -> None:
    """Take values and machines out of his history; names of users stay."""
    his = history.c.recipient_id == recipient_id
    actors = connection.execute(select(history.c.actor).where(his, history.c.actor.is_not(None)).distinct()).scalars()
    machines = [actor for actor in actors if _is_machine(actor)]
    connection.execute(history.update().where(his, history.c.details.is_not(None)).values(details=None))
    if machines:
        connection.execute(history.update().where(his, history.c.actor.in_(machines)).values(actor=None))


def _is_machine(actor: str) -> bool:
    with suppress(ValueError):
        ipaddress.ip_address(actor)
        return True
    return False


def _record(connection: Connection, account_id: int, recipient_id: int, cause: Cause, now: datetime) -> None:
    connection.execute(
        history.insert().values(
            account_id=account_id,
            recipient_id=recipient_id,
            kind=HistoryKind.ERASURE,
            at=now,
            reason_type=Reason.FORGOTTEN,
            source=cause.source,
            actor=cause.actor,
        )
    )


def _scrub_refused_rows(connection: Connection, account_id: int, addresses: list[Address]) -> int:
    """Empty the refused rows of imports that contain an address, in whichever case, encoding or grouping of digits."""
    key = (import_error.c.import_id, import_error.c.line, import_error.c.code)
    query = (
        select(*key, import_error.c.raw)
        .join(import_run, import_run.c.id == import_error.c.import_id)
        .where(import_run.c.account_id == account_id)
    )
    needles = {address.channel: _needles(address) for address in addresses}
    rows = connection.execute(query.execution_options(yield_per=1000))
    found = [tuple(row[:3]) for row in rows if _contains(row.raw, needles)]
    for import_id, line, code in found:
        here = and_(*(column == value for column, value in zip(key, (import_id, line, code), strict=True)))
        connection.execute(import_error.update().where(here).values(raw=b""))
    return len(found)


def _needles(address: Address) -> list[bytes]:
    if address.channel == Channel.SMS:
        try:
            return [str(phonenumbers.parse(address.value).national_number).encode()]
        except phonenumbers.NumberParseException:
            # It has no known country, so nobody can write it without its prefix.
            return [address.value.removeprefix("+").encode()]
    encoded = {address.value.encode(encoding, "replace") for encoding in ("utf-8", "cp1252")}
    return sorted(encoded)


def _contains(raw: bytes, needles: dict[Channel, list[bytes]]) -> bool:
    # Without zeros UTF-16 reads like ASCII.
    text = raw.replace(b"\x00", b"").lower()
    return any(needle in text for needle in needles.get(Channel.EMAIL, ())) or any(
        needle in text.translate(None, _SEPARATORS) for needle in needles.get(Channel.SMS, ())
    )
