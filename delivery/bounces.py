"""Reads mails that come back: what they say of which recipient. Nothing in them can make it fail or last long."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from html import unescape
from typing import Literal

from flufl.bounce import all_failures

from audience.status_rules import Reason
from delivery.bounce_codes import (
    SOFT,
    BounceClass,
    classify,
    classify_words,
    find_code,
    find_status,
    is_general,
    name_code,
)
from delivery.return_paths import MAILBOX

ReportKind = Literal["hard", "soft", "complaint", "unsubscribe", "automatic", "unknown"]

# It would log what it stumbles over.
logging.getLogger("flufl.bounce").disabled = True

MAX_READ = 1024 * 1024
"""Bytes of a mail that are looked at: reports come before the mail that they return."""
_MAX_PARTS = 500
_MAX_NESTING = 20
_MAX_LINES = 20_000
_MAX_LINE = 2_000
_MAX_PROSE = 32 * 1024
_MAX_PROSE_LINE = 200
_MAX_SCANNED = 8 * 1024
"""Characters that are compared with patterns of others, some of which take the square of a line in time."""
_MAX_RECIPIENTS = 100
_MAX_ADDRESS = 320


@dataclass(frozen=True, slots=True)
class Report:
    """What a mail that came back says."""

    kind: ReportKind
    """`automatic`: a delay, a success, a vacation, a challenge, which change nothing; `unsubscribe`: a complaint's wish
    to be taken out; `unknown`: perhaps somebody wrote."""
    recipients: tuple[str, ...] = ()
    """Addresses, as the reporting server knows them: perhaps not as they were written to."""
    code: str = ""
    """Such as `550 5.1.1`."""
    bounce: BounceClass | None = None
    """Of a bounce, its reason and subtype (specification 6.4)."""
    original_message_id: str = ""
    return_path: str = ""
    """An address of `delivery.return_paths` in the report or in what it returns, whose signature nobody has checked."""

    @property
    def reason(self) -> Reason | None:
        """Why its recipients are to be unsubscribed, if they are."""
        return self.bounce.reason if self.bounce is not None else _REASONS.get(self.kind)

    @property
    def subtype(self) -> int | None:
        """What is appended to the reason."""
        return self.bounce.subtype if self.bounce is not None else None


_REASONS = {"complaint": Reason.COMPLAINT, "unsubscribe": Reason.HEADER_MAILTO}


def read_report(content: bytes) -> Report:
    """Return what a mail says: delivery status (RFC 3464), feedback (RFC 5965), or prose of many servers.

    Args:
        content: a mail, or whatever somebody sent as one.
    """
    readable = _make_readable(content)
    try:
        mail = message_from_bytes(readable)
        found = _read(mail)
    except Exception:
        # The parsers are of others and hold many ways to fail; whatever breaks them is not understood, and kept.
        found = Report("unknown")
    return Report(
        found.kind,
        tuple(address for address in found.recipients if "\0" not in address),
        found.code,
        found.bounce,
        _find_message_id(readable),
        _find_return_path(readable),
    )


def _read(mail: Message) -> Report:
    readers = (_read_delivery_status, _read_feedback, _read_receipt, _read_automatic, _read_prose)
    return next((report for reader in readers if (report := reader(mail)) is not None), Report("unknown"))


# What makes parsers slow is cut off before they see it.

_LONG_LINE = re.compile(rb"^([^\n]{%d})[^\n]+" % _MAX_LINE, re.MULTILINE)
_PART = re.compile(rb"^--", re.MULTILINE)
_NESTING = re.compile(rb"multipart/|message/(rfc822|global)", re.IGNORECASE)
_LINE = re.compile(rb"\n|\r")


def _make_readable(content: bytes) -> bytes:
    start = _LONG_LINE.sub(rb"\1", content[:MAX_READ])
    for pattern, most in ((_LINE, _MAX_LINES), (_PART, _MAX_PARTS), (_NESTING, _MAX_NESTING)):
        start = start[: _place_of(pattern, most, start)]
    return start


def _place_of(pattern: re.Pattern[bytes], number: int, text: bytes) -> int:
    """Return where the match of that number begins, or the end."""
    for count, match in enumerate(pattern.finditer(text), 1):
        if count > number:
            return match.start()
    return len(text)


# Delivery status notifications (RFC 3464).


@dataclass(frozen=True, slots=True)
class _Fate:
    """What became of one recipient of a report."""

    address: str
    action: str
    code: str
    bounce: BounceClass


def _read_delivery_status(mail: Message) -> Report | None:
    prose = ""
    fates: list[_Fate] = []
    for part in _own_parts(mail):
        kind = part.get_content_type()
        if kind == "message/delivery-status" or kind == "message/global-delivery-status":
            fates += [fate for block in _blocks(part) if (fate := _read_fate(block, prose)) is not None]
        elif not prose and kind == "text/plain":
            prose = _text_of(part)
        if len(fates) >= _MAX_RECIPIENTS:
            break
    return _sum_up(fates[:_MAX_RECIPIENTS]) if fates else None


def _blocks(part: Message) -> Iterator[Message]:
    """Yield the groups of fields of a report."""
    payload = part.get_payload()
    if isinstance(payload, list):
        yield from (block for block in payload if isinstance(block, Message))
    elif isinstance(decoded := part.get_payload(decode=True), bytes):
        # Encoded, against the rule.
        for block in re.split(rb"\r?\n\r?\n", decoded):
            yield message_from_bytes(block)


def _read_fate(block: Message, prose: str) -> _Fate | None:
    action = _field(block, "Action").lower()
    if not action:
        return None
    address = _typed(block, "Original-Recipient") or _typed(block, "Final-Recipient")
    diagnostic = _field(block, "Diagnostic-Code").partition(";")[2].strip() or _field(block, "Diagnostic-Code")
    status = find_status(_field(block, "Status"))
    if not status or is_general(status):
        status = _more_precise(status, find_status(diagnostic))
    code = find_code(diagnostic)
    words = diagnostic or _after(prose, address)
    if not diagnostic and (not status or is_general(status)):
        code, status = find_code(words), _more_precise(status, find_status(words))
    return _Fate(address, re.split(r"[\s(;]", action)[0], name_code(code, status), classify(code, status, words))


def _more_precise(status: str, other: str) -> str:
    """Return the other status unless it is of another class, or there is none."""
    return other if other and other[:1] == (status or other)[:1] else status


def _sum_up(fates: list[_Fate]) -> Report:
    """Return one report: what is certain for all of its recipients, since they are who became of one."""
    failed = [fate for fate in fates if fate.action.startswith(("fail", "error"))]
    recipients = tuple(dict.fromkeys(fate.address for fate in failed or fates if fate.address))
    if not failed or any(fate.action.startswith(("delivered", "relayed", "expanded")) for fate in fates):
        return Report("automatic", recipients, fates[0].code)
    delayed = any(fate.action.startswith("delayed") for fate in fates)
    worst = next((fate for fate in failed if fate.bounce.kind == "soft"), failed[0])
    bounce = SOFT if delayed and worst.bounce.kind == "hard" else worst.bounce
    return Report(bounce.kind, recipients, worst.code, bounce)


def _typed(block: Message, name: str) -> str:
    """Return the address of a field `type; address`."""
    value = _field(block, name)
    address = value.partition(";")[2] if ";" in value else value
    return address.strip().strip("<>")[:_MAX_ADDRESS]


# Feedback of mailbox providers (RFC 5965, RFC 6591, RFC 6650).

_FEEDBACK: dict[str, ReportKind] = {
    "abuse": "complaint",
    "fraud": "complaint",
    "opt-out": "unsubscribe",
    "opt-out-list": "unsubscribe",
    "not-spam": "automatic",
    "auth-failure": "automatic",
    "dmarc": "automatic",
    "virus": "automatic",
}


def _read_feedback(mail: Message) -> Report | None:
    for part in _own_parts(mail):
        if part.get_content_type() == "message/feedback-report":
            fields = _fields_of(part)
            kind = _FEEDBACK.get(_field(fields, "Feedback-Type").lower(), "unknown")
            recipients = fields.get_all("Original-Rcpt-To", [])[:_MAX_RECIPIENTS]
            return Report(kind, tuple(str(address).strip().strip("<>")[:_MAX_ADDRESS] for address in recipients))
    return None


def _fields_of(part: Message) -> Message:
    payload = part.get_payload()
    if isinstance(payload, list):
        return next((block for block in payload if isinstance(block, Message)), Message())
    decoded = part.get_payload(decode=True)
    return message_from_bytes(decoded if isinstance(decoded, bytes) else b"")


# Receipts (RFC 8098): one server uses them to tell that a mailbox is full.

_REFUSED_BY_RECEIPT = re.compile(r"automatically (rejected|discarded)", re.IGNORECASE)


def _read_receipt(mail: Message) -> Report | None:
    for part in _own_parts(mail):
        if part.get_content_type() == "message/disposition-notification":
            prose = _prose_of(mail)
            bounce = classify_words(prose) if _REFUSED_BY_RECEIPT.search(prose) else None
            if bounce is None or bounce.kind == "hard":
                return Report("automatic")
            return Report("soft", (_typed(_fields_of(part), "Final-Recipient"),), "", bounce)
    return None


# Machines that answer for people (RFC 3834).

_AUTOMATIC_HEADERS = ("X-Autoreply", "X-Autorespond", "X-Auto-Response-From", "X-AutoReply-From", "X-Autoresponder")
_AUTOMATIC_PRECEDENCE = ("auto_reply", "auto-reply")
_MASS_PRECEDENCE = ("bulk", "list", "junk")
_AUTOMATIC_SUBJECT = re.compile(
    r"out of (the )?office|auto(matic|mated|matische|matisch)?[ -]?(repl|respon|antwort|answer|response)|vacation"
    r"|on (holiday|leave)|away from|abwesenheit|fuori (sede|ufficio)|risposta automatica|r.ponse automatique"
    r"|absence|respuesta autom|resposta autom|assenza|ticket (received|created)|we (have )?received your",
    re.IGNORECASE,
)
_CHALLENGE = re.compile(
    r"(confirm|verify|verification|authenticate) .{0,40}(message|mail|address|sender)|challenge|sender verification"
    r"|(not|isn't) (a )?spam|please confirm|action required to deliver|spamarrest|boxbe|waiting for your approval",
    re.IGNORECASE,
)


def _read_automatic(mail: Message) -> Report | None:
    submitted = _field(mail, "Auto-Submitted").lower()
    subject, precedence = _subject(mail), _field(mail, "Precedence").lower()
    suppressed = _field(mail, "X-Auto-Response-Suppress")
    is_reply = (
        any(name in mail for name in _AUTOMATIC_HEADERS)
        or precedence in _AUTOMATIC_PRECEDENCE
        or bool(_AUTOMATIC_SUBJECT.search(subject))
        or bool(_CHALLENGE.search(subject))
        or ("List-Id" in mail and not _is_from_server(mail))
    )
    answers = submitted.startswith(("auto-replied", "auto-notified", "auto-generated")) or bool(suppressed)
    mass = precedence in _MASS_PRECEDENCE
    if is_reply or ((answers or mass) and not _looks_like_bounce(mail)):
        return Report("automatic")
    return None


# Prose: what servers wrote before there was a rule, and those that keep none.

_DAEMON = re.compile(
    r"(mailer|mail|smtp)[-_ ]?(daemon|system|delivery|administrator|service)|postmaster|mailmaster|mdaemon"
    r"|microsoftexchange\w*|administrator",
    re.IGNORECASE,
)
_FAILURE = re.compile(
    r"undeliver|not (be )?deliver|deliver\w* (status|fail|problem|error|report|notification|attempt)|returned (mail|to)"
    r"|failure (notice|notification)|mail (delivery|system|failure)|(failed|unable) (to )?deliver|non[- ]deliver"
    r"|unzustellbar|mancat[ao] (consegna|recapito)|non remis|no entregad|nondeliverable|delay",
    re.IGNORECASE,
)
_RETURNED = re.compile(
    r"^\W{0,40}(below this line|this is a copy of|(start of |the )?(returned|original|unsent|undelivered) "
    r"(message|mail)|message headers? follow|copy of (the|your) (original )?message|included is a copy"
    r"|your (original )?message reads)"
    r"|^(received|return-path|dkim-signature|message-id):",
    re.IGNORECASE | re.MULTILINE,
)
_STILL_TRYING = re.compile(
    r"(warning|advisory).{0,40}only|will (keep|continue|be) (trying|to try|retr)|no action is required on your part"
    r"|not yet been delivered|has been delayed|do not need to (resend|do anything)|still being retried",
    re.IGNORECASE,
)
_LOCAL_PART = re.compile(r"([^\s<>()\"@:]{1,64})(?:@|$)")
_EMAIL = re.compile(r"[^\s<>()\[\],;:\"']{1,64}@[A-Za-z0-9.-]{1,253}")


def _read_prose(mail: Message) -> Report | None:
    if not _looks_like_bounce(mail):
        return None
    prose = _prose_of(mail)
    temporary, permanent = _scan(_reduce(mail, prose))
    recipients = [address.decode("ascii", "replace") for address in sorted(permanent or temporary)][:_MAX_RECIPIENTS]
    if not recipients:
        recipients = [str(value) for value in mail.get_all("X-Failed-Recipients", [])][:_MAX_RECIPIENTS]
    if not permanent and (temporary or _STILL_TRYING.search(prose)):
        return Report("automatic", tuple(recipients))
    return _judge(tuple(recipients), prose)


def _scan(mail: Message) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """Return the addresses that many servers' ways to write name as failing for a time, and for good."""
    try:
        return all_failures(mail)
    except Exception:
        # Each way is somebody else's, and some stumble over what others write.
        return frozenset(), frozenset()


