"""What the columns of a CSV file mean: from header cells or agreed positions to the parts of a row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from exchange.errors import FileRefused, RowRefused
from exchange.profiles import ROLES, Key, Profile
from exchange.rows import SourceRow

COLUMNS_MOST = 1000
"""Most columns of a file; a security limit."""

VALUE_LENGTH = 10_000
"""Most characters of one value."""

EMAIL_LENGTH = 254
"""Most characters of an e-mail address (RFC 5321 §4.5.3.1.3)."""

RESERVED = ("error_line", "error_code", "error_text")
"""The leading columns of a file of refused rows; they are skipped when it comes back repaired."""

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
KEY_ROLES: Mapping[Key, tuple[tuple[str, ...], str]] = {
    "email": (("email", "mobile", "number"), "an e-mail address or a mobile number"),
    "mobile": (("mobile", "number"), "a mobile number"),
    "external": (("external",), "an external id"),
}
"""Columns of which a file must have one, by what tells whom a row is about; and how that is called."""
_ACCEPTED = f"Accepted are {', '.join(ROLES)}, the number or name of a field, or an empty cell to skip the column."


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of a row stand in its cells; absent ones at -1, an empty cell appended to each row."""

    width: int
    """Cells of a row, `constants` included."""
    email: int = -1
    mobile: int = -1
    prefix: int = -1
    number: int = -1
    external: int = -1
    list: int = -1
    group: int = -1
    group_name: int = -1
    status: int = -1
    fields: tuple[tuple[str, int], ...] = ()
    """Field number as text, and position."""
    clear: bool = False
    """Empty cells clear the stored value."""
    encoding: str = field(default="utf-8", kw_only=True)
    constants: tuple[str, ...] = field(default=(), kw_only=True)
    """Cells that are not in the file and the same in each row; they are appended before `read`."""

    def read(self, line: int, raw: str, cells: Sequence[str]) -> SourceRow:
        """Map the cells of one record.

        Raises:
            RowRefused: `columns`, `encoding`, `control-character` or `value-too-long`.
        """
        if len(cells) != self.width:
            raise RowRefused("columns", f"The row has {len(cells)} cells instead of {self.width}.")
        if not "".join(cells).isprintable():
            self.check_characters(cells)
        stripped = [*map(str.strip, cells), ""]
        if len(raw) > EMAIL_LENGTH:
            self._check_lengths(stripped)
        mobile = stripped[self.mobile]
        if not mobile and (number := stripped[self.number]):
            mobile = join_mobile(stripped[self.prefix], number)
        if self.clear:
            values = {number: stripped[position] for number, position in self.fields}
        else:
            values = {number: value for number, position in self.fields if (value := stripped[position])}
        group, group_name = stripped[self.group], stripped[self.group_name]
        parts = (
            line,
            raw,
            stripped[self.email],
            mobile,
            stripped[self.list],
            group,
            group_name,
            stripped[self.status],
            values,
            stripped[self.external],
            (),
        )
        return tuple.__new__(SourceRow, parts)

    def check_characters(self, cells: Sequence[str]) -> None:
        """Refuse a row with characters that text does not have.

        Raises:
            RowRefused: `encoding` or `control-character`.
        """
        for column, cell in enumerate(cells, 1):
            if _SURROGATE.search(cell):
                raise RowRefused("encoding", f"Column {column} has bytes that are not {self.encoding}.")
            if found := _CONTROL.search(cell):
                raise RowRefused(
                    "control-character", f"Column {column} has the control character {ord(found[0]):#04x}."
                )

    def _check_lengths(self, cells: Sequence[str]) -> None:
        if len(cells[self.email]) > EMAIL_LENGTH:
            raise RowRefused("value-too-long", f"The e-mail address is longer than {EMAIL_LENGTH} characters.")
        positions = {position for _, position in self.fields}
        positions.update((self.mobile, self.prefix, self.number, self.list, self.group, self.group_name, self.status))
        for position in sorted(positions):
            if len(cells[position]) > VALUE_LENGTH:
                raise RowRefused("value-too-long", f"Column {position + 1} has more than {VALUE_LENGTH:,} characters.")


