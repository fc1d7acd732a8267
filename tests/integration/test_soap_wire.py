"""What a SOAP service answers on the wire, row by row of the ASMX table, and to odd clients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection

import pytest
from lxml import etree
from web_server import Reply, Site, serve

from audience.accounts import add_account
from audience.lists import add_list
from db.engine import Database
from db.migration import migrate
from jobs.storage import Storage
from services.http.application import HttpOptions
from services.soap.limits import XmlLimits

PATH = "/Services/WSMailUpImport.asmx"
NAMESPACE = "http://ws.mailupnet.it/"
V11, V12 = "http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"
TEXT, SOAP = "text/xml; charset=utf-8", "application/soap+xml; charset=utf-8"
HEADER = f'<Authentication xmlns="{NAMESPACE}"><User>a1</User><Password>secret</Password></Authentication>'
LISTS = f'<GetNlLists xmlns="{NAMESPACE}" />'


@dataclass(frozen=True)
class Wire:
    """The service, to be sent anything."""

    site: Site

    def post(self, body: bytes, content_type: str = TEXT, action: str | None = None, path: str = PATH) -> Reply:
        headers = {"Content-Type": content_type}
        if action is not None:
            headers["SOAPAction"] = action
        return self.site.request("POST", path, body, headers)

    def details(self, content: str) -> Reply:
        return self.post(envelope(f'<GetProcessDetails xmlns="{NAMESPACE}">{content}</GetProcessDetails>'))


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    folder = tmp_path_factory.mktemp("wire")
    database = Database(f"sqlite:///{folder}/listbridge.db")
    migrate(database)
    storage = Storage(folder, reserve=0)
    storage.prepare()
    with database.write() as connection:
        add_list(connection, add_account(connection, 1, password="secret").id, "News")
    with serve(database, storage, HttpOptions(xml=XmlLimits(large_message=4 << 20))) as site:
        yield Wire(site)
    database.close()


def envelope(body: str = LISTS, version: str = V11, header: str = HEADER) -> bytes:
    return (
        f'<?xml version="1.0" encoding="utf-8"?><e:Envelope xmlns:e="{version}"><e:Header>{header}</e:Header>'
        f"<e:Body>{body}</e:Body></e:Envelope>"
    ).encode()


def check_lists(reply: Reply, version: str = V11) -> None:
    assert reply.status == 200, reply
    assert reply.headers["Content-Type"] == (TEXT if version == V11 else SOAP)
    assert f'<soap:Envelope xmlns:soap="{version}"' in reply.text
    assert f'<GetNlListsResponse xmlns="{NAMESPACE}"><GetNlListsResult>&lt;?xml version="1.0"' in reply.text
    assert "ReturnCode&gt;0&lt;/ReturnCode&gt;&lt;Lists&gt;&lt;List idList=" in reply.text
    etree.fromstring(reply.body)


def check_fault(reply: Reply, code: str, version: str = V11) -> str:
    assert reply.status == 500, reply
    assert reply.headers["Content-Type"] == (TEXT if version == V11 else SOAP)
    root = etree.fromstring(reply.body)
    path = "//faultcode" if version == V11 else "//s:Code/s:Value"
    (found,) = root.xpath(path, namespaces={"s": version})
    assert found.text == f"soap:{code}"
    detail = "<detail />" if version == V11 else "<soap:Detail />"
    assert (detail in reply.text) == (code != "MustUnderstand")
    return reply.text


@pytest.mark.parametrize(
    "action",
    [None, "", '""', f'"{NAMESPACE}GetNlLists"', f"{NAMESPACE}GetNlLists", "*", '"*"'],
)
def test_calls_with_every_form_of_action(wire: Wire, action: str | None) -> None:
    check_lists(wire.post(envelope(), TEXT, action))
    check_lists(wire.post(envelope(version=V12), SOAP, action), V12)


@pytest.mark.parametrize("action", [f"{NAMESPACE}GetNlLists", "*", ""])
def test_action_of_the_media_type(wire: Wire, action: str) -> None:
    check_lists(wire.post(envelope(version=V12), f'{SOAP}; action="{action}"'), V12)


@pytest.mark.parametrize(
    "action", [f"{NAMESPACE}StartImportProcesses", f"{NAMESPACE}Nothing", "canary", f"{NAMESPACE}GetNlLists2"]
)
def test_actions_refused(wire: Wire, action: str) -> None:
    text = check_fault(wire.post(envelope(), TEXT, action), "Client")
    assert "Server did not recognize the value of HTTP Header SOAPAction" in text
    assert "canary" not in text
    check_fault(wire.post(envelope(version=V12), f'{SOAP}; action="{action}"'), "Sender", V12)


def test_soap_12_as_text(wire: Wire) -> None:
    check_lists(wire.post(envelope(version=V12), TEXT), V12)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [("application/soap+xml", 415), ("text/plain", 415), ("application/x-www-form-urlencoded", 415), ("text/xml", 200)],
)
def test_content_types_of_soap_11(wire: Wire, content_type: str, status: int) -> None:
    reply = wire.post(envelope(), content_type)
    assert reply.status == status
    assert status == 200 or reply.body == b""


def test_no_content_type(wire: Wire) -> None:
    connection = HTTPConnection(wire.site.host, wire.site.port)
    connection.putrequest("POST", PATH)
    connection.putheader("Content-Length", "0")
    connection.endheaders()
    assert connection.getresponse().status == 415
    connection.close()


@pytest.mark.parametrize("body", [b"", b" ", b"<", b"<a></b>", b"text", b"<!DOCTYPE a><a/>"])
@pytest.mark.parametrize("content_type", [TEXT, SOAP])
def test_what_is_not_xml(wire: Wire, body: bytes, content_type: str) -> None:
    reply = wire.post(body, content_type)
    assert (reply.status, reply.body) == (400, b"")


@pytest.mark.parametrize("body", [b"<a/>", b"<Envelope/>", b'<Envelope xmlns="urn:x"/>'])
def test_what_is_no_envelope(wire: Wire, body: bytes) -> None:
    # The older version is the one that everybody reads.
    check_fault(wire.post(body), "VersionMismatch")
    check_fault(wire.post(body, SOAP), "VersionMismatch")


@pytest.mark.parametrize(
    "body",
    [
        f'<e:Envelope xmlns:e="{V11}"/>'.encode(),
        f'<e:Envelope xmlns:e="{V11}"><e:Body/></e:Envelope>'.encode(),
        envelope(""),
        envelope(f'<Unknown xmlns="{NAMESPACE}"/>'),
        envelope("<GetNlLists/>"),
        envelope('<GetNlLists xmlns="http://services.mailupnet.it/WS"/>'),
    ],
)
def test_what_is_no_operation(wire: Wire, body: bytes) -> None:
    check_fault(wire.post(body), "Client")
    check_fault(wire.post(body.replace(V11.encode(), V12.encode()), SOAP), "Sender", V12)


def test_headers_that_must_be_understood(wire: Wire) -> None:
    strange = '<Strange xmlns="urn:x" e:mustUnderstand="1"/>'
    check_fault(wire.post(envelope(header=HEADER + strange)), "MustUnderstand")
    check_lists(wire.post(envelope(header=HEADER + strange.replace("1", "0"))))
    check_lists(wire.post(envelope(header=HEADER.replace("<Authentication", '<Authentication e:mustUnderstand="1"'))))


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "-101"),
        ("<idList>1</idList><idProcess>5</idProcess>", "-501"),
        ("<idProcess> 5 </idProcess><idList> 1 </idList>", "-501"),
        ("<idList>1</idList><idList>2</idList>", "-501"),
        ('<idList>1</idList><idList xmlns="">2</idList><extra/>', "-501"),
    ],
)
def test_numbers(wire: Wire, content: str, code: str) -> None:
    reply = wire.details(content)
    assert reply.status == 200
    assert f"ReturnCode&gt;{code}&lt;" in reply.text


@pytest.mark.parametrize("value", ["", "canary", "2147483648", "1_000"])
def test_numbers_that_are_none(wire: Wire, value: str) -> None:
    text = check_fault(wire.details(f"<idList>{value}</idList>"), "Client")
    assert "Server was unable to read request. ---&gt; There is an error in XML document (1, " in text
    assert "canary" not in text


@pytest.mark.parametrize(
    "element", ["<asOptOut/>", "<asOptOut></asOptOut>", "<importType/>", "<asOptOut>yes</asOptOut>"]
)
def test_empty_flags(wire: Wire, element: str) -> None:
    body = f'<StartImportProcesses xmlns="{NAMESPACE}">{element}</StartImportProcesses>'
    check_fault(wire.post(envelope(body)), "Client")


def test_process_of_a_client_that_sends_more_than_the_contract_has(wire: Wire) -> None:
    body = (
        f'<StartImportProcesses xmlns="{NAMESPACE}"><listsIDs>1</listsIDs><idConfirmNL>0</idConfirmNL>'
        "<asPending>0</asPending><ConfirmEmail>true</ConfirmEmail></StartImportProcesses>"
    )
    reply = wire.post(envelope(body), TEXT, f"{NAMESPACE}StartImportProcesses")
    assert "ReturnCode&gt;0&lt;/ReturnCode&gt;&lt;processes&gt;&lt;/processes&gt;" in reply.text


@pytest.mark.parametrize(
    ("document", "content"),
    [
        ("", "0&lt;/ReturnCode&gt;&lt;processes&gt;&lt;/processes&gt;"),
        (
            '<xmlDoc xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:nil="true"/>',
            "0&lt;/ReturnCode&gt;&lt;processes&gt;&lt;/processes&gt;",
        ),
        ("<xmlDoc/>", "-401&lt;/ReturnCode&gt;&lt;/mailupBody&gt;"),
        ("<xmlDoc></xmlDoc>", "-401&lt;/ReturnCode&gt;&lt;/mailupBody&gt;"),
        ("<xmlDoc> \n\t</xmlDoc>", "-401&lt;/ReturnCode&gt;&lt;/mailupBody&gt;"),
        ("<xmlDoc><![CDATA[ ]]></xmlDoc>", "-401&lt;/ReturnCode&gt;&lt;/mailupBody&gt;"),
    ],
)
def test_documents_absent_and_empty(wire: Wire, document: str, content: str) -> None:
    body = f'<StartImportProcesses xmlns="{NAMESPACE}"><listsIDs>1</listsIDs>{document}</StartImportProcesses>'
    reply = wire.post(envelope(body))
    assert reply.status == 200
    assert f"ReturnCode&gt;{content}" in reply.text


@pytest.mark.parametrize("path", [PATH, "/services/wsmailup.asmx", "//Services//WSMAILUPIMPORT.asmx"])
@pytest.mark.parametrize("name", ["GetNlLists", "StartImportProcesses", "GetProcessDetails", "getnllists"])
@pytest.mark.parametrize("query", ["", "?idList=1&listGUID=&idProcess=x", "?User=a1&Password=secret"])
def test_calls_by_plain_http(wire: Wire, path: str, name: str, query: str) -> None:
    address = f"{path}/{name}{query}"
    for reply in (wire.site.get(address), wire.site.post_form(address, {"idList": 1, "xmlDoc": "<subscribers/>"})):
        assert (reply.status, reply.headers["Content-Type"]) == (200, TEXT)
        root = etree.fromstring(reply.body)
        assert (root.tag, len(root)) == (f"{{{NAMESPACE}}}string", 0)
        assert "<mailupMessage><mailupBody><ReturnCode>-1013</ReturnCode></mailupBody>" in (root.text or "")
    head = wire.site.request("HEAD", address)
    assert (head.status, head.body) == (200, b"")


def test_plain_http_refuses(wire: Wire) -> None:
    address = f"{PATH}/GetNlLists"
    reply = wire.site.request("PUT", address)
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD, POST")
    announced = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(2 << 20)}
    assert wire.site.request("POST", address, b"", announced).status == 413
    for unknown in ("Nothing", "Login", "GetNlLists/x", "%00"):
        assert wire.site.get(f"{PATH}/{unknown}").status == 404
        assert wire.site.post_form(f"{PATH}/{unknown}", {}).status == 404


@pytest.mark.parametrize("namespace", ["http://tempuri.org/", "ns1", ""])
def test_header_in_any_namespace(wire: Wire, namespace: str) -> None:
    check_lists(wire.post(envelope(header=HEADER.replace(NAMESPACE, namespace))))


def test_missing_header_is_a_code(wire: Wire) -> None:
    reply = wire.post(envelope(header=""))
    assert reply.status == 200
    assert "ReturnCode&gt;-1013&lt;" in reply.text


@pytest.mark.parametrize(
    "path",
    [
        PATH,
        "/Services/WSMailupImport.asmx",
        "/services/wsmailupimport.asmx",
        "/Services/WSMailup.asmx",
        "//Services//WSMAILUP.ASMX",
    ],
)
def test_paths(wire: Wire, path: str) -> None:
    check_lists(wire.post(envelope(), path=path))
    assert wire.site.get(path).headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods(wire: Wire, method: str) -> None:
    reply = wire.site.request(method, PATH)
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD, POST")


def test_help_page(wire: Wire) -> None:
    reply = wire.site.get(PATH)
    assert reply.status == 200
    for operation in ("GetNlLists", "StartImportProcesses", "GetProcessDetails"):
        assert operation in reply.text
    assert wire.site.request("HEAD", PATH).body == b""


@pytest.mark.parametrize("query", ["WSDL", "wsdl", "Wsdl", "wsdl=", "a=b&wSDL"])
@pytest.mark.parametrize("host", ["m1.example.com", "other.example.com:8080", "[::1]:80"])
def test_contract_has_the_address_of_the_request(wire: Wire, query: str, host: str) -> None:
    reply = wire.site.get(f"{PATH}?{query}", {"Host": host, "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil"})
    assert reply.headers["Content-Type"] == TEXT
    assert reply.text.count(f'address location="http://{host}{PATH}"') == 4
    assert "evil" not in reply.text


@pytest.mark.parametrize("host", ['x"/><evil', "<evil>", "a b evil"])
def test_contract_with_a_hostile_host(wire: Wire, host: str) -> None:
    reply = wire.site.get(f"{PATH}?WSDL", {"Host": host})
    assert "evil" not in reply.text
    etree.fromstring(reply.body)


def test_contract_behind_a_trusted_proxy(sqlite_url: str, storage: Storage) -> None:
    database = Database(sqlite_url)
    with serve(database, storage, HttpOptions(trust_forwarded=True)) as site:
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "m1.example.com"}
        assert f'location="https://m1.example.com{PATH}"' in site.get(f"{PATH}?wsdl", headers).text
    database.close()


def test_encodings(wire: Wire) -> None:
    text = envelope().decode()
    check_lists(wire.post(text.replace('encoding="utf-8"', 'encoding="utf-16"').encode("utf-16"), "text/xml"))
    check_lists(wire.post(text.encode(), "text/xml"))
    check_lists(wire.post(text.replace("News", "è").encode("cp1252"), "text/xml; charset=windows-1252"))


def test_large_bodies(wire: Wire) -> None:
    document = "x" * (3 << 20)
    body = f'<StartImportProcesses xmlns="{NAMESPACE}"><xmlDoc>{document}</xmlDoc></StartImportProcesses>'
    assert "ReturnCode&gt;-101&lt;" in wire.post(envelope(body)).text
    # Announced and too large for every operation of the service; found while reading; too large for this operation.
    assert wire.post(envelope(body.replace(document, document * 2))).status == 413
    spaces = (b" " * 65536 for _ in range(65))
    assert wire.site.request("POST", PATH, spaces, {"Content-Type": TEXT}).status == 413
    body = f'<GetProcessDetails xmlns="{NAMESPACE}"><listGUID>{" <!-- -->" * 300_000}</listGUID></GetProcessDetails>'
    reply = wire.post(envelope(body))
    assert reply.status == 413
    assert "The message has more than 2097152 bytes." in reply.text


def test_failure_inside_is_a_code(sqlite_url: str, storage: Storage) -> None:
    database = Database(sqlite_url)
    with database.write() as connection:
        add_account(connection, 1, password="secret")
        connection.exec_driver_sql("DROP TABLE list_group")
    with serve(database, storage) as site:
        reply = Wire(site).post(envelope())
    database.close()
    assert reply.status == 200
    assert "ReturnCode&gt;-200&lt;" in reply.text
