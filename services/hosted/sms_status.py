"""The page on which a gateway for text messages tells what became of one (described in docs/sms.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from flask import Blueprint, Response, request

from audience.events import SmsStatus
from delivery.sms_receipts import STATUS_PATH, read_status_token, record_fate
from services.hosted.forms import MAX_BODY, read_form
from services.http.answers import RETRY_SECONDS
from services.http.bodies import read_body
from services.http.options import HttpOptions
from services.http.origins import caller_address
from services.http.rate_limits import RateLimit, network_of
from services.resources import Resources

MAX_CODE = 50
_STATUSES = {"delivered": SmsStatus.DELIVERED, "failed": SmsStatus.ERROR, "queued": SmsStatus.QUEUED}


def create_sms_status(resources: Resources, options: HttpOptions) -> Blueprint:
    """Return `/sms-status/…`."""
    pages = Blueprint("sms_status", __name__)
    limit = RateLimit(options.form_rate_per_address)

    @pages.post(f"{STATUS_PATH}<token>")
    def tell_status(token: str) -> Response:
        delivery_id = resources.read(lambda connection: read_status_token(connection, token))
        if delivery_id is None:
            # A gateway may tell of as many messages as it has; only whoever guesses is kept waiting.
            limit.count(network_of(caller_address(request.environ, trust_forwarded=options.trust_forwarded)))
            return Response(status=404)
        told = _read_values()
        status = _STATUSES.get(str(told.get("status", "")).strip().lower())
        if status is None:
            return Response("status: It is delivered, failed or queued.\n", 400, content_type="text/plain")
        code = _read_code(told)
        if resources.write(lambda connection: record_fate(connection, delivery_id, status, code)):
            return Response(status=204)
        # It was faster than the answer that told us that the gateway has the message.
        return Response(status=503, headers={"Retry-After": str(RETRY_SECONDS)})

    return pages


def _read_values() -> Mapping[str, Any]:
    """Return the values of a JSON object, a form, or the query."""
    if request.mimetype != "application/json":
        return {**request.args.to_dict(), **read_form().to_dict()}
    try:
        values = orjson.loads(b"".join(read_body(request.environ, MAX_BODY)))
    except orjson.JSONDecodeError:
        return {}
    return values if isinstance(values, dict) else {}


def _read_code(told: Mapping[str, Any]) -> str | None:
    code = "".join(character for character in str(told.get("code") or "") if character.isprintable())
    return code[:MAX_CODE].strip() or None
