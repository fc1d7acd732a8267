"""Fetches mails that come back from a mailbox, for those whose own mail server takes them (IMAP, RFC 3501).

A mail is marked as seen once it is kept in the database, so that one that was fetched before a crash is fetched again,
and recognised.
"""

from __future__ import annotations

import imaplib
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.utils import getaddresses
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog

from db.engine import Database
from db.retry import retry_on_conflict
from delivery.bounces import MAX_READ
from delivery.inbound_mails import keep_mail

log = structlog.get_logger()

TIMEOUT_SECONDS = 60
BATCH = 50
_PORTS = {"imaps": 993, "imap": 143}
_ENVELOPE_HEADERS = ("Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "To", "Cc")
_MAX_RECIPIENTS = 20
_MAX_HEADER = 4_000


class MailboxError(Exception):
    """The mailbox cannot be read; the text tells why and nothing secret."""


@dataclass(frozen=True, slots=True)
class _Address:
    """Of a mailbox."""

    is_tls: bool
    host: str
    port: int
    user: str
    password: str
    folder: str


def fetch_mailbox(database: Database, url: str, stop: threading.Event) -> int:
    """Keep all mails of a mailbox that nobody has seen; return how many were new.

    Of each mail no more is fetched than a report is read for, `delivery.bounces.MAX_READ` bytes.

    Args:
        database: where they are kept.
        url: `imaps://USER:PASSWORD@HOST:PORT/FOLDER`, or `imap://` for a server that is asked for STARTTLS and used
            without it when it has none. User and password are percent-encoded; the folder is INBOX without a path.
        stop: set when nothing new is to be begun.

    Raises:
        MailboxError: the URL is none of a mailbox, or the server cannot be reached, does not let this user in, has no
            such folder, or ended the connection.
    """
    address = _read_url(url)
    try:
        with _open(address) as server:
            _log_in(server, address)
            _check(server.select(_quote(address.folder)), "The mailbox has no such folder.")
            return sum(_fetch(database, server, batch) for batch in _unseen(server, stop))
    except (imaplib.IMAP4.error, ssl.SSLError, OSError) as error:
        raise MailboxError(f"The mailbox cannot be read: {type(error).__name__}.") from None


def _read_url(url: str) -> _Address:
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (KeyError, ValueError):
        raise MailboxError("A mailbox is imaps://USER:PASSWORD@HOST/FOLDER.") from None
    folder = unquote(parts.path.strip("/")) or "INBOX"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not (parts.hostname and user and folder.isascii() and folder.isprintable()):
        raise MailboxError("A mailbox is imaps://USER:PASSWORD@HOST/FOLDER.")
    return _Address(parts.scheme == "imaps", parts.hostname, port, user, password, folder)


def _open(address: _Address) -> imaplib.IMAP4:
    context = ssl.create_default_context()
    if address.is_tls:
        return imaplib.IMAP4_SSL(address.host, address.port, ssl_context=context, timeout=TIMEOUT_SECONDS)
    server = imaplib.IMAP4(address.host, address.port, timeout=TIMEOUT_SECONDS)
    try:
        if "STARTTLS" in server.capabilities:
            server.starttls(context)
    except BaseException:
        with suppress(OSError):
            server.shutdown()
        raise
    return server


def _log_in(server: imaplib.IMAP4, address: _Address) -> None:
    try:
        server.login(address.user, address.password)
    except imaplib.IMAP4.abort:
        raise
    except imaplib.IMAP4.error:
        # Its text may repeat what was sent.
        raise MailboxError("The mail server does not let this user in.") from None


def _unseen(server: imaplib.IMAP4, stop: threading.Event) -> Iterator[list[bytes]]:
    """Yield the unique ids of mails that nobody has seen, in batches, the oldest first."""
    found = _check(server.uid("SEARCH", "UNSEEN"), "The mailbox cannot be searched.")
    ids = (found[0] or b"").split()
    for start in range(0, len(ids), BATCH):
        if stop.is_set():
            return
        yield ids[start : start + BATCH]


def _fetch(database: Database, server: imaplib.IMAP4, ids: list[bytes]) -> int:
    """Keep some mails, then mark them; return how many were new."""
    some = b",".join(ids).decode("ascii")
    answers = _check(server.uid("FETCH", some, f"(UID BODY.PEEK[]<0.{MAX_READ}>)"), "Mails cannot be fetched.")
    mails = [answer[1] for answer in answers if isinstance(answer, tuple)]

    def keep() -> int:
        with database.write() as connection:
            return sum(keep_mail(connection, "imap", "", _recipients_of(mail), mail) for mail in mails)

    new = retry_on_conflict(keep)
    _check(server.uid("STORE", some, "+FLAGS.SILENT", r"(\Seen)"), "Mails cannot be marked.")
    log.info("mails_fetched", mails=len(mails), new=new)
    return new


def _recipients_of(mail: bytes) -> list[str]:
    """Return whom a mail was delivered to, as far as its headers tell; what they claim is not believed unsigned."""
    headers = message_from_bytes(mail.partition(b"\r\n\r\n")[0], policy=policy.compat32)
    values = [str(value)[:_MAX_HEADER] for name in _ENVELOPE_HEADERS for value in headers.get_all(name, [])]
    addresses = (address for _name, address in getaddresses(values[:_MAX_RECIPIENTS]))
    return list(dict.fromkeys(address for address in addresses if "@" in address))[:_MAX_RECIPIENTS]


def _quote(folder: str) -> str:
    escaped = folder.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _check(answer: tuple[str, list[Any]], problem: str) -> list[Any]:
    """Return the data of an answer.

    Raises:
        MailboxError: the server did not do it.
    """
    status, data = answer
    if status != "OK":
        raise MailboxError(problem)
    return data
