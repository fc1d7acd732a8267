"""What a profile has done to the cells of a column before they are imported, and what they must be then.

A step is a table such as `{"do": "date", "from": "dd/MM/yyyy"}`, a check one such as `{"type": "number", "min": 0}`.
They are read and refused when the profile is set, and made into plain functions once per file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from exchange.columns import VALUE_LENGTH, join_mobile
from exchange.date_patterns import PIVOT, compile_date_pattern, compile_date_reader
from exchange.linear_patterns import LinearPattern

Convert = Callable[[str], str]
Otherwise = Literal["omit", "refuse", "keep", "empty"]
"""What becomes of a value that a step cannot be done to: the row is taken without it and noted (`omit`, for fields
alone), the row is refused, the value stays as it is, or it becomes empty."""

_Any = TypeVar("_Any")

_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{1,30})?|\.[0-9]{1,30})")


class CellRefused(Exception):
    """A value is not what its column holds.

    Args:
        code: `date`, `number`, `lookup`, `boolean`, `text` or `value-too-long`.
        text: what is wrong, without the value; it completes "Column 3 ".
        refuses_row: the row is refused with it, instead of being taken without the value.
    """

    def __init__(self, code: str, text: str, *, refuses_row: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.refuses_row = refuses_row


def _wrap(given: Any) -> Any:
    """Make one text a list of one."""
    return (given,) if isinstance(given, str) else tuple(given) if isinstance(given, list) else given


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Step(_Table):
    def compile(self) -> Convert:
        """Return the function of this step; it is not called with empty values.

        Raises:
            ValueError: the step cannot be done.
        """
        raise NotImplementedError


class _Plain(_Step):
    """A step that needs no further words."""

    do: Literal["trim", "collapse", "upper", "lower", "title"]

    def compile(self) -> Convert:
        return _PLAIN[self.do]


class _Replace(_Step):
    do: Literal["replace"]
    find: Annotated[str, Field(min_length=1)]
    replacement: Annotated[str, Field(alias="with")]

    def compile(self) -> Convert:
        find, replacement = self.find, self.replacement
        return lambda value: value.replace(find, replacement)


class _RegexReplace(_Step):
    do: Literal["regex"]
    find: str
    replacement: Annotated[str, Field(alias="with")]

    def compile(self) -> Convert:
        pattern = LinearPattern(self.find)
        template = pattern.parse_template(self.replacement)
        return lambda value: pattern.replace(value, template)


class _Prefix(_Step):
    """The international prefix of numbers that have none."""

    do: Literal["prefix"]
    prefix: Annotated[str, Field(pattern=r"^(\+|00)?[1-9][0-9]{0,3}$")]

    def compile(self) -> Convert:
        prefix = self.prefix
        return lambda value: join_mobile(prefix, value)


class _Default(_Step):
    do: Literal["default"]
    value: str

    def compile(self) -> Convert:
        given = self.value
        return lambda value: value or given


class _Truncate(_Step):
    do: Literal["truncate"]
    length: Annotated[int, Field(ge=1, le=VALUE_LENGTH)]

    def compile(self) -> Convert:
        length = self.length
        return lambda value: value[:length]


class _FallibleStep(_Step):
    otherwise: Otherwise = "omit"

    def compile(self) -> Convert:
        return _catch(self._compile_strictly(), self.otherwise)

    def _compile_strictly(self) -> Convert:
        raise NotImplementedError


class _Date(_FallibleStep):
    do: Literal["date"]
    patterns: Annotated[tuple[str, ...], BeforeValidator(_wrap), Field(alias="from", min_length=1)]
    to: str = "yyyy-MM-dd"
    pivot: Annotated[int, Field(ge=0, le=99)] = PIVOT

    def _compile_strictly(self) -> Convert:
        readers = [compile_date_reader(pattern, pivot=self.pivot) for pattern in self.patterns]
        form = compile_date_pattern(self.to)
        text = f"is no date of the form {' or '.join(self.patterns)}."

        def convert(value: str) -> str:
            for read in readers:
                try:
                    return read(value).strftime(form)
                except ValueError:
                    continue
            raise CellRefused("date", text)

        return convert


class _Number(_FallibleStep):
    """Numbers as people write them, made into those with a decimal point."""

    do: Literal["number"]
    decimal: Literal[".", ","] = ","
    thousands: Literal["", ".", ",", " ", "'"] = ""

    def _compile_strictly(self) -> Convert:
        if self.decimal == self.thousands:
            raise ValueError("decimal and thousands must not be the same")
        group = re.escape(self.thousands)
        blank = r"[ \u00a0\u202f]" if self.thousands == " " else group
        whole = rf"[0-9]{{1,3}}(?:{blank}[0-9]{{3}})+|[0-9]+" if group else "[0-9]+"
        shape = re.compile(rf"([+-]?)({whole})?(?:{re.escape(self.decimal)}([0-9]+))?")

        def convert(value: str) -> str:
            match = shape.fullmatch(value)
            if match is None or not (match[2] or match[3]):
                raise CellRefused("number", "is no number of the agreed form.")
            digits = "".join(filter(str.isdigit, match[2] or "0"))
            return f"{match[1].strip('+')}{digits}{'.' + match[3] if match[3] else ''}"

        return convert


class _Lookup(_FallibleStep):
    """Values found in a table, whatever their case."""

    do: Literal["lookup"]
    table: dict[str, str]

    def _compile_strictly(self) -> Convert:
        table = {name.strip().casefold(): value for name, value in self.table.items()}

        def convert(value: str) -> str:
            found = table.get(value.casefold())
            if found is None:
                raise CellRefused("lookup", "has a value that is not in the agreed table.")
            return found

        return convert


class _Check(_Table):
    otherwise: Literal["omit", "refuse", "empty"] = "omit"

    def compile(self) -> Convert:
        """Return a function that gives back the value it is called with.

        Raises:
            ValueError: the check cannot be done.
        """
        code, text, holds = self._explain()

        def convert(value: str) -> str:
            if not holds(value):
                raise CellRefused(code, text)
            return value

        return _catch(convert, self.otherwise)

    def _explain(self) -> tuple[str, str, Callable[[str], bool]]:
        """Return the code and text of those that fail, and the check itself."""
        raise NotImplementedError


class _DateCheck(_Check):
    type: Literal["date"]
    pattern: str = "yyyy-MM-dd"

    def _explain(self) -> tuple[str, str, Callable[[str], bool]]:
        read = compile_date_reader(self.pattern)

        def holds(value: str) -> bool:
            try:
                read(value)
            except ValueError:
                return False
            return True

        return "date", f"is no date of the form {self.pattern}.", holds


class _NumberCheck(_Check):
    type: Literal["number"]
    least: Annotated[float | None, Field(alias="min", allow_inf_nan=False)] = None
    most: Annotated[float | None, Field(alias="max", allow_inf_nan=False)] = None

    def _explain(self) -> tuple[str, str, Callable[[str], bool]]:
        least, most = _to_decimal(self.least), _to_decimal(self.most)

        def holds(value: str) -> bool:
            number = read_number(value)
            return number is not None and not (
                (least is not None and number < least) or (most is not None and number > most)
            )

        return "number", f"is no number{_describe_range(self.least, self.most)}.", holds


class _BooleanCheck(_Check):
    type: Literal["boolean"]
    true: tuple[str, ...] = ("1", "true", "yes")
    false: tuple[str, ...] = ("0", "false", "no")

    def _explain(self) -> tuple[str, str, Callable[[str], bool]]:
        known = {value.strip().casefold() for value in (*self.true, *self.false)}
        return "boolean", "has none of the values agreed for yes and no.", lambda value: value.casefold() in known


class _TextCheck(_Check):
    type: Literal["text"]
    length: Annotated[int, Field(alias="max", ge=1, le=VALUE_LENGTH)] = VALUE_LENGTH
    regex: str | None = None

    def _explain(self) -> tuple[str, str, Callable[[str], bool]]:
        length, pattern = self.length, LinearPattern(self.regex) if self.regex is not None else None
        text = "has a text of another form or length than agreed."
        return "text", text, lambda value: len(value) <= length and (pattern is None or pattern.fits(value))


_AnyStep = Annotated[
    _Plain | _Replace | _RegexReplace | _Prefix | _Default | _Truncate | _Date | _Number | _Lookup,
    Field(discriminator="do"),
]
_AnyCheck = Annotated[_DateCheck | _NumberCheck | _BooleanCheck | _TextCheck, Field(discriminator="type")]
_STEP: TypeAdapter[_Step] = TypeAdapter(_AnyStep)
_CHECK: TypeAdapter[_Check] = TypeAdapter(_AnyCheck)
_PLAIN: Mapping[str, Convert] = {
    "trim": str.strip,
    "collapse": lambda value: " ".join(value.split()),
    "upper": str.upper,
    "lower": str.lower,
    "title": lambda value: _WORD.sub(lambda word: word[0].capitalize(), value),
}


def compile_steps(steps: Iterable[Mapping[str, Any]], *, may_omit: bool = True) -> Convert:
    """Return one function for steps in their order; it raises nothing but `CellRefused`.

    An empty value stays empty, unless a step `default` says otherwise. Every value is trimmed after every step.

    Args:
        steps: the tables.
        may_omit: a row makes sense without the value; else rows are refused with it.

    Raises:
        ValueError: a step is unknown or cannot be done; the text says which and why.
    """
    converters = []
    for number, step in enumerate(steps, 1):
        try:
            read = _validate(_STEP, step)
            if not may_omit and step.get("otherwise") == "omit":
                raise ValueError("otherwise: only the values of fields can be omitted")
            converters.append((read.compile(), isinstance(read, _Default)))
        except ValueError as error:
            raise ValueError(f"step {number}: {error}") from None
    return _chain(converters, refuses_row=not may_omit)


def compile_check(check: Mapping[str, Any]) -> Convert:
    """Return a function that gives back a value which is as agreed; it raises nothing but `CellRefused`.

    Raises:
        ValueError: the check is unknown or cannot be done.
    """
    return _chain([(_validate(_CHECK, check).compile(), False)], refuses_row=False)


def read_number(text: str) -> Decimal | None:
    """Return a number with a decimal point; None when the text is none."""
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _chain(converters: list[tuple[Convert, bool]], *, refuses_row: bool) -> Convert:
    """Do one after the other; those marked are for empty values too."""

    def convert(value: str) -> str:
        for work, takes_empty in converters:
            if value or takes_empty:
                value = work(value).strip()
                if len(value) > VALUE_LENGTH:
                    raise CellRefused("value-too-long", f"becomes longer than {VALUE_LENGTH:,} characters.")
        return value

    def convert_or_refuse(value: str) -> str:
        try:
            return convert(value)
        except CellRefused as refusal:
            raise CellRefused(refusal.code, refusal.text, refuses_row=True) from None

    return convert_or_refuse if refuses_row else convert


def _catch(work: Convert, otherwise: Otherwise) -> Convert:
    """Let a function do what was agreed about values it refuses."""

    def convert(value: str) -> str:
        try:
            return work(value)
        except CellRefused as refusal:
            if otherwise in ("keep", "empty"):
                return value if otherwise == "keep" else ""
            raise CellRefused(refusal.code, refusal.text, refuses_row=otherwise == "refuse") from None

    return convert


def _validate(adapter: TypeAdapter[_Any], given: Mapping[str, Any]) -> _Any:
    try:
        return adapter.validate_json(orjson.dumps(given))
    except TypeError:
        raise ValueError("it has a value of a kind that is not known here") from None
    except ValidationError as error:
        raise ValueError(": ".join(filter(None, describe_validation(error)))) from None


def describe_validation(error: ValidationError) -> tuple[str, str]:
    """Return where the first of the errors is, its parts joined by points, and what is wrong there."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    context = first.get("ctx", {})
    if first["type"] == "union_tag_invalid":
        return place or context["discriminator"].strip("'"), f"{context['tag']!r} is none of {context['expected_tags']}"
    if first["type"] == "union_tag_not_found":
        return place or context["discriminator"].strip("'"), "field required"
    return place, first["msg"][:1].lower() + first["msg"][1:]


def _to_decimal(value: float | None) -> Decimal | None:
    return Decimal(repr(value)) if value is not None else None


def _describe_range(least: float | None, most: float | None) -> str:
    from_least = f" from {least:g}" if least is not None else ""
    return f"{from_least} up to {most:g}" if most is not None else from_least
