"""The documents that travel as text inside the results of the import service (specification §1.1, result strings).

They are written by hand because old programs take them apart by hand: no white space between elements, no
attributes on the containers, and nothing but ASCII, so that it does not matter whether the prolog is believed.
"""

from __future__ import annotations

import re

_PROLOG = '<?xml version="1.0" encoding="windows-1252" ?>'
_CODE = re.compile(r"<ReturnCode>(-?\d+)</ReturnCode>")


class Refusal(Exception):
    """The call is answered with an error code as its overall ReturnCode."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def write_result(code: int, content: str = "") -> str:
    """Return a result.

    Args:
        code: overall ReturnCode; negative for errors.
        content: further elements, from `element`.
    """
    body = f"{_PROLOG}<mailupMessage><mailupBody><ReturnCode>{code}</ReturnCode>{content}</mailupBody></mailupMessage>"
    return body.encode("ascii", "xmlcharrefreplace").decode()


def element(name: str, content: str = "", **attributes: object) -> str:
    """Return an element; the content is XML, the attributes are values. It is never written as an empty tag."""
    written = "".join([f' {key}="{escape_value(str(value))}"' for key, value in attributes.items()])
    return f"<{name}{written}>{content}</{name}>"


def escape_value(text: str) -> str:
    """Return text as the value of an attribute between quotes."""
    # The library's function loops over a dictionary of entities, which takes ten times as long.
    return text.replace("&", "&amp;").replace(">", "&gt;").replace("<", "&lt;").replace('"', "&quot;")


def describe_outcome(result: object) -> str:
    """Return the class of a result for counting: `ok`, `partly`, `refused` or `denied`."""
    text = str(result)
    overall = _CODE.search(text)
    if overall is None:
        return "refused"
    code = int(overall[1])
    if code < 0:
        return "denied" if code <= -1000 else "refused"
    # The overall code comes first; a failure after it is that of a part.
    return "partly" if "<ReturnCode>-" in text else "ok"
