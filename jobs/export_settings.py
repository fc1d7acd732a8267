"""What an export contains and how its files look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, Literal, Self, get_args
from zoneinfo import ZoneInfo

from audience.columns import check_key
from audience.conditions import Condition, parse_condition
from audience.unsubscribed import parse_reason
from exchange.export_csv import CsvFormat
from exchange.file_names import DEFAULT_PATTERN, render_name
from jobs.export_types import ALL_COLUMNS, TYPES
from jobs.schedules import Period

EmptyRule = Literal["write", "skip"]
EXPORT_FOLDER = "export"
SPLIT_PATTERN = "{type}_{list}_{date:yyyyMMddHHmmss}.csv"
"""Names of files where there is one for each list."""
_FILTERS = ("reasons", "exclude_reasons", "where")


class ExportError(ValueError):
    """An export cannot be made as asked; the text is fit for the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """What an export contains and how its files look; everything is checked when it is made.

    What depends on the type is checked by `check_for`.

    Raises:
        ExportError: something cannot be used; the text says what.
    """

    lists: tuple[int, ...] | None = None
    """Numbers of the lists that count; None: all of them, those added later too."""
    exclude_lists: tuple[int, ...] = ()
    period: Period = "full"
    """`previous-day`: what happened on the calendar day before the due time, in the account's time zone.
    `incremental`: what happened since the end of the last run that completed."""
    since: str | None = None
    """Where an incremental export begins, ISO 8601; None: when it was added."""
    reasons: tuple[int, ...] | None = None
    """Codes as `audience.unsubscribed.parse_reason` takes them; None: whatever the reason."""
    exclude_reasons: tuple[int, ...] = ()
    where: tuple[str, ...] = ()
    """Conditions as `audience.conditions.parse_condition` takes them, all of which must hold."""
    columns: tuple[str, ...] | None = None
    """Keys as `jobs.export_types` has them, or `field:<number>`; None: those that are usual for the type."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Header cell by column; a column without one is headed by its field's name, or else by its key."""
    words: Mapping[str, str] = field(default_factory=dict)
    """What is written for a state, by its own name, such as `clicked` or `delivered`."""
    csv: CsvFormat = field(default_factory=CsvFormat)
    name_pattern: str = DEFAULT_PATTERN
    folder: str = EXPORT_FOLDER
    """Relative to the account's home: `export` or a folder below it."""
    zip: bool = False
    """Whether each file comes in an archive of its own."""
    manifest: bool = False
    """Whether files with the checksums and counts of the others come after them."""
    empty: EmptyRule = "write"
    """What becomes of a file without rows."""
    split_by_list: bool = False
    """Whether each list has a file of its own."""

    def __post_init__(self) -> None:
        try:
            self._check_filters()
            self._check_form()
        except ExportError:
            raise
        except ValueError as error:
            raise ExportError(str(error)) from None

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of dates that name none."""
        return ZoneInfo(self.csv.time_zone)

    @property
    def first_instant(self) -> datetime | None:
        """Where an incremental export begins, in UTC; None: when it was added."""
        if self.since is None:
            return None
        instant = datetime.fromisoformat(self.since)
        return (instant if instant.tzinfo else instant.replace(tzinfo=self.zone)).astimezone(UTC)

    def conditions(self) -> tuple[Condition, ...]:
        """Return the further conditions on recipients."""
        return tuple(parse_condition(text, self.zone) for text in self.where)

    def check_for(self, type: str) -> None:
        """Accept the settings for a type of export.

        Raises:
            ExportError: the type, or something that it does not have.
        """
        if type not in TYPES:
            raise ExportError(f"{type!r} is not a type of export: choose among {', '.join(TYPES)}.")
        kind = TYPES[type]
        for name in _FILTERS:
            if getattr(self, name) and name not in kind.filters:
                raise ExportError(f"An export of {type} cannot be filtered by {name.replace('_', ' ')}.")
        try:
            for key in (*(self.columns or ()), *self.headers):
                kind.check_column(key)
        except ValueError as error:
            raise ExportError(str(error)) from None
        columns = self.columns_for(type)
        for key in kind.required_columns:
            if key not in columns:
                raise ExportError(f"The column {key} is part of every export of {type}.")
        for word in self.words:
            _check_choice("a state that is told by a word", word, kind.words)

    def columns_for(self, type: str) -> tuple[str, ...]:
        """Return the columns of the file."""
        return self.columns if self.columns is not None else TYPES[type].default_columns

    def render_name(self, values: Mapping[str, str], at: datetime, list_number: int | None = None) -> str:
        """Return what a file is called, unless that name is taken.

        Args:
            values: what stands for `{type}`, `{account}` and `{id}`.
            at: the date, in the time zone wanted.
            list_number: of the list that the file is about; None: about all of them.
        """
        if self.split_by_list:
            values = {**values, "list": "all" if list_number is None else str(list_number)}
        return render_name(self.name_pattern, values=values, at=at)

    def _check_filters(self) -> None:
        if any(number < 1 for number in (*(self.lists or ()), *self.exclude_lists)):
            raise ExportError("A list number is a positive whole number.")
        if self.lists == () or self.reasons == ():
            raise ExportError("Lists or reasons that count are none at all; leave them out for every one.")
        _check_choice("a period", self.period, get_args(Period))
        for code in (*(self.reasons or ()), *self.exclude_reasons):
            parse_reason(code)
        self.conditions()
        self._check_since()

    def _check_since(self) -> None:
        if self.since is not None and self.period != "incremental":
            raise ExportError("Only an incremental export begins at an instant.")
        try:
            _ = self.first_instant
        except (ValueError, OverflowError):
            raise ExportError(f"{self.since!r} is not an instant in the form of ISO 8601.") from None

    def _check_form(self) -> None:
        for key in (*(self.columns or ()), *self.headers):
            check_key(key, ALL_COLUMNS, fields=True)
        if self.columns is not None and not 0 < len(self.columns) == len(set(self.columns)):
            raise ExportError("An export has at least one column, and none of them twice.")
        _check_choice("a rule for files without rows", self.empty, get_args(EmptyRule))
        _check_folder(self.folder)
        if self.split_by_list and "{list}" not in self.name_pattern:
            raise ExportError("Where each list has a file of its own, the file name needs {list}.")
        self.render_name({"type": "unsubscribers", "account": "1", "id": "1"}, datetime.now(UTC))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form that `from_dict` reads back."""
        stored = {item.name: getattr(self, item.name) for item in fields(self)}
        return stored | {"headers": dict(self.headers), "words": dict(self.words), "csv": self.csv.to_dict()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild settings from their JSON form; keys that are missing take their defaults.

        Raises:
            ExportError: something cannot be used.
        """
        known = {item.name for item in fields(cls)}
        values = {name: value for name, value in stored.items() if name in known}
        for name, value in values.items():
            if isinstance(value, list):
                values[name] = tuple(value)
        if "csv" in values:
            values["csv"] = CsvFormat.from_dict(values["csv"])
        return cls(**values)


def _check_choice(what: str, value: str, allowed: Iterable[str]) -> None:
    choices = tuple(allowed)
    if value not in choices:
        known = f"choose among {', '.join(choices)}" if choices else "there is none"
        raise ExportError(f"{value!r} is not {what}: {known}.")


def _check_folder(folder: str) -> None:
    parts = PurePosixPath(folder).parts
    if not parts or parts[0] != EXPORT_FOLDER or ".." in parts or "\0" in folder or "\\" in folder:
        raise ExportError(f"{folder!r} is not {EXPORT_FOLDER} or a folder below it.")
