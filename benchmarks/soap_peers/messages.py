"""What the benchmark's servers are asked and what they must answer, in a contract that all of them share."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

NAMESPACE = "http://bench.example/"
PATH = "/Bench.asmx"
USER = "a1"
PASSWORD = "secret"  # noqa: S105
COLUMNS = ("Id", "Name", "Email", "Status", "Created")
NUMBER = 42
COUNT = 100

RowValues = tuple[int, str, str, str, str]

_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"


@dataclass(frozen=True, slots=True)
class Message:
    """A request."""

    action: str
    envelope: bytes


def prepare_rows() -> list[RowValues]:
    """Return the rows that every server builds its answer from; some need escaping, some are not ASCII."""
    return [_prepare_row(number) for number in range(1, COUNT + 1)]


def _prepare_row(number: int) -> RowValues:
    name = f"Città & Figli {number}" if number % 10 == 0 else f"Person {number}"
    email = f"person{number}@mail{number % 7}.example.com"
    status = "Active" if number % 3 else "Unsubscribed"
    return number, name, email, status, f"2024-05-{number % 28 + 1:02}T09:{number % 60:02}:00"


def write_rows(path: Path) -> Path:
    """Write the rows for servers in other languages: a line each, cells parted by tabs."""
    lines = ("\t".join(map(str, row)) for row in prepare_rows())
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def wrap_call(namespace: str, operation: str, content: str = "", password: str = PASSWORD) -> bytes:
    """Return an envelope of SOAP 1.1 with the header that all contracts here share, as a .NET client writes it."""
    return (
        f'<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="{_SOAP}"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema">'
        f'<soap:Header><Authentication xmlns="{namespace}"><User>{USER}</User><Password>{password}</Password>'
        f'</Authentication></soap:Header><soap:Body><{operation} xmlns="{namespace}">{content}</{operation}>'
        "</soap:Body></soap:Envelope>"
    ).encode()


def name_call(password: str = PASSWORD) -> Message:
    """Return the call of an int that is answered by a string."""
    return Message(f"{NAMESPACE}Name", wrap_call(NAMESPACE, "Name", f"<number>{NUMBER}</number>", password))


def rows_call() -> Message:
    """Return the call that is answered by a list of rows."""
    return Message(f"{NAMESPACE}ListRows", wrap_call(NAMESPACE, "ListRows", f"<count>{COUNT}</count>"))


def post(port: int, path: str, message: Message) -> tuple[int, bytes]:
    """Send a message to a server on this machine; return status and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{message.action}"'}
    try:
        connection.request("POST", path, message.envelope, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def check_server(port: int) -> None:
    """Check that a server answers both calls rightly, element by element, and refuses a wrong password with a fault.

    Raises:
        ValueError: with what it answered instead.
    """
    expected_rows = [(f"{{{NAMESPACE}}}Row", _expect_cells(row)) for row in prepare_rows()]
    name = _expect(port, name_call(), 200, f"{{{NAMESPACE}}}NameResponse")
    (result,) = name
    _compare((result.tag, result.text), (f"{{{NAMESPACE}}}NameResult", f"number {NUMBER}"))
    (array,) = _expect(port, rows_call(), 200, f"{{{NAMESPACE}}}ListRowsResponse")
    _compare(array.tag, f"{{{NAMESPACE}}}ListRowsResult")
    _compare([(row.tag, [(cell.tag, cell.text) for cell in row]) for row in array], expected_rows)
    _expect(port, name_call("wrong"), 500, f"{{{_SOAP}}}Fault")


def _expect(port: int, message: Message, status: int, tag: str) -> etree._Element:
    """Return the element in the body of the answer."""
    found, content = post(port, PATH, message)
    _compare(found, status)
    body = etree.fromstring(content).find(f"{{{_SOAP}}}Body")
    if body is None or len(body) != 1:
        raise ValueError(f"no body with one element: {content[:300]!r}")
    _compare(body[0].tag, tag)
    return body[0]


def _expect_cells(row: RowValues) -> list[tuple[str, str]]:
    return [(f"{{{NAMESPACE}}}{column}", str(value)) for column, value in zip(COLUMNS, row, strict=True)]


def _compare(found: object, expected: object) -> None:
    if found != expected:
        raise ValueError(f"{str(found)[:300]} instead of {str(expected)[:300]}")
