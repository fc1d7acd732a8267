"""Answers the golden cases as the oracle, Mono's own runtime of ASMX services, answered them when they were recorded.

Whatever is answered in another way stands in `DIFFERENCES` with its reason; nothing stands there that is the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from golden.cases import Case
from golden.contract import ORACLE
from golden.record import (
    all_cases,
    find_content_type,
    missing_programs,
    read_answers,
    record,
    replace_address,
    send,
    write_answers,
)
from golden.type_contract import TYPES
from lxml import etree
from web_server import Reply, Site, serve

from db.engine import Database
from db.migration import migrate
from jobs.storage import Storage

CASES = {case.name: case for case in all_cases()}
ANSWERS: dict[str, dict[str, Any]] = read_answers()["answers"]
RECORD = "LISTBRIDGE_RECORD_GOLDEN"


@dataclass(frozen=True)
class Difference:
    """Cases in which this server means to answer in another way than the oracle."""

    reason: str
    ours: str
    """What is answered instead: the status, or the code of the fault."""
    names: tuple[str, ...]


DIFFERENCES = (
    Difference(
        "An action that names nothing or is `*`, as Mono's svcutil sends it, leaves the choice to the body.",
        "200",
        ("action-empty", "action-blank", "action-star"),
    ),
    Difference(
        "An action that contradicts the body is refused: SOAPAction spoofing.", "Client", ("action-of-another",)
    ),
    Difference("The same, said in the media type.", "Sender", ("action-unknown-1.2",)),
    Difference("The document's word on its encoding counts where HTTP says nothing.", "200", ("type-without-charset",)),
    Difference(
        "An encoding that nobody knows, or bytes that are not in it, are not guessed at.",
        "400",
        ("charset-unknown", "malformed-bytes"),
    ),
    Difference("Other elements inside a number make it none.", "Client", ("int-element",)),
    Difference(
        "Comments and processing instructions do not end a value, and elements inside a text are passed over.",
        "200",
        ("int-comment", "text-comment", "text-instruction", "text-element"),
    ),
    Difference(
        "What is nil is null, though the contract says of nothing but items of lists that they may be.",
        "200",
        (
            "text-nil",
            "text-nil-1",
            "text-nil-with-content",
            "options-value-nil",
            "shape-nil",
            "shape-nil-with-type",
            "parcel-nil-members",
        ),
    ),
    Difference(
        "A value without a type in the contract is its own text, whatever type and elements the caller adds to it.",
        "200",
        ("options-int-odd", "options-value-elements"),
    ),
    Difference(
        "SOAP::Lite names types of its own, so types are read only in services that declare types which extend others.",
        "200",
        ("options-typed-as-row", "options-typed-as-int"),
    ),
    Difference(
        "PHP programs send the header in odd name spaces, so its name alone counts.",
        "200",
        ("header-unqualified-members", "header-other-namespace", "header-no-namespace"),
    ),
    Difference("A header counts wherever it stands.", "200", ("header-after-body",)),
    Difference("A message without a body is its sender's fault.", "Client", ("body-absent", "body-only-header")),
    Difference(
        "The envelopes that would be understood are not listed in a header; no client reads it.",
        "VersionMismatch",
        ("root-wrong", "root-wrong-1.2", "root-without-namespace", "root-of-another-namespace"),
    ),
    Difference(
        "An element that is no Envelope is none in the namespace of SOAP either.",
        "VersionMismatch",
        ("root-of-another-name",),
    ),
    Difference(
        "What is not XML is answered alike, whether or not an action says which operation was meant.",
        "400",
        (
            "malformed",
            "malformed-1.2",
            "post-empty",
            "post-empty-1.2",
            "post-blank",
            "post-text",
            "document-type",
            "blank-before-declaration",
        ),
    ),
    Difference("Times have microseconds here.", "200", ("time-fraction-7", "time-fraction-9")),
    Difference("A time keeps the zone it came with.", "200", ("time-zone-east", "time-zone-west")),
    Difference("White space around the name of a type is none of it.", "200", ("shape-type-with-spaces",)),
    Difference("Infinity is written INF and in no other way.", "Client", ("double-Infinity",)),
    Difference("A decimal zero keeps its sign.", "200", ("decimal--0.00",)),
    Difference("What is no whole Base64 is refused, and with a fault.", "Client", ("bytes-odd", "bytes-canary")),
    Difference("HEAD is answered as GET (RFC 9110 section 9.3.2).", "200", ("method-HEAD",)),
    Difference("Mono's own page of an operation fails.", "200", ("page-operation", "page-operation-in-capitals")),
    Difference("A page of no operation is not found.", "404", ("page-operation-unknown",)),
    Difference("A key with a value is a key; IIS has it so.", "200", ("page-contract-with-value",)),
    Difference("IIS finds paths in any case.", "200", ("path-in-other-case",)),
    Difference(
        "There is nothing behind a service's path, and no failure of the server either.",
        "404",
        ("path-with-slash-after", "path-of-operation"),
    ),
)
EXPECTED = {name: difference for difference in DIFFERENCES for name in difference.names}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """This server with the oracle's contracts in place of its own services."""
    folder = tmp_path_factory.mktemp("golden")
    database = Database(f"sqlite:///{folder}/listbridge.db")
    migrate(database)
    storage = Storage(folder, reserve=0)
    storage.prepare()
    with serve(database, storage, services=(ORACLE, TYPES)) as site:
        yield site
    database.close()


