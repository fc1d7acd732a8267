"""The catch-alls: whatever breaks inside, the caller gets an answer, and the log nothing of his."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from db.engine import Database
from jobs.storage import Storage
from services.http.application import HttpOptions, create_application
from services.mailup.import_service import IMPORT_SERVICE, NAMESPACE
from services.resources import Resources
from services.soap.declarations import Call, operation
from services.soap.endpoint import SoapEndpoint


@pytest.fixture
def resources(sqlite_url: str, storage: Storage) -> Iterator[Resources]:
    database = Database(sqlite_url)
    yield Resources(database, storage)
    database.close()


def _call(application: Any, environ: dict[str, Any]) -> tuple[str, bytes]:
    statuses: list[str] = []

    def start(status: str, _headers: list[tuple[str, str]], _exc_info: Any = None) -> None:
        statuses.append(status)

    body = b"".join(application(environ, start))
    return statuses[-1], body


def test_a_request_that_breaks_the_program(resources: Resources) -> None:
    application = create_application(resources.database, resources.storage, HttpOptions())
    with capture_logs() as logs:
        status, body = _call(application, {"PATH_INFO": "/Services/WSMailUpImport.asmx", "QUERY_STRING": "canary"})
    assert (status, body) == ("500 Internal Server Error", b"500 Internal Server Error")
    (entry,) = (entry for entry in logs if entry["event"] == "request_failed")
    assert entry["error"] == "KeyError"
    assert "canary" not in str(logs)


@operation("GetNlLists")
def _break(_call: Call) -> str:
    raise ValueError("canary")


def test_an_operation_that_fails_is_a_server_fault(resources: Resources) -> None:
    endpoint = SoapEndpoint(replace(IMPORT_SERVICE, operations=(_break,)), resources, HttpOptions())
    body = (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>'
        f'<GetNlLists xmlns="{NAMESPACE}"/></e:Body></e:Envelope>'
    ).encode()
    environ = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": "text/xml",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    with capture_logs() as logs:
        status, answer = _call(endpoint, environ)
    assert status == "500 Internal Server Error"
    assert b"<faultcode>soap:Server</faultcode>" in answer
    assert b"canary" not in answer
    assert "canary" not in str(logs)
    assert logs[0]["event"] == "soap_call_failed"
