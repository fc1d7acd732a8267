"""Hostile requests to the operation that takes a large text: only that text may be large."""

from __future__ import annotations

from hostile.xml.attacks import (
    ANSWERED,
    CANARY,
    LISTS,
    MESSAGE_TOO_LARGE,
    NAMESPACE,
    TEXT_TOO_LONG,
    TOO_MANY_NODES,
    Attack,
    client_fault,
    envelope,
)

_K = 1000


_LINE_ENDS = "\r\n" * 500 * _K
_ELEMENTS_IN_TEXT = client_fault(
    "Server was unable to read request. ---&gt; A parameter that is text has elements in it."
)


def _operation(content: str) -> str:
    return f'<StartImportProcesses xmlns="{NAMESPACE}">{content}</StartImportProcesses>'


def _start(content: str) -> bytes:
    return envelope(_operation(content))


def _text(kilobytes: int) -> str:
    return f"<xmlDoc>{CANARY * (kilobytes * 100)}</xmlDoc>"


def _crowd(number: int) -> str:
    attributes = " ".join(f'a{number}_{place}{"x" * 900}=""' for place in range(60))
    return f"<a {attributes}/>"


def _declarations(number: int) -> str:
    declarations = " ".join(f'xmlns:p{number}_{place}="u"' for place in range(9 * _K))
    return f"<a {declarations}/>"


LARGE_ATTACKS = (
    Attack("large-text", lambda: _start(f"<xmlDoc>{CANARY * 100 * _K}</xmlDoc>"), ANSWERED),
    Attack("large-text-of-comments", lambda: _start(f"<xmlDoc>{'a<!---->' * 250 * _K}</xmlDoc>"), ANSWERED),
    Attack("large-text-of-line-ends", lambda: _start(f"<xmlDoc>{_LINE_ENDS}</xmlDoc>"), ANSWERED),
    Attack("large-text-of-elements", lambda: _start(f"<xmlDoc>a{'<b>c</b>' * 10 * _K}</xmlDoc>"), _ELEMENTS_IN_TEXT),
    Attack("large-text-and-values", lambda: _start(f'<a b="{"c" * 100 * _K}"/>' * 100), MESSAGE_TOO_LARGE),
    Attack("large-text-and-names", lambda: _start("".join(map(_crowd, range(150)))), MESSAGE_TOO_LARGE),
    Attack("large-text-and-prefixes", lambda: _start("".join(map(_declarations, range(40)))), TOO_MANY_NODES),
    Attack("large-text-and-comments", lambda: _start("<!---->" * 1000 * _K), MESSAGE_TOO_LARGE),
    Attack("large-text-after-text", lambda: _start(f"<listsIDs>{'1' * 5000 * _K}</listsIDs><xmlDoc/>"), TEXT_TOO_LONG),
    # Of the same parameter the first counts; the others are passed over without being kept.
    Attack("large-text-in-a-crowd", lambda: _start(_text(250) * 100), ANSWERED),
    Attack("large-text-of-many-files", lambda: _start("<xmlDoc/>" + _text(300) * 60), ANSWERED),
    Attack("large-text-in-header", lambda: envelope(LISTS, header=_operation(_text(5000))), TEXT_TOO_LONG),
    Attack("large-text-in-second-operation", lambda: envelope(LISTS + _operation(_text(5000))), TEXT_TOO_LONG),
    Attack("large-text-in-no-envelope", lambda: f"<a><b>{_operation(_text(5000))}</b></a>".encode(), TEXT_TOO_LONG),
)
