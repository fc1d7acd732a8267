"""What an envelope says: its version, the members of the service's header, the operation and its parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from services.soap.declarations import Header
from services.soap.faults import SoapFault, SoapVersion
from services.soap.tree import MalformedDocument, Node, read_tree

_TRUE = ("1", "true")


class UnsupportedMediaType(Exception):
    """The content type says something else than the envelope, or is none that SOAP is sent in."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message that is well-formed SOAP."""

    version: SoapVersion
    header: list[Node]
    body: Node | None
    """The first element of the body."""


def read_envelope(chunks: Iterable[bytes], media_type: str, charset: str | None) -> Envelope:
    """Read a message.

    Args:
        chunks: the message, in pieces.
        media_type: of the request, in lower case.
        charset: of the request, None when it names none.

    Raises:
        MalformedDocument: nothing was sent, it is not well-formed or it passes a limit.
        UnsupportedMediaType: SOAP 1.1 was sent as SOAP 1.2.
        SoapFault: the root is not an envelope.
    """
    root = read_tree(chunks, charset)
    if root is None:
        raise MalformedDocument
    version = next((version for version in SoapVersion if root.namespace == version.namespace), None)
    if root.name != "Envelope" or version is None:
        raise SoapFault("VersionMismatch", "The root of the message is not an Envelope of SOAP 1.1 or 1.2.")
    # The other way round, SOAP 1.2 sent as `text/xml`, is common and answered.
    if version is SoapVersion.V11 and media_type == SoapVersion.V12.media_type:
        raise UnsupportedMediaType
    header, body = root.child("Header", version.namespace), root.child("Body", version.namespace)
    first = body.children[0] if body is not None and body.children else None
    return Envelope(version, header.children if header is not None else [], first)


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
    found = {member: block.child(member) for member in members}
    return {member: node.text if node is not None else None for member, node in found.items()}
