"""Hands text messages to a message centre over SMPP 3.4, and connects again when the connection has broken."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import structlog
from smpplib import consts

from delivery.handovers import GatewayUnavailable, Handover, Outcome, OutgoingText, Receipt, ReceiptTaker
from delivery.smpp_link import ANSWER_SECONDS, Answer, LinkBroken, SmppLink, SmppOptions, describe_status
from delivery.sms_senders import is_number
from delivery.sms_text import encode_part

log = structlog.get_logger()

PORTS = {"smpp": 2775, "smpps": 3550}
MAX_WAIT = 60.0
"""Seconds, the longest between two tries to connect."""
MAX_SYSTEM_ID, MAX_PASSWORD, MAX_SYSTEM_TYPE = 15, 8, 12
"""Characters (SMPP 3.4 section 4.1.5)."""
PART_TRIES = 5
"""For the rest of a message whose first parts have been accepted."""

_LATER = (
    consts.SMPP_ESME_RTHROTTLED,
    consts.SMPP_ESME_RMSGQFUL,
    consts.SMPP_ESME_RSYSERR,
    consts.SMPP_ESME_RX_T_APPN,
)
_UNICODE = 8
_HEADED = consts.SMPP_GSMFEAT_UDHI


def make_smpp_gateway(url: str) -> SmppGateway:
    """Return the gateway of a URL: `smpp://USER:PASSWORD@HOST:PORT?window=10&enquire=30&system_type=…`.

    Raises:
        ValueError: something in it cannot be; the text names what, and shows nothing of it.
    """
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if set(given) - {"window", "enquire", "system_type"}:
        raise ValueError("sms_gateway takes the options window, enquire and system_type with smpp://.")
    options = SmppOptions(
        host=parts.hostname or "",
        port=parts.port or PORTS[parts.scheme],
        system_id=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        tls=parts.scheme == "smpps",
        system_type=given.get("system_type", ""),
        window=_read_count(given.get("window", "10")),
        enquire_seconds=float(_read_count(given.get("enquire", "30"))),
    )
    _check(options)
    return SmppGateway(options)


def _read_count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 1000):
        raise ValueError("The options window and enquire of sms_gateway are numbers from 1 to 1000.")
    return int(text)


def _check(options: SmppOptions) -> None:
    limits = (
        ("system id", options.system_id, MAX_SYSTEM_ID),
        ("password", options.password, MAX_PASSWORD),
        ("system type", options.system_type, MAX_SYSTEM_TYPE),
    )
    for name, value, most in limits:
        if len(value) > most or not value.isascii():
            raise ValueError(f"The {name} of sms_gateway has at most {most} ASCII characters.")
    if not options.host or not options.system_id:
        raise ValueError("sms_gateway is like smpp://USER:PASSWORD@HOST:PORT.")


class SmppGateway:
    """A message centre."""

    def __init__(self, options: SmppOptions) -> None:
        self._options = options
        self._link: SmppLink | None = None
        self._take: ReceiptTaker = _refuse
        self._opening = threading.Lock()
        self._wait = 0.0
        self._not_before = 0.0

    def on_receipts(self, take: ReceiptTaker) -> None:
        """Name what gets the receipts."""
        self._take = take

    def connect(self) -> None:
        """Be connected.

        Raises:
            GatewayUnavailable: it is not possible, or was not a moment ago.
        """
        self._open()

    def send(self, texts: Sequence[OutgoingText]) -> list[Handover]:
        """Hand messages over and return what became of each, in order.

        Raises:
            GatewayUnavailable: none of them was handed over.
        """
        link = self._open()
        submissions = [_Submission(text) for text in texts]
        for submission in submissions:
            submission.submit(link)
        return [submission.settle(link) for submission in submissions]

    def check(self) -> list[str]:
        """Connect and log in; return lines that tell what was found."""
        link = SmppLink(self._options, _refuse)
        link.unbind()
        return [f"Connected to {self._options.host}:{self._options.port} and logged in as a transceiver."]

    def close(self) -> None:
        """End the connection."""
        if self._link is not None:
            self._link.unbind()

    def _open(self) -> SmppLink:
        with self._opening:
            if self._link is not None and self._link.is_open():
                return self._link
            if time.monotonic() < self._not_before:
                raise GatewayUnavailable("The gateway could not be reached a moment ago.")
            try:
                self._link = SmppLink(self._options, self._pass_on)
            except GatewayUnavailable as error:
                self._wait = min(max(self._wait * 2, 1.0), MAX_WAIT)
                self._not_before = time.monotonic() + self._wait * random.uniform(0.8, 1.0)  # noqa: S311
                log.warning("sms_gateway_unavailable", reason=str(error), seconds=round(self._wait))
                raise
            self._wait = 0.0
            log.info("sms_gateway_connected")
            return self._link

    def _pass_on(self, receipts: Sequence[Receipt]) -> None:
        self._take(receipts)


class _Submission:
    """One message on its way: its parts, and the answers to those that were written."""

    def __init__(self, text: OutgoingText) -> None:
        self._parts = make_requests(text, random.randrange(256))  # noqa: S311
        self._answers: list[Future[Answer]] = []

    def submit(self, link: SmppLink) -> None:
        try:
            for part in self._parts[len(self._answers) :]:
                self._answers.append(link.submit(**part))
        except LinkBroken:
            return

    def settle(self, link: SmppLink) -> Handover:
        if not self._answers:
            return Handover(Outcome.DEFERRED)
        try:
            statuses = self._collect(link)
        except (LinkBroken, TimeoutError):
            link.close()
            return Handover(Outcome.UNKNOWN)
        if len(statuses) < len(self._parts):
            return Handover(Outcome.UNKNOWN)
        bad = next((status for status in statuses if status), 0)
        if not bad:
            return Handover(Outcome.ACCEPTED, self._answers[-1].result().message_id)
        # With a part gone out the rest was tried long enough; all of it once more would be sent twice.
        later = bad in _LATER and all(statuses)
        return Handover(Outcome.DEFERRED if later else Outcome.REFUSED, code=describe_status(bad))

    def _collect(self, link: SmppLink) -> list[int]:
        statuses = [answer.result(ANSWER_SECONDS).status for answer in self._answers]
        for attempt in range(PART_TRIES):
            if all(statuses):
                break
            again = [place for place, status in enumerate(statuses) if status in _LATER]
            if not again:
                break
            time.sleep(min(2.0**attempt / 4, 2.0))
            for place in again:
                self._answers[place] = link.submit(**self._parts[place])
                statuses[place] = self._answers[place].result(ANSWER_SECONDS).status
        return statuses


def make_requests(text: OutgoingText, reference: int) -> list[dict[str, Any]]:
    """Return the fields of a submit_sm for each part of a message.

    Args:
        text: what to send.
        reference: 0 to 255, the same in all its parts and another one in the next message to the number.
    """
    common = {
        **_address("source_addr", text.sender),
        "dest_addr_ton": consts.SMPP_TON_INTL,
        "dest_addr_npi": consts.SMPP_NPI_ISDN,
        "destination_addr": text.number.removeprefix("+"),
        "data_coding": _UNICODE if text.unicode else 0,
        "esm_class": _HEADED if len(text.parts) > 1 else 0,
    }
    bodies = [encode_part(part, text.unicode) for part in text.parts]
    if len(bodies) > 1:
        # Concatenation, 8-bit reference: TS 23.040 section 9.2.3.24.1.
        bodies = [bytes((5, 0, 3, reference, len(bodies), place)) + body for place, body in enumerate(bodies, 1)]
    # The last part's receipt stands for all.
    return [
        {**common, "short_message": body, "registered_delivery": int(place == len(bodies))}
        for place, body in enumerate(bodies, 1)
    ]


def _address(name: str, sender: str) -> dict[str, Any]:
    if not sender:
        ton, npi = consts.SMPP_TON_UNK, consts.SMPP_NPI_UNK
    elif not is_number(sender):
        ton, npi = consts.SMPP_TON_ALNUM, consts.SMPP_NPI_UNK
    else:
        sender = sender.removeprefix("+").removeprefix("00")
        ton, npi = consts.SMPP_TON_INTL, consts.SMPP_NPI_ISDN
    return {f"{name}_ton": ton, f"{name}_npi": npi, name: sender}


def _refuse(_receipts: Sequence[Receipt]) -> None:
    """Have receipts sent again, to whoever can keep them."""
    raise GatewayUnavailable("Nobody takes receipts here.")
