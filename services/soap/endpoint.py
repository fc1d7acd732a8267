"""The HTTP side of one SOAP service: contract and help page for GET, calls for POST.

Whatever arrives gets an answer, and a fixed one where it was not a call (ASMX notes §1): 400 for what is not
XML, 415 and 405 for the wrong door, a fault for what is XML but not a call, 503 while too many send large ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from email.message import Message
from html import escape
from typing import Any
from urllib.parse import parse_qsl

import structlog

from services.http.answers import XML, StartResponse, refuse_for_now, refuse_method, send_answer
from services.http.bodies import hold_body
from services.http.failures import describe_failure
from services.http.metrics import CALLS
from services.http.options import HttpOptions
from services.http.origins import caller_address, request_origin
from services.resources import Resources
from services.soap.codec import OperationCodec, build_codecs
from services.soap.contract import ADDRESS, read_frozen
from services.soap.declarations import Call, Service
from services.soap.envelope import Envelope, UnsupportedMediaType, read_envelope, read_header
from services.soap.faults import SoapFault, SoapVersion, encode_fault, wrap_body
from services.soap.tree import MalformedDocument, Node
from services.throttle import NoPlace

log = structlog.get_logger()

Environ = dict[str, Any]

_UNKNOWN_ACTION = "Server did not recognize the value of HTTP Header SOAPAction."
_NO_OPERATION = "Server was unable to read request. ---> The body of the message holds no operation."
_FAILED = "Server was unable to process request."


class SoapEndpoint:
    """A WSGI application for one service."""

    def __init__(self, service: Service, resources: Resources, options: HttpOptions) -> None:
        self._service = service
        self._resources = resources
        self._options = options
        self._contract = read_frozen(service)
        self._codecs = build_codecs(service)
        self._header_name: str | None = service.header.get_type_name() if service.header is not None else None
        self._header_members = tuple(service.header.get_flat_type_info(service.header)) if self._header_name else ()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method == "POST":
            return self._post(environ, start_response)
        if method not in ("GET", "HEAD"):
            return refuse_method(start_response, "GET", "HEAD", "POST")
        content, content_type = self._describe(environ)
        return send_answer(start_response, 200, content, content_type, head=method == "HEAD")

    def _describe(self, environ: Environ) -> tuple[bytes, str]:
        keys = {key.lower() for key, _ in parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)}
        if "wsdl" in keys:
            origin = request_origin(environ, trust_forwarded=self._options.trust_forwarded)
            placeholder = f'location="{ADDRESS}/'.encode()
            content = self._contract.replace(placeholder, f'location="{escape(origin)}/'.encode())
            return content, XML
        return _help_page(self._service).encode(), "text/html; charset=utf-8"

    def _post(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        content_type = Message()
        content_type["content-type"] = environ.get("CONTENT_TYPE") or "none/none"
        media_type = content_type.get_content_type()
        version = next((version for version in SoapVersion if media_type == version.media_type), None)
        if version is None:
            return send_answer(start_response, 415)
        try:
            with hold_body(environ, self._options.max_import_body, self._resources.large_bodies) as chunks:
                envelope = read_envelope(chunks, media_type, content_type.get_content_charset())
                action = content_type.get_param("action") or environ.get("HTTP_SOAPACTION", "")
                address = caller_address(environ, trust_forwarded=self._options.trust_forwarded)
                status, content = self._answer_call(envelope, str(action), address)
        except MalformedDocument:
            return send_answer(start_response, 400)
        except UnsupportedMediaType:
            return send_answer(start_response, 415)
        except NoPlace:
            return refuse_for_now(start_response)
        except SoapFault as fault:
            return send_answer(start_response, 500, encode_fault(version, fault), _soap_type(version))
        return send_answer(start_response, status, content, _soap_type(envelope.version))

    def _answer_call(self, envelope: Envelope, action: str, address: str) -> tuple[int, bytes]:
        codec: OperationCodec | None = None
        try:
            codec = self._find_operation(envelope.body, action)
            assert envelope.body is not None
            header = read_header(envelope, self._header_name, self._header_members)
            parameters = codec.decode(envelope.body)
            result = codec.function(Call(self._resources, header, address), *parameters)
        except SoapFault as fault:
            self._count(codec, "fault")
            return 500, encode_fault(envelope.version, fault)
        except Exception as error:
            log.error("soap_call_failed", service=self._service.name, **describe_failure(error))
            self._count(codec, "failure")
            return 500, encode_fault(envelope.version, SoapFault("Server", _FAILED))
        self._count(codec, self._service.describe_outcome(result))
        return 200, wrap_body(envelope.version, codec.encode(result))

    def _find_operation(self, body: Node | None, action: str) -> OperationCodec:
        """Find the operation by the first element of the body, which the action must not contradict.

        Raises:
            SoapFault: there is none, or the action names another one.
        """
        if body is None:
            raise SoapFault("Client", _NO_OPERATION)
        codec = self._codecs.get(body.name) if body.namespace == self._service.namespace else None
        action = action.strip().strip('"')
        # Some clients send no action or `*`; then the body alone decides.
        expected = ("", "*", self._service.action(body.name))
        if codec is None or action not in expected:
            raise SoapFault("Client", _UNKNOWN_ACTION)
        return codec

    def _count(self, codec: OperationCodec | None, outcome: str) -> None:
        CALLS.labels(self._service.name, codec.name if codec is not None else "unknown", outcome).inc()


def _soap_type(version: SoapVersion) -> str:
    return f"{version.media_type}; charset=utf-8"


def _help_page(service: Service) -> str:
    operations = "".join(f"<li>{escape(operation.name)}</li>" for operation in service.operations)
    name = escape(service.name)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{name} Web Service</title></head>'
        f"<body><h1>{name}</h1><p>{escape(service.documentation)}</p>"
        "<p>The following operations are supported. For a formal definition, please review the "
        f'<a href="?WSDL">Service Description</a>.</p><ul>{operations}</ul></body></html>'
    )