def _judge(recipients: tuple[str, ...], prose: str) -> Report | None:
    near = _after(prose, recipients[0]) if recipients else prose
    for text in (near, prose):
        code, status = find_code(text), find_status(text)
        bounce = classify(code, status, text) if code or status else classify_words(text)
        if bounce is not None and (bounce != SOFT or text is prose or 0 < code < 500):
            if not recipients:
                recipients = tuple(_EMAIL.findall(near)[:1])
            return Report(bounce.kind, recipients, name_code(code, status), bounce)
    return Report("soft", recipients, "", SOFT) if recipients else None


def _looks_like_bounce(mail: Message) -> bool:
    """Tell whether a mail server speaks, or somebody whose subject says the same; not a newsletter that quotes one."""
    if _is_from_server(mail):
        return True
    return bool(_FAILURE.search(_subject(mail))) and "List-Id" not in mail and "List-Unsubscribe" not in mail


def _is_from_server(mail: Message) -> bool:
    sender = _field(mail, "From")
    return sender == "<>" or any(_DAEMON.fullmatch(name) for name in _LOCAL_PART.findall(sender))


def _reduce(mail: Message, prose: str) -> Message:
    """Return the mail with no more than the prose, for patterns of others."""
    reduced = Message()
    for name in ("From", "Subject", "X-Failed-Recipients", "X-Mailer"):
        for value in mail.get_all(name, [])[:_MAX_RECIPIENTS]:
            reduced[name] = " ".join(str(value).split())[:_MAX_LINE]
    reduced["Content-Type"] = "text/plain"
    reduced.set_payload(prose[:_MAX_SCANNED])
    return reduced


