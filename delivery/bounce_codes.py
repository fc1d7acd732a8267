"""What mail servers mean by their codes and words when they do not take a mail.

Enhanced status codes: RFC 3463, and the registry of RFC 5248 (IANA, SMTP Enhanced Status Codes). Basic codes: RFC 5321
section 4.2. Words are looked at where codes are too general. Whatever is not certain is soft: a recipient who exists
must never be taken for one who does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from audience.status_rules import Reason

MAX_TEXT = 4000
"""Characters of an answer that are looked at."""


class BounceClass(NamedTuple):
    """Why a mail was not delivered: what it means for its recipient, and reason and subtype of specification 6.4."""

    kind: Literal["hard", "soft"]
    """Hard: the address does not exist, and never again gets mail. Soft: it may be taken another time."""
    reason: Reason
    subtype: int

    @property
    def is_block(self) -> bool:
        """Whether the server refused the mail or its sender rather than its recipient."""
        return self.reason == Reason.REJECTED


NO_SUCH_ADDRESS = BounceClass("hard", Reason.HARD_BOUNCE, 0)
INVALID_SYNTAX = BounceClass("hard", Reason.HARD_BOUNCE, 1)
NO_SUCH_DOMAIN = BounceClass("hard", Reason.HARD_BOUNCE, 2)
ABANDONED = BounceClass("hard", Reason.HARD_BOUNCE, 3)
BLOCKED = BounceClass("soft", Reason.REJECTED, 1)
SPAM_CONTENT = BounceClass("soft", Reason.REJECTED, 2)
MISCONFIGURED = BounceClass("soft", Reason.REJECTED, 3)
SOFT = BounceClass("soft", Reason.SOFT_BOUNCES, 0)

# By subject and detail of a status whose class is 5. With detail None: the whole subject. What is missing is decided
# by the words.
_STATUSES: Mapping[tuple[int, int | None], BounceClass] = {
    (1, 1): NO_SUCH_ADDRESS,
    (1, 2): NO_SUCH_DOMAIN,
    (1, 3): INVALID_SYNTAX,
    (1, 4): SOFT,  # ambiguous
    (1, 6): ABANDONED,  # has moved
    (1, 7): MISCONFIGURED,  # the sender's address
    (1, 8): MISCONFIGURED,
    (1, 10): NO_SUCH_DOMAIN,  # null MX, RFC 7505
    (2, 1): ABANDONED,
    (2, 2): SOFT,  # full
    (2, 3): SOFT,  # too long
    (2, 4): SOFT,
    (3, None): SOFT,
    (4, 3): SOFT,
    (4, 4): NO_SUCH_DOMAIN,  # no route
    (4, 5): SOFT,
    (4, 6): MISCONFIGURED,  # loop
    (4, 7): SOFT,  # expired
    (4, 14): MISCONFIGURED,  # Exchange: loop
    (4, 310): NO_SUCH_DOMAIN,  # Exchange
    (6, None): SPAM_CONTENT,
    (7, None): BLOCKED,
}
# Of 5.7: not the sender but his way is refused.
_POLICY_OF_CONFIGURATION = frozenset({3, 4, 5, 6, 10, 11, 54, 57, 64})

# Basic codes that say enough by themselves (RFC 5321 and 7504).
_CODES: Mapping[int, BounceClass] = {521: NO_SUCH_DOMAIN, 551: NO_SUCH_ADDRESS, 552: SOFT, 556: NO_SUCH_DOMAIN}


_Words = tuple[tuple[BounceClass, re.Pattern[str]], ...]


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


# Exchange says so of whoever is not in the directory.
_NOT_IN_DIRECTORY = _words(r"recipient address rejected: access denied", r"RecipientNotFound")
_REFUSALS: _Words = (
    (
        MISCONFIGURED,
        _words(
            r"relay(ing)?\W{1,3}(access )?(is )?(denied|not (permitted|allowed)|prohibited)",
            r"(unable|not (permitted|allowed)) to relay",
            r"do(es)? not relay|not a(n)? open relay",
            r"(too many|maximum) hops|hop count|(mail|routing|forwarding) loop|loops back",
            r"sender (verify|verification|callout) failed|must issue a starttls|authentication (is )?required",
        ),
    ),
    (
        BLOCKED,
        _words(
            r"black ?-?list|block ?-?list|deny ?-?list|\brbl\b|dnsbl|spamhaus|spamcop|barracuda|sorbs|senderbase",
            r"(bad|poor|low) reputation|reputation of",
            r"(ip|host|server|network|client|sender|domain|connection|mail) (address )?\S{0,60} ?"
            r"(has been |is |was |been )?(temporarily )?(blocked|banned|denied|rejected)",
            r"blocked (by|using|for|due)|access denied|sender (denied|rejected|not allowed)|banned",
            r"\b(spf|dkim|dmarc)\b|not authori[sz]ed|policy (reasons?|violation|restrictions?)|local policy",
            r"reverse (dns|lookup)|\bptr record|not accepting mail from|unauthenticated (e-?)?mail|rate limit",
            r"too many (connections|messages)|administrative(ly)? prohibit",
        ),
    ),
    (
        SPAM_CONTENT,
        _words(
            r"\bspam|\bjunk|unsolicited|\bbulk mail|phish|virus|malware|infected|malicious|suspicious",
            r"content (was |is |has been )?(rejected|denied|blocked|filter)|offensive",
            r"message (was |is )?(rejected|refused)",
        ),
    ),
)
_TROUBLES: _Words = (
    (
        SOFT,
        _words(
            r"(mail ?box|inbox|account|user|recipient|folder|storage)\b.{0,60}\b(full|exceed(s|ed|ing)?|quota)",
            r"over ?-?quota|quota exceeded|exceed(s|ed|ing)? .{0,30}(quota|storage|limit)",
            r"insufficient .{0,20}(storage|space)|message (size|too (big|large|long))|too large",
            r"temporar|try again later|try later|grey ?-?list|deferred|timed? ?-?out|connection (refused|lost|reset)",
            r"(time|retry|queue|delivery).{0,20} expired|(could|can) ?not connect|unable to connect|no route to host",
            r"at a rate|too (many|fast|much)|insufficient .{0,10}resources|out of office|on vacation",
        ),
    ),
    (
        INVALID_SYNTAX,
        _words(
            r"(bad|invalid|illegal|malformed|incorrect) .{0,30}(address )?syntax|malformed (e-?mail )?address",
            r"syntax error in",
            r"(illegal|invalid) (character|local ?-?part)|not (a )?(valid|well-?formed) (rfc ?\d+ )?address",
        ),
    ),
    (
        NO_SUCH_DOMAIN,
        _words(
            r"(host|domain)( name)?( \S{1,80})? (is )?(not found|unknown|does(n't| not) exist|no longer exist)",
            r"(unknown|no such|invalid|bad|non-?existent) (mail )?(host|domain)|nxdomain|null ?mx",
            r"couldn'?t find any host|unroute?able mail domain|no mx .{0,40}(and|or) no|point to non-?existent hosts",
            r"does not (accept|receive) mail|name or service not known",
        ),
    ),
    (
        ABANDONED,
        _words(
            r"(account|mail ?box|user|recipient|address|customer|subscriber)\b.{0,60}\b"
            r"(disabled|inactive|deactivated|suspended|closed|discontinued|cancell?ed|deleted|terminated|locked|abandoned)",
            r"(disabled|inactive|suspended|closed|abandoned|deactivated) (user|account|mail ?box|recipient)",
            r"no longer (available|active|valid|with|employed|in use|works?|on server)|has (left|moved)",
        ),
    ),
    (
        NO_SUCH_ADDRESS,
        _words(
            r"(user|recipient|addressee|mail ?box|address|account|alias|person|local ?-?part)\b.{0,100}\b"
            r"(unknown|not (be )?found|(does|do)(n't| not) exist|invalid|unavailable|not exist|wasn't found|"
            r"not (known|valid|recogni[sz]ed|listed)|undeliverable|nonexistent)",
            r"(unknown|invalid|no such|nonexistent|unroute?able|undeliverable|bad destination|bad|wrong|incorrect) "
            r"(e-?mail |local |destination |virtual )?"
            r"(user|recipient|mail ?box|address|account|alias|person|name|local ?-?part)",
            r"no (mail ?box|user|account|recipient)( here)? (by|with|of|named|under) (that|this|the) name",
            r"no mailbox (here|found)|does(n't| not) have (an?|any|this|that)? ?.{0,40}(account|mailbox|recipient)",
            r"not (a )?(known|valid|our|local)( \w+)? (user|recipient|mail ?box|customer|address|account)",
            r"not listed in|not in (the|our) (directory|address book)|no such user",
            r"can(not|'t) (find|accept mail for) .{0,40}(user|recipient|mailbox|address)|unroute?able",
            r"recipient rejected|mailbox not (here|local)|couldn'?t be found|user_unknown|recipientnotfound",
        ),
    ),
)
_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_CODE = re.compile(r"(?<![\d.:/-])([45][0-5]\d)(?=[ -](?:#?[245]\.\d|\W*[A-Za-z<])|\s*$)")


def classify_answer(code: int, text: str) -> BounceClass:
    """Return what an answer of a server to a mail means.

    Args:
        code: of the answer (RFC 5321 section 4.2); 0 when it had none.
        text: of the answer, with its enhanced status (RFC 3463) where there is one.
    """
    found = find_status(text)
    return classify(code, found, text)


def classify(code: int, status: str, text: str) -> BounceClass:
    """Return what a code, an enhanced status and words mean together; 0 and empty are what is not there."""
    text = " ".join(text[:MAX_TEXT].split())
    if 0 < code < 500 or (status and not status.startswith("5.")):
        return SOFT
    subject, detail = _split(status)
    refusal = _look_up(_REFUSALS, text)
    if (subject, detail) in ((4, 1), (1, 1), (1, 10)) and _NOT_IN_DIRECTORY.search(text):
        return NO_SUCH_ADDRESS
    if subject == 7 or (refusal is not None and _decides_by_words(subject, detail, refusal)):
        return refusal or (MISCONFIGURED if detail in _POLICY_OF_CONFIGURATION else BLOCKED)
    return _classify_recipient(code, subject, detail, text)


def classify_words(text: str) -> BounceClass | None:
    """Return what words without any code say of a failure; None when they say nothing."""
    text = " ".join(text[:MAX_TEXT].split())
    return _look_up(_REFUSALS, text) or _look_up(_TROUBLES, text)


def find_status(text: str) -> str:
    """Return the first enhanced status in a text, the first that says something if there is one; empty for none."""
    found = [match.group() for match in _STATUS.finditer(text[:MAX_TEXT])]
    return next((status for status in found if not is_general(status)), found[0] if found else "")


def find_code(text: str) -> int:
    """Return the first basic code in a text that looks like a server's answer; 0 for none."""
    match = _CODE.search(text[:MAX_TEXT])
    return int(match.group(1)) if match else 0


