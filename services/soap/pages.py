"""What a browser or a code generator gets from the address of a service: contract, discovery document, help pages."""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qsl

from services.http.answers import XML
from services.soap.contract import address_contract, read_contract
from services.soap.declarations import Service
from services.soap.samples import write_samples

_HTML = "text/html; charset=utf-8"
_DISCOVERY = "http://schemas.xmlsoap.org/disco/"
_SCHEMAS = "http://www.w3.org/2001/XMLSchema"
_STYLE = (
    "body{font-family:sans-serif;margin:0 auto;max-width:60rem;padding:1rem;line-height:1.5;color:#222;background:#fff}"
    "pre{background:#f3f3f0;padding:1rem;overflow-x:auto}h1{font-size:1.5rem}h2{font-size:1.15rem}"
)

Page = tuple[int, bytes, str]
"""HTTP status, content, media type."""


class ServicePages:
    """The pages of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._contract = read_contract(service)
        self._names = {operation.name.lower(): operation.name for operation in service.operations}

    def find(self, query: str, origin: str) -> Page:
        """Return the page that a query asks for: `wsdl`, `disco`, `op=<operation>` or nothing, in any case.

        Args:
            query: of the address.
            origin: scheme and host by which the caller knows this server.
        """
        keys = {key.lower(): value for key, value in parse_qsl(query, keep_blank_values=True)}
        if "wsdl" in keys:
            return 200, address_contract(self._contract, origin), XML
        if "disco" in keys:
            return 200, self._discovery(origin).encode(), XML
        if "op" in keys:
            return self._operation_page(keys["op"], origin)
        return 200, self._overview().encode(), _HTML

    def _discovery(self, origin: str) -> str:
        address = escape(origin + self._service.paths[0])
        bindings = "".join(
            f'<soap address="{address}" xmlns:q1="{escape(self._service.namespace)}" '
            f'binding="q1:{self._service.name}{suffix}" xmlns="http://schemas.xmlsoap.org/disco/soap/" />'
            for suffix in ("Soap", "Soap12")
        )
        return (
            f'<?xml version="1.0" encoding="utf-8"?><discovery xmlns:xsi="{_SCHEMAS}-instance" xmlns:xsd="{_SCHEMAS}" '
            f'xmlns="{_DISCOVERY}"><contractRef ref="{address}?wsdl" docRef="{address}" '
            f'xmlns="http://schemas.xmlsoap.org/disco/scl/" />{bindings}</discovery>'
        )

    def _overview(self) -> str:
        items = "".join(f'<li><a href="?op={name}">{name}</a></li>' for name in self._names.values())
        return self._page(
            f"<p>{escape(self._service.documentation)}</p>"
            "<p>The following operations are supported. For a formal definition, please review the "
            f'<a href="?WSDL">Service Description</a>.</p><ul>{items}</ul>'
        )

    def _operation_page(self, wanted: str, origin: str) -> Page:
        name = self._names.get(wanted.strip().lower())
        if name is None:
            return 404, self._page("<p>There is no such operation. <a href='?'>All operations</a></p>").encode(), _HTML
        samples = "".join(
            f"<h2>{escape(sample.title)}</h2><pre>{escape(sample.request)}</pre><pre>{escape(sample.response)}</pre>"
            for sample in write_samples(self._service, name, origin)
        )
        content = f'<p><a href="?">All operations</a></p><h2>{name}</h2>{samples}'
        return 200, self._page(content).encode(), _HTML

    def _page(self, content: str) -> str:
        name = escape(self._service.name)
        return (
            f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{name} Web Service</title>'
            f"<style>{_STYLE}</style></head><body><h1>{name}</h1>{content}</body></html>"
        )
