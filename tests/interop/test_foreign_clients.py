"""Programs of other languages at work: clients that foreign SOAP stacks make of the served contracts.

The table of situations stands once for all stacks; what a stack cannot do is told beside it, with the reason.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from foreign_tools import Answer, Client, Request, Tool
from gsoap_tools import Gsoap
from interop_server import PASSWORD, WORDS, Office, Server
from java_tools import Axis, JaxWs
from mono_tools import MonoWsdl, Svcutil
from node_tools import NodeSoap, StrongSoap
from perl_tools import SoapLite
from php_tools import Php
from python_tools import Suds, Zeep
from recordings import Recordings, shared_folder
from sample_contract import SAMPLE_SERVICE, SHAPES_SERVICE

from services.contracts import SERVICES

TOOLS: tuple[Tool, ...] = (
    Gsoap(),
    JaxWs(),
    Axis(),
    MonoWsdl(),
    Svcutil(),
    Zeep(),
    Suds(),
    NodeSoap(),
    StrongSoap(),
    Php(),
    SoapLite(),
)
CONTRACTS = {service.name: service for service in (*SERVICES, SAMPLE_SERVICE, SHAPES_SERVICE)}

Expectation = Callable[[Any], None]


class Given(Enum):
    """Stands in the table for what is known when a client runs."""

    USER = "the account's user"
    CONSOLE = "the account's number"
    KEY = "the access key that the client got last"


@dataclass(frozen=True)
class Situation:
    """One call with what must come of it."""

    service: str
    name: str
    operation: str
    expected: Expectation
    arguments: Mapping[str, Any] = field(default_factory=dict)
    header: Mapping[str, Any] | None = None
    elsewhere: bool = False
    """Whether it is sent to the address of another service, which refuses it."""
    only: Sequence[str] = ()
    """The stacks that can do this; all when empty."""
    unable: Mapping[str, str] = field(default_factory=dict)
    """Why a stack cannot do this."""


def holds(*parts: str) -> Expectation:
    """Expect text with these parts in it."""

    def check(value: Any) -> None:
        assert isinstance(value, str)
        assert [part for part in parts if part not in value] == [], value

    return check


def equals(*values: Any) -> Expectation:
    """Expect one of some values; names of types count only where they are expected."""

    def check(value: Any) -> None:
        assert any(_fits(_flatten(value), expected) for expected in values), value

    return check


def _flatten(value: Any) -> Any:
    """Return a list for each mapping that is an element around a list, as the stacks have it in different ways."""
    if isinstance(value, list):
        return [_flatten(item) for item in value]
    if not isinstance(value, dict):
        return value
    inner = [
        member for name, member in value.items() if name not in ("xsi:type", "attributes", "$attributes", "@xmlns")
    ]
    if not inner:
        return []
    if len(inner) == 1 and isinstance(inner[0], list | dict):
        return _flatten(inner[0] if isinstance(inner[0], list) else [inner[0]])
    return value


def _fits(value: Any, expected: Any) -> bool:
    if isinstance(expected, list):
        return isinstance(value, list) and len(value) == len(expected) and all(map(_fits, value, expected))
    if not isinstance(expected, dict):
        return bool(value == expected or (isinstance(expected, int) and value == str(expected)))
    return isinstance(value, dict) and all(_fits(value.get(name), member) for name, member in expected.items())


def fails(code: str, *texts: str, detail: str | None = None) -> Expectation:
    """Expect a fault with one of some texts; its code is named as in SOAP 1.1."""

    def check(fault: Any) -> None:
        assert isinstance(fault, dict), fault
        found = re.split("[:}]", fault["code"])[-1]
        assert {"Sender": "Client", "Receiver": "Server"}.get(found, found) == code
        assert any(text in fault["text"] for text in texts), fault["text"]
        assert (fault["detail"] or None) == detail

    check.__doc__ = "fault"
    return check


REFUSED = fails(
    "Client",
    "Server did not recognize the value of HTTP Header SOAPAction",
    # In SOAP 1.2 the action is a parameter of the media type, which some stacks do not send.
    "Unable to handle request without a valid action parameter",
)
ESCAPED_WORDS = "Citt&#224; &#8211; &#26481;&#20140; &#8211; &#128512;"
# Axis 1.4 writes a character beyond the basic plane as two references to halves of it, which is no XML.
PLAIN_WORDS = "Città – 東京"
MARKUP = f"<b>&amp; \"quoted\" 'x' ]]> {PLAIN_WORDS}</b>"
EMPTY = ("", None)
LITTLE_UNICODE = {"axis": "writes characters beyond the basic plane as two references, which is no XML"}


def credentials(password: str) -> Mapping[str, Any]:
    return {"name": "Authentication", "members": {"User": Given.USER, "Password": password, "encType": "UTF-8"}}


def import_of(document: str | None) -> Mapping[str, Any]:
    texts = {"listsIDs": "1", "listsGUIDs": None, "xmlDoc": document, "groupsIDs": ""}
    flags = dict.fromkeys(("asPending", "ConfirmEmail", "asOptOut", "forceOptIn", "replaceGroups"), False)
    return {**texts, "importType": 3, "mobileInputType": 2, **flags, "forceOptIn": True}


DOCUMENT = (
    f'<subscribers><subscriber email="ada@example.com"><campo1>{PLAIN_WORDS} &amp;</campo1></subscriber></subscribers>'
)
DETAILS = {"idList": 1, "listGUID": None, "idProcess": 999999}
IMPORT = "WSMailUpImport"

IMPORT_SITUATIONS = (
    Situation(
        IMPORT,
        "success",
        "GetNlLists",
        holds("<ReturnCode>0<", 'idList="1"', f'listName="{ESCAPED_WORDS}"', f'groupName="{ESCAPED_WORDS}"'),
        header=credentials(PASSWORD),
    ),
    Situation(IMPORT, "wrong password", "GetNlLists", holds("<ReturnCode>-1002<"), header=credentials("wrong")),
    Situation(IMPORT, "no header", "GetNlLists", holds("<ReturnCode>-1013<")),
    Situation(IMPORT, "fault", "GetProcessDetails", REFUSED, DETAILS, credentials(PASSWORD), elsewhere=True),
    Situation(IMPORT, "numbers", "GetProcessDetails", holds("<ReturnCode>-501<"), DETAILS, credentials(PASSWORD)),
    Situation(
        IMPORT,
        "null",
        "StartImportProcesses",
        holds("<ReturnCode>0<", "<processes></processes>"),
        import_of(None),
        credentials(PASSWORD),
    ),
    Situation(
        IMPORT, "empty", "StartImportProcesses", holds("<ReturnCode>-401<"), import_of(""), credentials(PASSWORD)
    ),
    Situation(
        IMPORT,
        "document",
        "StartImportProcesses",
        holds("<ReturnCode>0<", "<processID>", "<listID>1</listID><ReturnCode>0<"),
        import_of(DOCUMENT),
        credentials(PASSWORD),
    ),
)

OPTIONS = {
    "of": "Option",
    "items": [{"Key": "note", "Value": PLAIN_WORDS}, {"Key": "link_track", "Value": "true"}],
}
LOGGED_IN = holds("<errorCode>0</errorCode>", "<accessKey><![CDATA[")
BAD_KEY = holds("<errorCode>4</errorCode>", "<errorDescription><![CDATA[")


def login(user: Any = Given.USER, password: str | None = PASSWORD) -> Mapping[str, Any]:
    return {"user": user, "pwd": password, "url": "console.example.com"}


def login_situations(service: str) -> Iterator[Situation]:
    """Yield the situations of a service that is called with an access key."""
    yield Situation(service, "success", "Login", LOGGED_IN, login())
    by_id = {"user": Given.USER, "pwd": PASSWORD, "consoleId": Given.CONSOLE}
    yield Situation(service, "number", "LoginFromId", LOGGED_IN, by_id)
    refused = holds("<errorCode>2</errorCode>", "<accessKey></accessKey>")
    yield Situation(service, "wrong password", "Login", refused, login(password="wrong"))
    yield Situation(service, "empty", "Login", refused, login("", ""))
    yield Situation(service, "null", "Login", refused, login(None, None))
    yield Situation(service, "fault", "Logout", REFUSED, {"accessKey": Given.KEY}, elsewhere=True)


def list_situations(service: str) -> Iterator[Situation]:
    """Yield what Send and Manage share."""
    key = {"accessKey": Given.KEY}
    named = holds("<errorCode>0<", f"<listName><![CDATA[{WORDS}]]></listName>")
    yield Situation(service, "list", "GetLists", named, key)
    grouped = holds("<errorCode>0<", "<listID>1<", f"<groupName><![CDATA[{WORDS}]]></groupName>")
    yield Situation(service, "groups", "GetGroups", grouped, {**key, "listID": 1})
    yield Situation(service, "bad key", "GetLists", BAD_KEY, {"accessKey": "nonsense"})
    yield Situation(service, "no key", "GetLists", BAD_KEY, {"accessKey": None})


REPORTED = {"accessKey": Given.KEY, "email": "ada@example.com", "listID": 1, "messageID": 0}
MESSAGE = {
    "accessKey": "nonsense",
    "listID": 1,
    "subject": PLAIN_WORDS,
    "type": "HTML",
    "content": "<p>",
    "options": OPTIONS,
}
KEYED_SITUATIONS = (
    *login_situations("MailupSend"),
    *list_situations("MailupSend"),
    Situation("MailupSend", "options", "CreateNewsletter", BAD_KEY, MESSAGE),
    Situation("MailupSend", "no options", "CreateNewsletter", BAD_KEY, {**MESSAGE, "options": None}),
    *login_situations("MailupManage"),
    *list_situations("MailupManage"),
    Situation(
        "MailupManage", "options", "UpdateGroup", BAD_KEY, {"accessKey": "nonsense", "groupID": 1, "options": OPTIONS}
    ),
    *login_situations("MailupReport"),
    Situation("MailupReport", "log out", "Logout", holds("<errorCode>0<"), {"accessKey": Given.KEY}),
    Situation("MailupReport", "bad key", "ReportByUser", BAD_KEY, REPORTED),
)

SAMPLE = "Sample"
TICKET = {"name": "Ticket", "members": {"Owner": PLAIN_WORDS, "Secret": "x"}}
ROWS = [{"number": n, "name": f"{WORDS} {n}"} for n in (1, 2, 3)]
SENT_ROWS = {"of": "Row", "items": [{"number": 7, "name": PLAIN_WORDS, "note": ""}, {"number": -8, "name": "b"}]}
CIRCLE = {"xsi:type": "Circle", "name": PLAIN_WORDS, "weight": 5, "label": "l", "radius": 3}
TILE = {"xsi:type": "Tile", "name": "t", "weight": None, "label": None, "side": 2, "colour": "red"}
SQUARE = {"xsi:type": "Square", "name": "s", "weight": -1, "label": "", "side": 4}
SHAPES = {"shapes": {"of": "Shape", "items": [CIRCLE, TILE, SQUARE]}}
SURVEYED = (
    f"Circle(name={PLAIN_WORDS},weight=5,label=l,radius=3);Tile(name=t,weight=None,label=None,side=2,colour=red);"
    "Square(name=s,weight=-1,label=,side=4)"
)

SAMPLE_SITUATIONS = (
    Situation(SAMPLE, "unicode", "Echo", equals(WORDS), {"text": WORDS}, unable=LITTLE_UNICODE),
    Situation(SAMPLE, "markup", "Echo", equals(MARKUP), {"text": MARKUP}),
    Situation(SAMPLE, "empty result", "Echo", equals(*EMPTY), {"text": ""}),
    Situation(SAMPLE, "null result", "Echo", equals(None), {"text": None}),
    Situation(SAMPLE, "empty", "Measure", equals("0"), {"text": ""}),
    Situation(SAMPLE, "null", "Measure", equals("null"), {"text": None}),
    Situation(SAMPLE, "numbers", "Add", equals(2147483645), {"first": 2147483647, "second": -2}),
    Situation(SAMPLE, "no rows", "Rows", equals([], *EMPTY), {"count": 0}),
    Situation(SAMPLE, "one row", "Rows", equals(ROWS[:1]), {"count": 1}),
    Situation(SAMPLE, "rows", "Rows", equals(ROWS), {"count": 3}),
    Situation(SAMPLE, "list", "Join", equals(f"7={PLAIN_WORDS}=;-8=b=None"), {"rows": SENT_ROWS}),
    Situation(SAMPLE, "empty list", "Join", equals("", None, "null"), {"rows": {"of": "Row", "items": []}}),
    Situation(SAMPLE, "no list", "Join", equals("null"), {"rows": None}),
    Situation(SAMPLE, "header", "WhoAmI", equals(f"{PLAIN_WORDS}/x"), header=TICKET),
    Situation(SAMPLE, "no header", "WhoAmI", equals("nobody", "None/None")),
    Situation(
        SAMPLE,
        "fault",
        "Fail",
        fails("Server", f"It failed: {PLAIN_WORDS}", detail=f"42{PLAIN_WORDS}"),
        {"text": "x"},
        unable={"svcutil": "fails on every detail that is not one of its own framework"},
    ),
    Situation("Shapes", "types in", "Survey", equals(SURVEYED), SHAPES),
    Situation(
        "Shapes",
        "types out",
        "Mirror",
        equals([SQUARE, TILE, CIRCLE], [SQUARE | {"label": None}, TILE, CIRCLE]),
        SHAPES,
    ),
)

# What no contract allows, from stacks that check nothing themselves.
CARELESS = ("php", "node-soap", "strong-soap", "soap-lite")
UNREADABLE = fails("Client", "Server was unable to read request. ---> There is an error in XML document (")


def shapes_of(kind: str | None) -> Mapping[str, Any]:
    item = {"name": "x", "weight": 1, "label": "l", "radius": 3}
    return {"shapes": {"of": "Shape", "items": [item | {"xsi:type": kind} if kind else item]}}


REFUSED_TYPES = (
    Situation("Shapes", "unknown type", "Survey", UNREADABLE, shapes_of("Triangle"), only=CARELESS),
    Situation("Shapes", "array as item", "Survey", UNREADABLE, shapes_of("ArrayOfShape"), only=CARELESS),
    Situation("Shapes", "abstract type", "Survey", UNREADABLE, shapes_of(None), only=CARELESS),
)

# What PHP counts: one function for each operation and version of SOAP (specification §7).
FUNCTIONS = {"WSMailUpImport": 18, "MailupSend": 104, "MailupManage": 26, "MailupReport": 14}
PHP_SITUATIONS = tuple(
    Situation(service, "functions", "__getFunctions", equals(count), only=("php",))
    for service, count in FUNCTIONS.items()
)
SITUATIONS = (*IMPORT_SITUATIONS, *KEYED_SITUATIONS, *SAMPLE_SITUATIONS, *REFUSED_TYPES, *PHP_SITUATIONS)


def can(tool: Tool, situation: Situation) -> bool:
    """Tell whether a stack can do what a situation asks for."""
    unable = situation.service in tool.unable or tool.name in situation.unable
    return not unable and (not situation.only or tool.name in situation.only)


def make_calls(tool: Tool, server: Server, folder: Path) -> Mapping[str, Any]:
    """Make every call of the table with every version of SOAP, as an account of its own each."""
    contracts = {
        name: f"{server.site.url}{service.paths[0]}?WSDL"
        for name, service in CONTRACTS.items()
        if name not in tool.unable
    }
    tool.build(folder, contracts)
    answers = {}
    for version in tool.versions:
        with tool.connect(folder, contracts, version) as client:
            answers[version] = _make_calls(tool, client, server.open_office())
    return answers


def _make_calls(tool: Tool, client: Client, office: Office) -> Mapping[str, Any]:
    known: dict[Any, Any] = {Given.USER: office.user, Given.CONSOLE: office.account.number, Given.KEY: ""}
    answers: dict[str, Answer] = {}
    for situation in SITUATIONS:
        if can(tool, situation):
            answer = _make_call(client, office, situation, known)
            answers[f"{situation.service} {situation.name}"] = answer
            found = re.search(r"<accessKey><!\[CDATA\[(\w+)", str(answer.get("value")))
            known[Given.KEY] = found[1] if found else known[Given.KEY]
    answers["imported document"] = {"value": office.read_imported()}
    return answers


def _make_call(client: Client, office: Office, situation: Situation, known: Mapping[Any, Any]) -> Answer:
    def fill(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: fill(member) for name, member in value.items()}
        return known[value] if isinstance(value, Given) else value

    other = "MailupSend" if situation.service == IMPORT else IMPORT
    request = Request(
        situation.service,
        CONTRACTS[situation.service].namespace,
        situation.operation,
        fill(situation.arguments),
        fill(situation.header) if situation.header else None,
        office.site.url + CONTRACTS[other].paths[0] if situation.elsewhere else None,
    )
    try:
        return client.call(request)
    except Exception as error:
        return {"error": repr(error)}


@dataclass(frozen=True)
class _NoParameters:
    params: Mapping[str, Any] = field(default_factory=dict)


_NO_PARAMETERS = _NoParameters()


@pytest.fixture(scope="session")
def recordings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recordings]:
    asked = {getattr(item, "callspec", _NO_PARAMETERS).params.get("tool") for item in request.session.items}
    installed = [tool for tool in TOOLS if tool in asked and tool.is_installed]
    shared = shared_folder(tmp_path_factory.getbasetemp())
    recordings = Recordings(shared, tmp_path_factory.mktemp("interop-server"), installed, make_calls)
    yield recordings
    recordings.close()


@pytest.fixture
def answers(recordings: Recordings, tool: Tool, version: str) -> Mapping[str, Answer]:
    """What came of the calls of a stack; skips, or fails where no skip is allowed, when it is not installed."""
    if not tool.is_installed:
        reason = f"{tool.name} is not installed: {tool.packages}"
        if os.environ.get("LISTBRIDGE_INTEROP") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    return recordings.find(tool)[version]


CLIENTS = [pytest.param(tool, version, id=f"{tool.name}-{version}") for tool in TOOLS for version in tool.versions]
CASES = [
    pytest.param(tool, version, situation, id=f"{tool.name}-{version}-{situation.service}-{situation.name}")
    for tool in TOOLS
    for version in tool.versions
    for situation in SITUATIONS
    if can(tool, situation)
]


@pytest.mark.parametrize(("tool", "version", "situation"), CASES)
def test_situation(answers: Mapping[str, Answer], situation: Situation) -> None:
    answer = answers[f"{situation.service} {situation.name}"]
    assert "error" not in answer, answer["error"]
    kind = "fault" if situation.expected.__doc__ == "fault" else "value"
    assert kind in answer, answer
    situation.expected(answer[kind])


@pytest.mark.parametrize(("tool", "version"), CLIENTS)
def test_imported_document(answers: Mapping[str, Answer]) -> None:
    assert answers["imported document"] == {"value": DOCUMENT}


def test_every_service_has_situations() -> None:
    assert {situation.service for situation in SITUATIONS} == set(CONTRACTS)
