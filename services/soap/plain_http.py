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
from services.soap.codec import OperationCodec, ServiceCodec
from services.soap.declarations import Call
from services.soap.reader import Node


class PlainEndpoint:
    """A WSGI application for one operation."""

    def __init__(
        self, codec: ServiceCodec, operation: OperationCodec, resources: Resources, options: HttpOptions
    ) -> None:
        self._codec = codec
        self._operation = operation
        self._no_parameters = operation.decode(Node("", {}, 0, 0))
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
        service = self._codec.service
        call = Call(self._resources, None, address, service=service.name)
        result = self._operation.function(call, *self._no_parameters)
        CALLS.labels(service.name, self._operation.name, service.describe_outcome(result)).inc()
        content = f'<?xml version="1.0" encoding="utf-8"?>{self._codec.encode_plain(result)}'
        return send_answer(start_response, 200, content.encode(), XML, head=method == "HEAD")


def create_plain_endpoints(codec: ServiceCodec, resources: Resources, options: HttpOptions) -> dict[str, PlainEndpoint]:
    """Return the endpoints of a service by the ends of their paths; none when the service has no such addresses."""
    if not codec.service.plain_http:
        return {}
    return {f"/{one.name}": PlainEndpoint(codec, one, resources, options) for one in codec.operations.values()}