def is_general(status: str) -> bool:
    """Tell whether a status says no more than that something failed."""
    return _split(status) in ((0, 0), (0, None)) or status.endswith(".0")


def name_code(code: int, status: str) -> str:
    """Return what is kept of an answer, such as `550 5.1.1`; empty when there was none."""
    return f"{code or ''} {status}".strip()


def _split(status: str) -> tuple[int, int | None]:
    match = _STATUS.fullmatch(status)
    return (int(match.group(2)), int(match.group(3))) if match else (0, None)


def _decides_by_words(subject: int, detail: int | None, refusal: BounceClass) -> bool:
    """Tell whether words about the sender or the mail count for more than the status."""
    meaning = _STATUSES.get((subject, detail))
    return meaning is None or (meaning.kind == "hard" and refusal != SPAM_CONTENT) or meaning == NO_SUCH_ADDRESS


def _classify_recipient(code: int, subject: int, detail: int | None, text: str) -> BounceClass:
    meaning = _STATUSES.get((subject, detail)) or _STATUSES.get((subject, None))
    if detail == 0 or meaning is None or meaning == ABANDONED:
        # Codes that say little, and one that is used for troubles that pass, too.
        words = _look_up(_TROUBLES, text)
        return words or meaning or _CODES.get(code, SOFT)
    return meaning


def _look_up(table: _Words, text: str) -> BounceClass | None:
    return next((meaning for meaning, words in table if words.search(text)), None)
