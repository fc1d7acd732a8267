"""What an envelope says: its version, the members of the service's header, the operation and its parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from services.soap.declarations import Header
from services.soap.faults import SoapFault, SoapVersion
from services.soap.reader import Node

_TRUE = ("1", "true")
_VERSIONS = {f"{version.namespace} Envelope": version for version in SoapVersion}


class UnsupportedMediaType(Exception):
    """The content type says something else than the envelope, or is none that SOAP is sent in."""


@dataclass(slots=True)
class Envelope:
    """A message that is well-formed SOAP."""

    version: SoapVersion
    header: list[Node]
    body: Node | None
    """The first element of the body."""


def open_envelope(root: Node, media_type: str) -> Envelope:
    """Take a message apart.

    Args:
        root: of the message.
        media_type: of the request, in lower case.

    Raises:
        UnsupportedMediaType: SOAP 1.1 was sent as SOAP 1.2.
        SoapFault: the root is not an envelope.
    """
    version = _VERSIONS.get(root.tag)
    if version is None:
        raise SoapFault("VersionMismatch", "The root of the message is not an Envelope of SOAP 1.1 or 1.2.")
    # The other way round, SOAP 1.2 sent as `text/xml`, is common and answered.
    if version is SoapVersion.V11 and media_type == SoapVersion.V12.media_type:
        raise UnsupportedMediaType
    header, body = _find(root, version.header_tag), _find(root, version.body_tag)
    first = body.children[0] if body is not None and body.children else None
    return Envelope(version, header.children if header is not None else [], first)


def _find(parent: Node, tag: str) -> Node | None:
    for node in parent.children:
        if node.tag == tag:
            return node
    return None


def read_header(envelope: Envelope, name: str | None, members: Iterable[str]) -> Header | None:
    """Return the members of the header called `name`, in whatever namespace; None when it is absent.

    Raises:
        SoapFault: another header must be understood.
    """
    block: Node | None = None
    for node in envelope.header:
        if node.name == name:
            block = block or node
        elif node.attributes.get(f"{envelope.version.namespace} mustUnderstand", "").strip() in _TRUE:
            raise SoapFault("MustUnderstand", "A SOAP header that must be understood was not understood.")
    if block is None:
        return None
    found: dict[str, str] = {}
    for node in block.children:
        found.setdefault(node.name, node.text)
    return {member: found.get(member) for member in members}
