"""The forms that browsers, and mail programs on their readers' behalf, send to the hosted pages."""

from __future__ import annotations

import io
from typing import Any

from flask import request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from services.http.bodies import BodyTooLarge, read_body

MAX_BODY = 64 * 1024
"""Bytes of a form; a choice among a thousand lists has less."""
MAX_PARTS = 1000


def read_form() -> MultiDict[str, str]:
    """Return the form of this request; empty when its body is no form.

    Raises:
        BodyRefused: the body cannot be taken.
    """
    body = b"".join(read_body(request.environ, MAX_BODY))
    parser: Any = FormDataParser(max_form_memory_size=MAX_BODY, max_form_parts=MAX_PARTS)
    try:
        form: MultiDict[str, str] = parser.parse(
            io.BytesIO(body), request.mimetype, len(body), dict(request.mimetype_params)
        )[1]
    except RequestEntityTooLarge:
        raise BodyTooLarge from None
    return form


def is_one_click(form: MultiDict[str, str]) -> bool:
    """Tell whether a mail program sent the form because its user pressed its own button (RFC 8058 section 3.2)."""
    return form.get("List-Unsubscribe") == "One-Click"
