"""Rows read under a profile with constants, transforms or checks; rows of other profiles never come through here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from exchange.columns import VALUE_LENGTH, Layout
from exchange.errors import RowRefused
from exchange.profiles import ROLES, Profile
from exchange.rows import SourceRow
from exchange.transforms import CellRefused, Convert, compile_check, compile_steps

ReadRow = Callable[[int, str, Sequence[str]], SourceRow]
"""Maps line, text and cells of a record; see `exchange.columns.Layout.read`."""


def prepare_reading(layout: Layout, profile: Profile) -> ReadRow:
    """Return the function that maps the rows of one file.

    What it raises is what `Layout.read` raises, and RowRefused with the codes of `exchange.transforms.CellRefused`.
    """
    converters = compile_converters(profile)
    if not converters and not layout.constants:
        return layout.read
    return _Conversion(layout, converters).read


def compile_converters(profile: Profile) -> dict[str, tuple[Convert, ...]]:
    """Return what is done to the values of each role and field number, in order.

    Raises:
        ValueError: a transform or check cannot be done; the text begins with the key of the profile.
    """
    converters: dict[str, tuple[Convert, ...]] = {}
    for target, steps in profile.transforms.items():
        if steps:
            try:
                converters[target] = (compile_steps(steps, may_omit=target not in ROLES),)
            except ValueError as error:
                raise ValueError(f"transforms.{target}: {error}") from None
    for target, check in profile.checks.items():
        try:
            converters[target] = (*converters.get(target, ()), compile_check(check))
        except ValueError as error:
            raise ValueError(f"checks.{target}: {error}") from None
    return converters


class _Conversion:
    """The cells of a row on their way to a layout."""

    def __init__(self, layout: Layout, converters: Mapping[str, tuple[Convert, ...]]) -> None:
        self._layout = layout
        self._constants = layout.constants
        self._width = layout.width - len(layout.constants)
        places = dict(layout.fields) | {role: getattr(layout, role) for role in ROLES}
        self._steps = tuple(
            (target, places[target], convert)
            for target, converts in converters.items()
            if 0 <= places.get(target, -1) < self._width
            for convert in converts
        )

    def read(self, line: int, raw: str, cells: Sequence[str]) -> SourceRow:
        """Map the cells of one record as `Layout.read` does, after what the profile does to them."""
        if len(cells) != self._width:
            raise RowRefused("columns", f"The row has {len(cells)} cells instead of {self._width}.")
        if not "".join(cells).isprintable():
            self._layout.check_characters(cells)
        converted = [*map(str.strip, cells), *self._constants]
        omitted: dict[str, tuple[str, str]] = {}
        for target, position, convert in self._steps:
            value = converted[position]
            if len(value) > VALUE_LENGTH:
                raise RowRefused("value-too-long", f"Column {position + 1} has more than {VALUE_LENGTH:,} characters.")
            try:
                converted[position] = convert(value)
            except CellRefused as refusal:
                text = f"Column {position + 1} {refusal.text}"
                if refusal.refuses_row:
                    raise RowRefused(refusal.code, text) from None
                omitted[target] = (refusal.code, f"{text} The row was imported without it.")
                converted[position] = ""
        row = self._layout.read(line, raw, converted)
        return _without(row, omitted) if omitted else row


def _without(row: SourceRow, omitted: Mapping[str, tuple[str, str]]) -> SourceRow:
    """Take out values that were refused, so that the stored ones are kept."""
    for target in omitted:
        row.fields.pop(target, None)
    return row._replace(notes=tuple(omitted.values()))
