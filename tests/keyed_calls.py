"""Calls to the services that are called with an access key, for tests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape
from xml.sax.saxutils import escape

from lxml import etree
from web_server import Site

NAMESPACE = "http://services.mailupnet.it/WS"
ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
SEND, MANAGE, REPORT = "/MailupSend.asmx", "/MailupManage.asmx", "/MailupReport.asmx"


@dataclass(frozen=True)
class Keyed:
    """A server, called as old programs call it."""

    site: Site

    def result(self, path: str, operation: str, **parameters: object) -> str:
        """Call an operation; return the text of its result. A parameter that is a mapping is sent as options."""
        content = "".join(f"<{name}>{_write(value)}</{name}>" for name, value in parameters.items())
        body = f'<{operation} xmlns="{NAMESPACE}">{content}</{operation}>'
        envelope = f'<e:Envelope xmlns:e="{ENVELOPE}"><e:Body>{body}</e:Body></e:Envelope>'
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{NAMESPACE}/{operation}"'}
        reply = self.site.request("POST", path, envelope.encode(), headers)
        assert reply.status == 200, reply
        found = re.search(f"<{operation}Result>(.*)</{operation}Result>", reply.text, re.DOTALL)
        assert found is not None, reply
        return unescape(found[1])

    def call(self, path: str, operation: str, **parameters: object) -> etree._Element:
        """Call an operation; return the root of its result."""
        return etree.fromstring(self.result(path, operation, **parameters))

    def log_in(self, path: str = SEND, user: str = "a1", pwd: str = "secret", console: int = 1) -> str:
        """Return a key."""
        root = self.call(path, "LoginFromId", user=user, pwd=pwd, consoleId=console)
        assert root.findtext("errorCode") == "0", etree.tostring(root)
        return root.findtext("accessKey") or ""

    def code(self, path: str, operation: str, **parameters: object) -> str:
        """Call an operation; return its error code, whose description is empty on success and only then."""
        root = self.call(path, operation, **parameters)
        assert [child.tag for child in root][:2] == ["errorCode", "errorDescription"]
        code = root.findtext("errorCode") or ""
        assert bool(root.findtext("errorDescription")) == (code != "0")
        return code


def _write(value: object) -> str:
    if not isinstance(value, Mapping):
        return escape(str(value))
    pairs = (f"<Key>{escape(str(key))}</Key><Value>{escape(str(item))}</Value>" for key, item in value.items())
    return "".join(f"<Option>{pair}</Option>" for pair in pairs)
