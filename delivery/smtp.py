"""Sessions with mail servers (RFC 5321): one parcel after the other, in as few round trips as the server allows."""

from __future__ import annotations

import smtplib
import socket
import ssl
import time
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal, NoReturn

from delivery.parcels import NOT_WRITTEN, Outcome, Parcel

Security = Literal["opportunistic", "starttls", "tls", "none"]

CONNECT_SECONDS = 30.0
ANSWER_SECONDS = 120.0
"""How long a server may take for one answer; RFC 5321 section 4.5.3.2 asks for minutes."""
MAX_TEXT = 300
"""Characters of an answer that are kept."""
_READY_FOR_CONTENT = 354
_CLOSING = 421
_TEMPORARY = range(400, 500)
_DONE = range(200, 300)
_WANTED: tuple[Container[int], ...] = (_DONE, _DONE, (_READY_FOR_CONTENT,))
"""Answers to MAIL, RCPT and DATA by which a parcel is wanted."""
_NOT_IN_PATHS = frozenset("<> ")


class RouteDown(Exception):
    """No server could be reached, or none lets us in; whatever was to go there has to wait. The text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpOptions:
    """How mails leave."""

    relay: tuple[str, int] | Literal["mx"] | None = None
    """None: mails wait."""
    security: Security = "opportunistic"
    username: str = ""
    password: str = field(default="", repr=False)
    hello_name: str = "localhost"
    connections: int = 4
    """Lanes for sendings to many people."""
    connections_per_domain: int = 10
    per_minute_per_domain: int = 0
    """0: no limit."""
    retry_hours: float = 48.0


class SmtpSession:
    """A connection to one server; not for two threads at a time."""

    def __init__(self, host: str, port: int, options: SmtpOptions, *, security: Security | None = None) -> None:
        """Connect, greet, encrypt and log in.

        Raises:
            RouteDown: one of these did not work.
        """
        self._options = options
        security = security or options.security
        try:
            self._client = self._connect(host, port, security)
        except (OSError, smtplib.SMTPException) as error:
            raise RouteDown(f"{host}:{port}: {_describe(error)}") from None
        self._pipelines = self._client.has_extn("pipelining")
        self._takes_utf8 = self._client.has_extn("smtputf8")
        self._tells_size = self._client.has_extn("size")
        self._is_awaited = False
        """Whether the server waits for a content."""
        self.used_at = time.monotonic()
        self.sent = 0
        """Parcels since it was opened."""

    def _connect(self, host: str, port: int, security: Security) -> smtplib.SMTP:
        name = self._options.hello_name
        if security == "tls":
            context = ssl.create_default_context()
            client: smtplib.SMTP = smtplib.SMTP_SSL(host, port, name, timeout=CONNECT_SECONDS, context=context)
        else:
            client = smtplib.SMTP(host, port, name, timeout=CONNECT_SECONDS)
        try:
            self._greet(client, security)
        except BaseException:
            client.close()
            raise
        assert client.sock is not None
        client.sock.settimeout(ANSWER_SECONDS)
        # What is sent is whole: its last piece must not wait for the acknowledgement of the ones before.
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def _greet(self, client: smtplib.SMTP, security: Security) -> None:
        client.ehlo_or_helo_if_needed()
        offered = client.has_extn("starttls")
        if security == "starttls" or (security == "opportunistic" and offered):
            # Whoever encrypts when it is offered would otherwise send in clear: a certificate that cannot be checked
            # is better than none (RFC 7435).
            context = ssl.create_default_context() if security == "starttls" else _unchecked_context()
            client.starttls(context=context)
            client.ehlo()
        if self._options.username:
            client.login(self._options.username, self._options.password)

    @property
    def description(self) -> list[str]:
        """What the server offers and how the connection is protected, a line each."""
        sock = self._client.sock
        cipher = f"{sock.version()}, {sock.cipher()[0]}" if isinstance(sock, ssl.SSLSocket) else "none"  # type: ignore[index]
        return [f"encryption: {cipher}", f"offers: {', '.join(sorted(self._client.esmtp_features)) or 'nothing'}"]

    def bring(self, parcels: Iterator[Parcel]) -> Iterator[Outcome]:
        """Hand over parcels one after the other; yield what becomes of each, in their order.

        Where the server can (RFC 2920), the envelope of a parcel goes out together with the content of the one before,
        so the parcels are asked for one ahead. A parcel without an outcome was not taken.

        Args:
            parcels: one with a line end other than CRLF, or an address that would end one, is not offered to anybody.

        Raises:
            RouteDown: the connection broke, or the server is closing.
        """
        try:
            current = next(parcels, None)
            refusal = self._offer(current)
            while current is not None:
                if refusal is not None:
                    yield refusal
                    current = next(parcels, None)
                    refusal = self._offer(current)
                    continue
                following = next(parcels, None)
                envelope = self._envelope(following) if self._pipelines else b""
                outcome = self._hand_over(current.content, envelope)
                broken: RouteDown | None = None
                try:
                    refusal = self._hear_offer() if envelope else self._offer(following)
                except RouteDown as error:
                    broken = error
                yield outcome
                if broken is not None:
                    raise broken
                current = following
        finally:
            if self._is_awaited:
                # Any word to a server that waits for a content would be taken for one.
                self._client.close()

    def is_alive(self) -> bool:
        """Ask the server whether it still listens."""
        try:
            return self._client.noop()[0] in _DONE
        except (OSError, smtplib.SMTPException):
            return False

    def _envelope(self, parcel: Parcel | None) -> bytes:
        """Return what offers a parcel; empty for none, and for one that cannot be offered."""
        if parcel is None or self._refuse_unasked(parcel) is not None:
            return b""
        return b"".join(self._commands(parcel))

    def _refuse_unasked(self, parcel: Parcel) -> Outcome | None:
        if not _is_fit(parcel):
            return NOT_WRITTEN
        if _is_international(parcel) and not self._takes_utf8:
            return Outcome("refused", 553, "5.6.7 The server does not take international addresses.")
        return None

    def _commands(self, parcel: Parcel) -> tuple[bytes, bytes, bytes]:
        options = " SMTPUTF8" if _is_international(parcel) else ""
        if self._tells_size:
            options += f" SIZE={len(parcel.content)}"
        return (
            f"MAIL FROM:<{parcel.return_path}>{options}\r\n".encode(),
            f"RCPT TO:<{parcel.recipient}>\r\n".encode(),
            b"DATA\r\n",
        )

    def _offer(self, parcel: Parcel | None) -> Outcome | None:
        """Give sender and recipient; return why not, or None when the content is wanted now."""
        if parcel is None:
            return None
        refusal = self._refuse_unasked(parcel)
        if refusal is not None:
            return refusal
        if not self.is_open:
            raise RouteDown("The connection has ended.")
        self.used_at = time.monotonic()
        commands = self._commands(parcel)
        if not self._pipelines:
            return self._offer_slowly(commands)
        try:
            self._client.send(b"".join(commands))
        except (OSError, smtplib.SMTPException) as error:
            raise RouteDown(_describe(error)) from None
        return self._hear_offer()

    def _offer_slowly(self, commands: tuple[bytes, bytes, bytes]) -> Outcome | None:
        try:
            for place, command in enumerate(commands):
                self._client.send(command)
                code, text = self._get_reply()
                if code not in _WANTED[place]:
                    self._client.rset()
                    return replace(_refuse(code, text), about_sender=place == 0)
        except (OSError, smtplib.SMTPException) as error:
            raise RouteDown(_describe(error)) from None
        self._is_awaited = True
        return None

    def _hear_offer(self) -> Outcome | None:
        """Read the answers to an envelope."""
        if not self.is_open:
            raise RouteDown("The connection has ended.")
        refusal: Outcome | None = None
        try:
            for place, wanted in enumerate(_WANTED):
                code, text = self._get_reply()
                if code not in wanted and refusal is None:
                    refusal = replace(_refuse(code, text), about_sender=place == 0)
            if refusal is None:
                self._is_awaited = True
            else:
                self._leave_transaction(code)
        except (OSError, smtplib.SMTPException) as error:
            raise RouteDown(_describe(error)) from None
        return refusal

    def _get_reply(self) -> tuple[int, bytes]:
        code, text = self._client.getreply()
        if code == _CLOSING:
            raise smtplib.SMTPServerDisconnected(_cut(code, text))
        return code, text

    def _leave_transaction(self, last_code: int) -> None:
        if last_code == _READY_FOR_CONTENT:
            # The server waits for a content although it has refused something (RFC 2920 section 3.1). To end an empty
            # one might deliver it to somebody, and so might any word that follows.
            self._client.close()
        else:
            self._client.rset()

    def _hand_over(self, content: bytes, envelope: bytes) -> Outcome:
        """Send a content that is wanted, and what offers the next one; return the answer to the content."""
        stuffed = content.replace(b"\r\n.", b"\r\n..")
        if content.startswith(b"."):
            stuffed = b"." + stuffed
        end = b".\r\n" if content.endswith(b"\r\n") else b"\r\n.\r\n"
        self.sent += 1
        try:
            # When this fails, the server may have had all of it but the next envelope.
            self._client.send(stuffed + end + envelope)
        except (OSError, smtplib.SMTPException) as error:
            return self._doubt(error) if envelope else self._give_up(error)
        self._is_awaited = False
        try:
            code, text = self._client.getreply()
        except (OSError, smtplib.SMTPException) as error:
            return self._doubt(error)
        if code in _DONE:
            return Outcome("sent", code, _cut_text(text))
        if code <= 0:
            return self._doubt(smtplib.SMTPException("The answer cannot be read."))
        if code == _CLOSING:
            self.close()
        return _refuse(code, text)

    def _doubt(self, error: Exception) -> Outcome:
        """Return what is known of a content whose answer nobody has heard."""
        self._is_awaited = False
        self._client.close()
        return Outcome("unknown", 0, _describe(error)[:MAX_TEXT])

    def _give_up(self, error: Exception) -> NoReturn:
        # Without the end of the content, the server cannot have taken it.
        self._is_awaited = False
        self._client.close()
        raise RouteDown(_describe(error)) from None

    @property
    def is_open(self) -> bool:
        """Whether it can be used again."""
        return self._client.sock is not None

    def close(self) -> None:
        """End the connection without a word: whoever waits for the answer to QUIT may wait long."""
        with suppress(OSError):
            if self._client.sock is not None:
                self._client.sock.settimeout(1.0)
                self._client.send(b"QUIT\r\n")
        self._client.close()


def _is_fit(parcel: Parcel) -> bool:
    """Return whether all line ends of a content are CRLF, which servers read alike, and the addresses have none."""
    content = parcel.content
    lines = content.count(b"\r\n")
    if content.count(b"\n") != lines or content.count(b"\r") != lines or b"\0" in content:
        return False
    return all(
        address.isprintable() and not _NOT_IN_PATHS.intersection(address)
        for address in (parcel.return_path, parcel.recipient)
    )


def _is_international(parcel: Parcel) -> bool:
    return not (parcel.recipient.isascii() and parcel.return_path.isascii())


def _unchecked_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _refuse(code: int, text: bytes) -> Outcome:
    # -1 is what smtplib makes of an answer that is none.
    if code in _TEMPORARY or code <= 0:
        return Outcome("deferred", max(code, 0), _cut_text(text))
    return Outcome("refused", code, _cut_text(text))


def _cut(code: int, text: bytes) -> str:
    return f"{code} {_cut_text(text)}"


def _cut_text(text: bytes) -> str:
    return " ".join(text.decode("utf-8", "replace").split())[:MAX_TEXT]


def _describe(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error if isinstance(error.smtp_error, bytes) else str(error.smtp_error).encode()
        return _cut(error.smtp_code, text)
    return (str(error) or type(error).__name__)[:MAX_TEXT]