def join_mobile(prefix: str, number: str) -> str:
    """Return a number with its international prefix (`39`, `+39`, `0039`, `+0039`) in front, unless it has one."""
    digits = prefix.lstrip("+0")
    if not digits or number.startswith(("+", "00")):
        return number
    return f"+{digits}{number}"


def recognise_columns(
    cells: Sequence[str], profile: Profile, field_numbers: Mapping[str, str], *, encoding: str = "utf-8"
) -> Layout:
    """Find out what each column means.

    Args:
        cells: the header, or the agreed meanings by position.
        profile: supplies further names of columns, and what empty cells do.
        field_numbers: lower-cased name of each field of the account to its number.
        encoding: to be named in errors.

    Raises:
        FileRefused: `too-many-columns`, `unknown-column`, `column-twice` or `no-key-column`.
    """
    if len(cells) > COLUMNS_MOST:
        raise FileRefused("too-many-columns", f"The file has {len(cells):,} columns; {COLUMNS_MOST:,} are allowed.")
    places = _place_columns(cells, name_roles(profile, field_numbers))
    keys, called = KEY_ROLES[profile.key]
    if not any(key in places for key in keys):
        raise FileRefused("no-key-column", f"No column holds {called}.")
    constants = _place_constants(places, len(cells), profile, field_numbers)
    return Layout(
        width=len(cells) + len(constants),
        **{role: places.pop(role, -1) for role in ROLES},
        fields=tuple(places.items()),
        clear=profile.empty_values == "clear",
        encoding=encoding,
        constants=constants,
    )


def count_reserved(cells: Sequence[str]) -> int:
    """Count the leading cells that are names of reserved columns."""
    count = 0
    while count < len(cells) and cells[count].strip().lower() in RESERVED:
        count += 1
    return count


def _place_columns(cells: Sequence[str], names: Mapping[str, str]) -> dict[str, int]:
    """Return the position of each role and field."""
    places: dict[str, int] = {}
    for position, cell in enumerate(cells):
        role = names.get(cell.strip().lower())
        if role is None:
            raise FileRefused("unknown-column", f"{_describe_column(position, cell)} {_ACCEPTED}")
        if role in places:
            raise FileRefused(
                "column-twice", f"Columns {places[role] + 1} and {position + 1} of the file both mean {role}."
            )
        if role:
            places[role] = position
    return places


def _place_constants(
    places: dict[str, int], width: int, profile: Profile, field_numbers: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the cells to append for what no column has, and give them their positions."""
    numbers = set(field_numbers.values())
    appended: list[str] = []
    for target, value in profile.constants.items():
        if target not in ROLES and target not in numbers:
            raise FileRefused(
                "unknown-column", f"The profile has a value for field {target[:20]}, which is none of the account."
            )
        if target not in places:
            places[target] = width + len(appended)
            appended.append(value)
    return tuple(appended)


def name_roles(profile: Profile, field_numbers: Mapping[str, str]) -> dict[str, str]:
    """Return what each accepted header cell means, in lower case; where names clash, the later entries below win."""
    numbers = set(field_numbers.values())
    names = {name.strip().lower(): number for name, number in field_numbers.items()}
    names.update({number: number for number in numbers})
    names.update({role: role for role in ROLES})
    names["e-mail"] = "email"
    names["external_id"] = "external"
    for name, role in profile.column_names.items():
        if role in numbers or role in ROLES or not role:
            names[name.strip().lower()] = role
    names.update(dict.fromkeys(("", *RESERVED), ""))
    return names


def _describe_column(position: int, cell: str) -> str:
    """Name a column that was not understood, unless its name looks like somebody's data."""
    cell = cell.strip()
    if "@" in cell:
        return f"Column {position + 1} of the header is an e-mail address; the file seems to have no header."
    if cell.isdigit():
        shown = cell if len(cell) < 6 else f"of {len(cell)} digits"
        return f"Column {position + 1} of the header is the number {shown}, which is no field of the account."
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in cell[:40])
    shortened = "…" if len(cell) > 40 else ""
    return f'Column {position + 1} of the header, "{shown}{shortened}", is not known.'