def _own_parts(mail: Message) -> Iterator[Message]:
    """Yield the parts of a mail in their order, but not those of mails within it."""
    waiting = [mail]
    while waiting:
        part = waiting.pop()
        yield part
        inner = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(inner, list):
            waiting += [one for one in reversed(inner) if isinstance(one, Message)]


def _prose_of(mail: Message) -> str:
    """Return the text that the reporting server wrote, without the mail that it returns."""
    for kind in ("text/plain", "text/html"):
        for part in _own_parts(mail):
            if part.get_content_type() == kind and (text := _text_of(part)).strip():
                found = _RETURNED.search(text)
                return text[: found.end()] if found and found.start() > 0 else text
    return ""


def _text_of(part: Message) -> str:
    payload = part.get_payload(decode=True)
    data = payload[:_MAX_PROSE] if isinstance(payload, bytes) else b""
    text = _decode(data, part.get_content_charset())
    if part.get_content_subtype() == "html":
        text = unescape(re.sub(r"<[^<>]{0,1000}>", "\n", text))
    lines = (line[:_MAX_PROSE_LINE].rstrip() for line in text.replace("\0", "").splitlines())
    return "\n".join(lines)


def _decode(data: bytes, charset: str | None) -> str:
    try:
        return data.decode(charset or "utf-8")
    except (LookupError, ValueError):
        return data.decode("utf-8", "replace")


