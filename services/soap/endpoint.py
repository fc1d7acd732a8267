"""The HTTP side of one SOAP service: contract and pages for GET, calls for POST.

Whatever arrives gets an answer, and a fixed one where it was not a call (ASMX notes §1): 400 for what is not
XML, 415 and 405 for the wrong door, a fault for what is XML but not a call, 503 while too many send large ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack, nullcontext
from typing import Any

import structlog

from services.http.answers import StartResponse, refuse_for_now, refuse_method, send_answer
from services.http.bodies import read_body, skip_rest
from services.http.failures import describe_failure
from services.http.metrics import CALLS
from services.http.options import HttpOptions
from services.http.origins import caller_address, request_origin
from services.resources import Resources
from services.soap.admission import Admission
from services.soap.codec import OperationCodec, ServiceCodec
from services.soap.declarations import Call, Service
from services.soap.envelope import Envelope, UnsupportedMediaType, open_envelope, read_header
from services.soap.faults import SoapFault, SoapVersion, encode_fault, wrap_body
from services.soap.large_text import NoRoom
from services.soap.media_types import ContentType, parse_content_type
from services.soap.pages import ServicePages
from services.soap.reader import MalformedDocument, Node
from services.throttle import NoPlace

log = structlog.get_logger()

Environ = dict[str, Any]

_UNKNOWN_ACTION = "Server did not recognize the value of HTTP Header SOAPAction."
_NO_ACTION = "Unable to handle request without a valid action parameter. Please supply a valid soap action."
_NO_OPERATION = "Server was unable to read request. ---> The body of the message holds no operation."
_FAILED = "Server was unable to process request."
_NO_ROOM = "Server was unable to process request. ---> There is no room for the message."


class SoapEndpoint:
    """A WSGI application for one service."""

    def __init__(self, service: Service, resources: Resources, options: HttpOptions) -> None:
        self.codec = ServiceCodec(service)
        self._service = service
        self._resources = resources
        self._options = options
        self._pages = ServicePages(service)
        self._max_body = options.xml.message + (options.xml.large_message if self.codec.takes_large else 0)
        self._header_name: str | None = service.header.get_type_name() if service.header is not None else None
        self._header_members = tuple(service.header.get_flat_type_info(service.header)) if self._header_name else ()
        self._counters: dict[tuple[str, str], Any] = {}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method == "POST":
            return self._post(environ, start_response)
        if method not in ("GET", "HEAD"):
            return refuse_method(start_response, "GET", "HEAD", "POST")
        origin = request_origin(environ, trust_forwarded=self._options.trust_forwarded)
        status, content, content_type = self._pages.find(environ.get("QUERY_STRING", ""), origin)
        return send_answer(start_response, status, content, content_type, head=method == "HEAD")

    def _post(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        content_type = parse_content_type(environ.get("CONTENT_TYPE") or "")
        if content_type.version is None:
            return send_answer(start_response, 415)
        if not self.codec.takes_large:
            return self._exchange(environ, start_response, content_type, content_type.version, None)
        with ExitStack() as held:
            admission = self._create_admission(environ, content_type, held)
            return self._exchange(environ, start_response, content_type, content_type.version, admission)

    def _exchange(
        self,
        environ: Environ,
        start_response: StartResponse,
        content_type: ContentType,
        version: SoapVersion,
        admission: Admission | None,
    ) -> Iterable[bytes]:
        """Answer a message that is sent as this version of SOAP."""
        try:
            envelope = open_envelope(self._read_message(environ, content_type, admission), content_type.media_type)
            version = envelope.version
            action = content_type.action or environ.get("HTTP_SOAPACTION", "")
            call = admission.call if admission is not None else None
            status, content = self._answer_call(envelope, action, environ, call)
        except MalformedDocument:
            return send_answer(start_response, 400)
        except UnsupportedMediaType:
            return send_answer(start_response, 415)
        except NoPlace:
            return refuse_for_now(start_response)
        except SoapFault as fault:
            # A root of no known version is answered in the older one, which everybody reads.
            version = SoapVersion.V11 if fault.code == "VersionMismatch" else version
            status, content = fault.status, encode_fault(version, fault)
        return send_answer(start_response, status, content, version.content_type)

    def _read_message(self, environ: Environ, content_type: ContentType, admission: Admission | None) -> Node:
        chunks = read_body(environ, self._max_body)
        try:
            open_text = admission.open_text if admission is not None else None
            return self.codec.read_message(chunks, self._options.xml, content_type.charset, open_text)
        except (NoRoom, MalformedDocument, SoapFault) as refusal:
            log.warning("soap_message_refused", service=self._service.name, reason=type(refusal).__name__)
            skip_rest(chunks)
            if isinstance(refusal, NoRoom):
                raise SoapFault("Server", _NO_ROOM) from None
            raise

    def _create_admission(self, environ: Environ, content_type: ContentType, held: ExitStack) -> Admission:
        def describe_call(root: Node) -> Call:
            return self._describe_call(environ, open_envelope(root, content_type.media_type))

        return Admission(self._service, self._resources, describe_call, held)

    def _describe_call(self, environ: Environ, envelope: Envelope) -> Call:
        header = read_header(envelope, self._header_name, self._header_members)
        address = caller_address(environ, trust_forwarded=self._options.trust_forwarded)
        return Call(self._resources, header, address, service=self._service.name)

    def _answer_call(self, envelope: Envelope, action: str, environ: Environ, call: Call | None) -> tuple[int, bytes]:
        operation: OperationCodec | None = None
        try:
            operation = self._find_operation(envelope.body, action)
            assert envelope.body is not None
            # Large calls may take a minute; they are few, and nobody waits behind them.
            lane = self._resources.lanes if call is None else nullcontext()
            call = call or self._describe_call(environ, envelope)
            parameters = operation.decode(envelope.body)
            with lane:
                result = operation.function(call, *parameters)
            content = wrap_body(envelope.version, operation.encode(result))
        except SoapFault as fault:
            self._count(operation, "fault")
            return fault.status, encode_fault(envelope.version, fault)
        except Exception as error:
            log.error("soap_call_failed", service=self._service.name, **describe_failure(error))
            self._count(operation, "failure")
            return 500, encode_fault(envelope.version, SoapFault("Server", _FAILED))
        self._count(operation, self._service.describe_outcome(result))
        return 200, content

    def _find_operation(self, body: Node | None, action: str) -> OperationCodec:
        """Find the operation by the first element of the body, which the action must not contradict.

        Raises:
            SoapFault: there is none, or the action names another one.
        """
        if body is None:
            raise SoapFault("Client", _NO_OPERATION)
        operation = self.codec.operations.get(body.tag)
        action = action.strip(' "')
        # Some clients send no action or `*`; then the body alone decides.
        if operation is None or action not in ("", "*", operation.action):
            raise SoapFault("Client", _UNKNOWN_ACTION if action else _NO_ACTION)
        return operation

    def _count(self, operation: OperationCodec | None, outcome: str) -> None:
        labels = (operation.name if operation is not None else "unknown", outcome)
        counter = self._counters.get(labels)
        if counter is None:
            counter = self._counters[labels] = CALLS.labels(self._service.name, *labels)
        counter.inc()
