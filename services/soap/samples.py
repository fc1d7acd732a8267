"""Writes an operation's sample messages: what a programmer without a code generator copies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from services.soap.declarations import AnyText, Service
from services.soap.faults import SoapVersion
from services.soap.types import is_array, is_complex, is_repeated, item_of, members_of, original
from services.soap.values import find_simple_type

_INDENT = "  "
_TITLES = {SoapVersion.V11: "SOAP 1.1", SoapVersion.V12: "SOAP 1.2"}


@dataclass(frozen=True, slots=True)
class Sample:
    """A request and its answer, with the names of types where values go."""

    title: str
    request: str
    response: str


def write_samples(service: Service, name: str, origin: str) -> list[Sample]:
    """Return the samples of an operation, one for each way to call it.

    Args:
        service: with the operation.
        name: of the operation.
        origin: scheme and host by which the caller knows this server.
    """
    writer = _SampleWriter(service, name, urlsplit(origin).netloc)
    samples = [writer.write_soap(version) for version in SoapVersion]
    return samples + [writer.write_plain(verb) for verb in ("GET", "POST") if service.plain_http]


class _SampleWriter:
    def __init__(self, service: Service, name: str, host: str) -> None:
        self._service = service
        self._name = name
        self._host = host
        self._path = service.paths[0]
        method = service.methods[name]
        self._parameters = members_of(method.in_message)
        self._results = members_of(method.out_message)

    def write_soap(self, version: SoapVersion) -> Sample:
        action = self._service.action(self._name)
        head = f"POST {self._path} HTTP/1.1\nHost: {self._host}\n"
        if version is SoapVersion.V11:
            head += f'Content-Type: {version.content_type}\nContent-Length: length\nSOAPAction: "{action}"\n\n'
        else:
            head += f'Content-Type: {version.content_type}; action="{action}"\nContent-Length: length\n\n'
        request = self._envelope(version, self._name, self._parameters, header=True)
        answer = f"HTTP/1.1 200 OK\nContent-Type: {version.content_type}\nContent-Length: length\n\n"
        response = self._envelope(version, f"{self._name}Response", self._results, header=False)
        return Sample(_TITLES[version], head + request, answer + response)

    def write_plain(self, verb: str) -> Sample:
        form = "&".join(f"{name}=string" for name in self._parameters)
        path = f"{self._path}/{self._name}"
        if verb == "GET":
            request = f"GET {path}{'?' if form else ''}{form} HTTP/1.1\nHost: {self._host}\n"
        else:
            request = (
                f"POST {path} HTTP/1.1\nHost: {self._host}\n"
                f"Content-Type: application/x-www-form-urlencoded\nContent-Length: length\n\n{form}"
            )
        response = (
            "HTTP/1.1 200 OK\nContent-Type: text/xml; charset=utf-8\nContent-Length: length\n\n"
            f'<?xml version="1.0" encoding="utf-8"?>\n<string xmlns="{self._service.namespace}">string</string>'
        )
        return Sample(f"HTTP {verb}", request, response)

    def _envelope(self, version: SoapVersion, name: str, members: Mapping[str, Any], *, header: bool) -> str:
        prefix = "soap" if version is SoapVersion.V11 else "soap12"
        lines = ['<?xml version="1.0" encoding="utf-8"?>', f'<{prefix}:Envelope xmlns:{prefix}="{version.namespace}">']
        if header and self._service.header is not None:
            kind = self._service.header
            lines += self._block(f"{prefix}:Header", kind.get_type_name(), members_of(kind))
        lines += self._block(f"{prefix}:Body", name, members)
        return "\n".join([*lines, f"</{prefix}:Envelope>"])

    def _block(self, outer: str, name: str, members: Mapping[str, Any]) -> list[str]:
        inner = _write_members(members, 3, ())
        start = f'<{name} xmlns="{self._service.namespace}"'
        content = [f"{start}>", *inner, f"{_INDENT * 2}</{name}>"] if inner else [f"{start} />"]
        return [f"{_INDENT}<{outer}>", f"{_INDENT * 2}{content[0]}", *content[1:], f"{_INDENT}</{outer}>"]


def _write_members(members: Mapping[str, Any], depth: int, above: tuple[Any, ...]) -> list[str]:
    lines: list[str] = []
    for name, declared in members.items():
        lines += _write_member(name, declared, depth, above) * (2 if is_repeated(declared) else 1)
    return lines


def _write_member(name: str, declared: Any, depth: int, above: tuple[Any, ...]) -> list[str]:
    """Return the lines of a member; `above` are the types it is in, of which one may come again."""
    indent = _INDENT * depth
    if is_array(declared):
        inner = _write_members(dict([item_of(declared)]), depth + 1, above)
    elif is_complex(declared):
        kind = original(declared)
        inner = [] if kind in above else _write_members(members_of(kind), depth + 1, (*above, kind))
    else:
        simple = find_simple_type(declared)
        word = "any" if issubclass(declared, AnyText) else simple.name if simple is not None else ""
        return [f"{indent}<{name}>{word}</{name}>"]
    return [f"{indent}<{name}>", *inner, f"{indent}</{name}>"] if inner else [f"{indent}<{name} />"]