def _after(text: str, address: str) -> str:
    """Return what is written about an address: from where it stands first, some lines."""
    place = text.lower().find(address.lower()) if address else -1
    return "\n".join(text[place:].splitlines()[:12]) if place >= 0 else text


def _subject(mail: Message) -> str:
    return _field(mail, "Subject")


def _field(block: Message, name: str) -> str:
    return " ".join(str(block.get(name, ""))[: _MAX_LINE * 2].split())


# Marks of our own mails.

_MESSAGE_ID = re.compile(rb"^message-id:\s*(<[^<>\s]{1,250}>)", re.IGNORECASE | re.MULTILINE)
_SIGNED = re.compile(rb"\b%s\+[bu][0-9a-f]{40,60}@[a-z0-9.-]{1,253}" % MAILBOX.encode(), re.IGNORECASE)
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")


def _find_message_id(content: bytes) -> str:
    """Return the Message-ID of the mail that is returned, not of the report."""
    end = _END_OF_HEADERS.search(content)
    found = _MESSAGE_ID.search(content, end.end()) if end else None
    return found.group(1).decode("ascii", "replace") if found else ""


def _find_return_path(content: bytes) -> str:
    end = _END_OF_HEADERS.search(content)
    # Soft line breaks (RFC 2045 section 6.7) may stand anywhere.
    body = re.sub(rb"=\r?\n", b"", content[end.end() :]) if end else b""
    found = _SIGNED.search(body)
    return found.group().decode("ascii") if found else ""
