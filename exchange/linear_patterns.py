"""Regular expressions from outside, matched in time linear in the text, so that none of them can stop the server.

The engine is RE2 (https://github.com/google/re2/wiki/Syntax): what needs backtracking, such as `(?=…)` or `\\1` in a
pattern, does not exist there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import re2

_REFERENCE = re.compile(r"\\(?:([0-9])|g<(\w+)>|(\\)|.?)", re.DOTALL)


class LinearPattern:
    """One compiled expression.

    Args:
        pattern: in the syntax of RE2.
        ignore_case: letters of either case are the same.

    Raises:
        ValueError: it is no such pattern.
    """

    def __init__(self, pattern: str, *, ignore_case: bool = False) -> None:
        options = re2.Options()
        options.log_errors = False
        options.case_sensitive = not ignore_case
        try:
            self._compiled = re2.compile(pattern, options)
        except UnicodeEncodeError:
            raise ValueError("not a regular expression: it is no valid text") from None
        except re2.error as error:
            text = error.args[0]
            reason = text.decode(errors="replace") if isinstance(text, bytes) else text
            raise ValueError(f"not a regular expression: {reason}") from None

    @property
    def group_names(self) -> frozenset[str]:
        """The names of its named groups."""
        return frozenset(self._compiled.groupindex)

    def match_whole(self, text: str) -> Mapping[str, str] | None:
        """Return the named groups of a text that fits as a whole, None when it does not."""
        match = self._compiled.fullmatch(_make_encodable(text))
        return match.groupdict() if match is not None else None

    def fits(self, text: str) -> bool:
        """Tell whether a text fits as a whole."""
        return self._compiled.fullmatch(_make_encodable(text)) is not None

    def parse_template(self, template: str) -> Template:
        r"""Return what takes the place of each match.

        Args:
            template: text with `\\1` or `\\g<name>` for groups, and `\\\\` for a backslash.

        Raises:
            ValueError: it names a group there is not.
        """
        return Template(tuple(self._split_template(template)))

    def replace(self, text: str, template: Template) -> str:
        """Return a text with every match replaced."""
        pieces, end = [], 0
        text = _make_encodable(text)
        for match in self._compiled.finditer(text):
            pieces.append(text[end : match.start()])
            pieces += [piece if isinstance(piece, str) else match.group(piece) or "" for piece in template.pieces]
            end = match.end()
        return "".join([*pieces, text[end:]])

    def _split_template(self, template: str) -> Iterator[str | int]:
        end = 0
        for reference in _REFERENCE.finditer(template):
            yield template[end : reference.start()]
            end = reference.end()
            number, name, backslash = reference.groups()
            if backslash:
                yield "\\"
            elif number is not None and int(number) <= self._compiled.groups:
                yield int(number)
            elif name in self._compiled.groupindex:
                yield self._compiled.groupindex[name]
            else:
                raise ValueError(f"{reference[0]} in {template!r} is no group of the pattern")
        yield template[end:]


class Template:
    """What takes the place of a match: text, and numbers of groups."""

    __slots__ = ("pieces",)

    def __init__(self, pieces: tuple[str | int, ...]) -> None:
        self.pieces = pieces


def _make_encodable(text: str) -> str:
    """Replace the lone surrogates that stand for undecodable bytes; RE2 works on UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
