"""Short answers of the doors that are plain WSGI, each with its length."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

StartResponse = Callable[..., Any]

XML = "text/xml; charset=utf-8"
_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
RETRY_SECONDS = 10
"""After which a caller may try again when the server was too busy."""


def send_answer(
    start_response: StartResponse,
    status: int,
    content: bytes = b"",
    content_type: str | None = None,
    *,
    extra: Iterable[tuple[str, str]] = (),
    head: bool = False,
) -> list[bytes]:
    """Start a response and return its body, which is left out after a HEAD request."""
    headers = [("Content-Length", str(len(content))), *extra]
    if content_type is not None:
        headers.append(("Content-Type", content_type))
    start_response(_LINES[status], headers)
    return [b"" if head else content]


def refuse_method(start_response: StartResponse, *allowed: str) -> list[bytes]:
    """Answer 405 with the methods that are allowed (RFC 9110 section 15.5.6)."""
    return send_answer(start_response, 405, extra=[("Allow", ", ".join(allowed))])


def refuse_for_now(start_response: StartResponse) -> list[bytes]:
    """Answer 503 with the time after which to try again (RFC 9110 section 15.6.4)."""
    return send_answer(start_response, 503, extra=[("Retry-After", str(RETRY_SECONDS))])
