"""Sessions with mail servers (RFC 5321): one parcel after the other, in as few round trips as the server allows."""

from __future__ import annotations

import smtplib
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal

from delivery.parcels import Outcome, Parcel

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

    def send(self, parcel: Parcel) -> Outcome:
        """Hand a parcel over.

        Raises:
            RouteDown: the connection broke, or the server is closing, before the content was sent.
            ValueError: the content has a line end other than CRLF, or an address has a character that ends one.
        """
        _check(parcel)
        is_international = not (parcel.recipient.isascii() and parcel.return_path.isascii())
        if is_international and not self._takes_utf8:
            return Outcome("refused", 553, "5.6.7 The server does not take international addresses.")
        self.used_at = time.monotonic()
        self.sent += 1
        commands = self._commands(parcel, is_international)
        try:
            refusal = self._offer(commands)
        except (OSError, smtplib.SMTPException) as error:
            raise RouteDown(_describe(error)) from None
        return refusal if refusal is not None else self._hand_over(parcel.content)

    def _commands(self, parcel: Parcel, is_international: bool) -> tuple[bytes, bytes, bytes]:
        options = " SMTPUTF8" if is_international else ""
        if self._tells_size:
            options += f" SIZE={len(parcel.content)}"
        return (
            f"MAIL FROM:<{parcel.return_path}>{options}\r\n".encode(),
            f"RCPT TO:<{parcel.recipient}>\r\n".encode(),
            b"DATA\r\n",
        )

    def _offer(self, commands: tuple[bytes, bytes, bytes]) -> Outcome | None:
        """Give sender and recipient; return why not, or None when the content is wanted now."""
        refusal: Outcome | None = None
        client = self._client
        if self._pipelines:
            client.send(b"".join(commands))
        for command in commands:
            if not self._pipelines:
                if refusal is not None:
                    break
                client.send(command)
            code, text = client.getreply()
            if code == _CLOSING:
                raise smtplib.SMTPServerDisconnected(_cut(code, text))
            wanted = code == _READY_FOR_CONTENT if command is commands[-1] else code in _DONE
            if not wanted and refusal is None:
                refusal = replace(_refuse(code, text), about_sender=command is commands[0])
        if refusal is not None:
            self._leave_transaction(code)
        return refusal

    def _leave_transaction(self, last_code: int) -> None:
        if last_code == _READY_FOR_CONTENT:
            # The server waits for a content although it has refused something (RFC 2920 section 3.1). To end an empty
            # one might deliver it to somebody, and so might any word that follows.
            self._client.close()
        else:
            self._client.rset()

    def _hand_over(self, content: bytes) -> Outcome:
        stuffed = content.replace(b"\r\n.", b"\r\n..")
        if content.startswith(b"."):
            stuffed = b"." + stuffed
        end = b".\r\n" if content.endswith(b"\r\n") else b"\r\n.\r\n"
        try:
            self._client.send(stuffed + end)
        except (OSError, smtplib.SMTPException) as error:
            # Without the end of the content the server cannot have taken it.
            raise RouteDown(_describe(error)) from None
        try:
            code, text = self._client.getreply()
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            return Outcome("unknown", 0, _describe(error)[:MAX_TEXT])
        if code in _DONE:
            return Outcome("sent", code, _cut_text(text))
        if code == _CLOSING:
            self.close()
        return _refuse(code, text)

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


def _check(parcel: Parcel) -> None:
    content = parcel.content
    lines = content.count(b"\r\n")
    if content.count(b"\n") != lines or content.count(b"\r") != lines or b"\0" in content:
        raise ValueError("The content has a line end other than CRLF, or a NUL.")
    for address in (parcel.return_path, parcel.recipient):
        if not address.isprintable() or any(character in address for character in "<> "):
            raise ValueError("The address cannot be written in an envelope.")


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