@dataclass(frozen=True)
class Answer:
    """What of an answer is compared."""

    status: int
    content_type: str
    content: str

    @property
    def outcome(self) -> str:
        """The code of the fault, or the status."""
        found = re.search(r"<(?:faultcode|soap:Value)>soap:(\w+)<", self.content)
        return found[1] if found else str(self.status)


def read_answer(status: int, content_type: str | None, body: str) -> Answer:
    """Return what of an answer is compared; of pages in HTML only that they are there, of those of errors nothing."""
    content_type = (content_type or "").lower()
    is_page = content_type.startswith("text/html")
    if not body or (is_page and status >= 400):
        return Answer(status, "", "")
    if is_page:
        return Answer(status, "text/html", "")
    return Answer(status, content_type, write_canonical(remove_reason(body)) if "xml" in content_type else body)


def remove_reason(body: str) -> str:
    """Return a fault without its text, which is another one here; any other document as it is."""
    return re.sub(r"(<faultstring>|<soap:Text[^>]*>)[^<]*", r"\1", body)


def write_canonical(body: str) -> str:
    """Return a document as exclusive canonical XML: a contract without white space and in a fixed order."""
    root = etree.fromstring(body.encode())
    if etree.QName(root).localname != "Envelope":
        root = etree.fromstring(body.encode(), etree.XMLParser(remove_blank_text=True))
        sort_definitions(root)
        resolve_names(root)
    return etree.tostring(root, method="c14n", exclusive=True).decode()


def sort_definitions(root: etree._Element) -> None:
    """Sort what a contract may name in any order: its messages, and the elements and types of its schema."""
    for parent in (root, *root.iter("{http://www.w3.org/2001/XMLSchema}schema")):
        parent[:] = sorted(parent, key=lambda child: (child.tag, child.get("name", "")))


def resolve_names(root: etree._Element) -> None:
    """Write name spaces in the place of prefixes in values such as `tns:Option`."""
    for element in root.iter():
        for name, value in element.attrib.items():
            if match := re.fullmatch(r"([\w.-]+):([\w.-]+)", value):
                element.set(name, f"{{{element.nsmap[match[1]]}}}{match[2]}")


def read_reply(reply: Reply) -> Answer:
    """Return what of this server's answer is compared."""
    return read_answer(reply.status, find_content_type(reply), replace_address(reply.text))


def read_recorded(name: str) -> Answer:
    """Return what of the oracle's answer is compared."""
    recorded = ANSWERS[name]
    return read_answer(recorded["status"], recorded["type"], recorded["body"])


def test_tables_are_complete() -> None:
    assert list(ANSWERS) == [case.name for case in all_cases()]
    assert len(ANSWERS) == len(CASES)
    names = [name for difference in DIFFERENCES for name in difference.names]
    assert len(set(names)) == len(names)
    assert set(names) <= set(CASES)


@pytest.mark.parametrize(
    "case", [case for name, case in CASES.items() if name not in EXPECTED], ids=lambda case: case.name
)
def test_same_answer(site: Site, case: Case) -> None:
    reply = send(site, case)
    assert read_reply(reply) == read_recorded(case.name)
    if b"<soap:Envelope" in reply.body:
        # Some clients cut the result out of the answer's bytes instead of parsing them.
        assert remove_reason(reply.text) == remove_reason(ANSWERS[case.name]["body"])


@pytest.mark.parametrize("name", EXPECTED)
def test_answer_that_differs(site: Site, name: str) -> None:
    answer = read_reply(send(site, CASES[name]))
    assert answer != read_recorded(name), f"{name} no longer differs ({EXPECTED[name].reason})"
    assert answer.outcome == EXPECTED[name].ours


@pytest.mark.parametrize("case", [case for case in CASES.values() if case.body], ids=lambda case: case.name)
def test_faults_quote_nothing(site: Site, case: Case) -> None:
    reply = send(site, case)
    if reply.status != 200:
        assert b"canary" not in reply.body.lower()
        assert b"Exception" not in reply.body


@pytest.mark.skipif(RECORD not in os.environ, reason=f"records anew only when {RECORD} is set")
def test_oracle_answers_as_recorded() -> None:
    missing = missing_programs()
    assert not missing, f"not installed: {', '.join(missing)}"
    before, now = read_answers(), record()
    write_answers(now)
    assert now["answers"] == before["answers"]
