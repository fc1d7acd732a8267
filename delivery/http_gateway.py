"""Hands text messages to a gateway over HTTP: one POST of a JSON object for each (described in docs/sms.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import structlog

from delivery.handovers import GatewayUnavailable, Handover, Outcome, OutgoingText, ReceiptTaker

log = structlog.get_logger()

CONNECTIONS = 8
TOTAL_SECONDS = 20.0
MAX_ID = 200
_LOGIN = (401, 403, 407)
_LATER = (*_LOGIN, 408, 429, 503)
"""A password that is wrong today must not cost messages."""


def make_http_gateway(url: str) -> HttpGateway:
    """Return the gateway of a URL; user and password in it are sent as HTTP Basic authentication.

    Raises:
        ValueError: it is not a URL with a host; the text shows nothing of it.
    """
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError):
        parsed = httpx2.URL("")
    if not parsed.host:
        raise ValueError("sms_gateway is like https://USER:PASSWORD@HOST/PATH.")
    auth = (parsed.username, parsed.password) if parsed.username else None
    return HttpGateway(parsed.copy_with(userinfo=b""), auth)


class HttpGateway:
    """A gateway that takes one message with each request, and tells later what became of it by a request to us."""

    def __init__(self, url: httpx2.URL, auth: tuple[str, str] | None) -> None:
        """Connect to nothing yet.

        Args:
            url: of the requests, without user and password; its query is sent too.
            auth: user and password.
        """
        limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        self._url = url
        # The machine's proxy settings are not meant for what holds numbers and texts of recipients.
        self._client = httpx2.Client(auth=auth, timeout=TOTAL_SECONDS, limits=limits, trust_env=False)
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="sms-http")

    def on_receipts(self, take: ReceiptTaker) -> None:
        """Receipts come to a page of the web application, which keeps them."""

    def connect(self) -> None:
        """Each request connects for itself."""

    def send(self, texts: Sequence[OutgoingText]) -> list[Handover]:
        """Hand messages over and return what became of each, in order.

        Raises:
            GatewayUnavailable: none of them was handed over.
        """
        handovers = list(self._threads.map(self._send_one, texts))
        found = [handover for handover in handovers if handover is not None]
        if texts and not found:
            raise GatewayUnavailable("The connection was not accepted.")
        return [handover or Handover(Outcome.DEFERRED) for handover in handovers]

    def check(self) -> list[str]:
        """Connect; return lines that tell what was found."""
        try:
            answer = self._client.request("OPTIONS", self._url)
        except httpx2.HTTPError as error:
            raise GatewayUnavailable(f"There was no answer ({type(error).__name__}).") from error
        if answer.status_code in _LOGIN:
            raise GatewayUnavailable(f"The gateway refuses the login (HTTP {answer.status_code}).")
        return [f"{self._url.host} answers (HTTP {answer.status_code}); no message was sent."]

    def close(self) -> None:
        """End the connections."""
        self._threads.shutdown()
        self._client.close()

    def _send_one(self, text: OutgoingText) -> Handover | None:
        """Return what became of a message, None when there was no connection."""
        try:
            answer = self._client.post(self._url, json=describe_text(text))
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout):
            return None
        except Exception as error:
            # Whatever it is, it concerns this message only, and nobody knows whether it was sent.
            return Handover(Outcome.UNKNOWN, code=type(error).__name__)
        if answer.status_code in _LOGIN:
            log.warning("gateway_refuses_login", status=answer.status_code)
        return read_answer(answer.status_code, answer.content)


def describe_text(text: OutgoingText) -> dict[str, Any]:
    """Return what is sent as JSON: the whole text, which the gateway divides as it likes."""
    return {
        "to": text.number,
        "from": text.sender,
        "text": "".join(text.parts),
        "unicode": text.unicode,
        "parts": len(text.parts),
        "reference": text.reference,
        "callback": text.callback,
    }


def read_answer(status: int, body: bytes) -> Handover:
    """Return what an answer means.

    Args:
        status: of HTTP; 2xx is accepted, 401, 403, 407, 408, 429 and 503 mean later, other 4xx never, and
            after the rest nobody knows.
        body: a JSON object with the gateway's `id` for the message.
    """
    code = f"HTTP {status}"
    if 200 <= status < 300:
        return Handover(Outcome.ACCEPTED, _read_id(body))
    if status in _LATER:
        return Handover(Outcome.DEFERRED, code=code)
    return Handover(Outcome.REFUSED if 400 <= status < 500 else Outcome.UNKNOWN, code=code)


def _read_id(body: bytes) -> str | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    named = found.get("id") if isinstance(found, dict) else None
    if not isinstance(named, str | int) or isinstance(named, bool):
        return None
    # Databases refuse some of what is not printable: NUL, and halves of characters.
    return "".join(filter(str.isprintable, str(named)))[:MAX_ID] or None
