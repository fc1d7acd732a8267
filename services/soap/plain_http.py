"""Calls by plain GET and form POST, one address for each operation (ASMX's HTTP bindings).

No header can come this way. The services that publish these addresses refuse every call without one, so the
parameters make no difference and are not read; the addresses exist because the contract names them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from services.http.answers import XML, StartResponse, refuse_method, send_answer
from services.http.bodies import read_body
from services.http.metrics import CALLS
from services.http.options import HttpOptions
from services.http.origins import caller_address
from services.resources import Resources
from services.soap.codec import OperationCodec, build_codecs
from services.soap.declarations import Call, Service


class PlainEndpoint:
    """A WSGI application for one operation."""

    def __init__(self, service: Service, codec: OperationCodec, resources: Resources, options: HttpOptions) -> None:
        self._service = service
        self._codec = codec
        self._resources = resources
        self._options = options

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method not in ("GET", "HEAD", "POST"):
            return refuse_method(start_response, "GET", "HEAD", "POST")
        for _chunk in read_body(environ, self._options.max_body):
            # A connection closed with unread bytes in it may take the answer with it.
            pass
        address = caller_address(environ, trust_forwarded=self._options.trust_forwarded)
        result = self._codec.function(Call(self._resources, None, address), *self._codec.defaults)
        CALLS.labels(self._service.name, self._codec.name, self._service.describe_outcome(result)).inc()
        content = f'<?xml version="1.0" encoding="utf-8"?>{self._codec.encode_plain(result)}'
        return send_answer(start_response, 200, content.encode(), XML, head=method == "HEAD")


def create_plain_endpoints(service: Service, resources: Resources, options: HttpOptions) -> dict[str, PlainEndpoint]:
    """Return the endpoints of a service by the ends of their paths; none when the service has no such addresses."""
    codecs = build_codecs(service).values() if service.plain_http else ()
    return {f"/{codec.name}": PlainEndpoint(service, codec, resources, options) for codec in codecs}
