"""The parameters of a page: query and form merged, names without case, values in whichever encoding they came."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl

from exchange.columns import VALUE_LENGTH, join_mobile
from services.mailup.csv_columns import MAX_FIELD

MAX_PARAMETERS = 500
MAX_NUMBERS = 1000
"""In one value; each costs the database something."""
_WHITE = " \t\r\n"
_BREAKS = str.maketrans("\t\r\n", "   ")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_FIELD = re.compile(r"campo([0-9]{1,2})", re.IGNORECASE | re.ASCII)
_TRUE = ("1", "true", "on", "yes")
_FALSE = ("0", "false", "off", "no")


class InvalidParameters(Exception):
    """A value cannot be what its parameter asks for; the page answers with its generic error."""


class PageParameters:
    """Values by lower-cased name; where one is asked for, the first of several counts."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name.strip().lower(), []).append(value)

    def __bool__(self) -> bool:
        return bool(self._values)

    def text(self, name: str) -> str:
        """Return a value, trimmed; empty when it is absent.

        Raises:
            InvalidParameters: it has control characters or is longer than any value may be.
        """
        return _check(self._values.get(name.lower(), _NONE)[0])

    def line(self, name: str) -> str:
        """Return a value as `text` does, with blanks in place of tabs and line breaks.

        Raises:
            InvalidParameters: as by `text`.
        """
        return _check(self._values.get(name.lower(), _NONE)[0].translate(_BREAKS))

    def flag(self, name: str, default: bool) -> bool:
        """Return a yes or no; the default when it is absent, empty or neither."""
        value = self.text(name).lower()
        return value in _TRUE or (default and value not in _FALSE)

    def numbers(self, name: str) -> list[int]:
        """Return the numbers of a list separated by commas or semicolons, each once, in order; blanks are skipped.

        Raises:
            InvalidParameters: one of them is not a number, or there are more than `MAX_NUMBERS`.
        """
        return _read_numbers(self.text(name))

    def repeated_numbers(self, name: str) -> list[int]:
        """Return the numbers of all values of this name, as check boxes send them.

        Raises:
            InvalidParameters: as by `numbers`.
        """
        return _read_numbers(_check(",".join(map(_trim, self._values.get(name.lower(), _NONE)))))

    def fields(self) -> dict[int, str]:
        """Return the values of `csvFldValues`, each on one line, by the field numbers of `csvFldNames`.

        Raises:
            InvalidParameters: there are not as many values as names.
        """
        names, values = self.text("csvFldNames"), self.line("csvFldValues")
        if not names and not values:
            return {}
        name_list = names.removesuffix(";").split(";")
        value_list = values.split(";")
        if len(value_list) == len(name_list) + 1 and not value_list[-1]:
            value_list.pop()
        if len(value_list) != len(name_list) or max(map(len, value_list)) > VALUE_LENGTH:
            raise InvalidParameters
        return dict(_number_fields(zip(name_list, value_list, strict=True)))

    def form_fields(self) -> dict[int, str]:
        """Return the values of `campo1`, `campo2` and so on, on one line each.

        Raises:
            InvalidParameters: one has control characters or is longer than a value may be.
        """
        pairs = ((name, values[0].translate(_BREAKS)) for name, values in self._values.items())
        fields = dict(_number_fields(pairs))
        if any(len(_check(value)) > VALUE_LENGTH for value in fields.values()):
            raise InvalidParameters
        return fields

    def form_mobile(self) -> str:
        """Return the number of `sms` or `number`, with that of `prefix` in front unless it has one.

        Raises:
            InvalidParameters: as by `text`.
        """
        number = self.text("sms") or self.text("number")
        return join_mobile(self.text("prefix"), number) if number else ""


_NONE = ("",)


def _trim(value: str) -> str:
    return value.strip(_WHITE)


def _check(value: str) -> str:
    value = _trim(value)
    if len(value) > VALUE_LENGTH * MAX_FIELD or _CONTROL.search(value):
        raise InvalidParameters
    return value


def _read_numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.replace(";", ",").split(",")]
    if len(parts) > MAX_NUMBERS or any(part and not _NUMBER.fullmatch(part) for part in parts):
        raise InvalidParameters
    return list(dict.fromkeys(int(part) for part in parts if part))


def _number_fields(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[int, str]]:
    for name, value in pairs:
        found = _FIELD.fullmatch(name.strip())
        if found and 1 <= int(found[1]) <= MAX_FIELD:
            yield int(found[1]), value.strip()


def read_parameters(query: str, form: str, parts: Iterable[tuple[str, str]] = ()) -> PageParameters:
    """Merge the parameters of a request; those of the query come first.

    Args:
        query: the query string as WSGI gives it.
        form: a form-urlencoded body, one character per byte.
        parts: names and texts of a multipart body.

    Raises:
        InvalidParameters: there are more than `MAX_PARAMETERS`.
    """
    try:
        pairs = [*_decode_pairs(query), *_decode_pairs(form), *parts]
    except ValueError:
        raise InvalidParameters from None
    return PageParameters(pairs)


def _decode_pairs(encoded: str) -> Iterator[tuple[str, str]]:
    pairs = parse_qsl(encoded, keep_blank_values=True, encoding="latin-1", max_num_fields=MAX_PARAMETERS)
    for name, value in pairs:
        yield _decode(name), _decode(value)


def _decode(text: str) -> str:
    """Decode bytes, given as one character each, as UTF-8 or else as what old Windows programs send."""
    data = text.encode("latin-1", "replace")
    for encoding in ("utf-8", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return text
