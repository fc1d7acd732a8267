"""The options of `listbridge export add` and `set`, and the settings that they make."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from audience.columns import FIELD_PREFIX
from jobs.export_settings import SPLIT_PATTERN, EmptyRule, ExportSettings
from jobs.schedules import Period
from listbridge.commands.options import TAB_NAMES, split_numbers
from listbridge.errors import CommandError
from services.mailup.csv_columns import EXPORT_HEADERS, EXPORT_WORDS

ListsOption = Annotated[str | None, typer.Option(help="Numbers of the lists that count; by default, or `all`, all.")]
ExcludeListsOption = Annotated[str | None, typer.Option(help="Numbers of lists that do not count.")]
PeriodOption = Annotated[
    Period | None, typer.Option(help="Everything, what happened on the day before, or since the last completed run.")
]
SinceOption = Annotated[
    str | None, typer.Option(metavar="DATE", help="Where an incremental export begins, ISO 8601; by default now.")
]
ReasonsOption = Annotated[str | None, typer.Option(help="Codes of the reasons that count; by default, or `all`, all.")]
ExcludeReasonsOption = Annotated[str | None, typer.Option(help="Codes of reasons that do not count.")]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(metavar="'KEY OPERATOR VALUE'", help="Condition on recipients; several must all hold."),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(help="Columns, separated by commas: a header, a key such as `reason_type`, or a field's number."),
]
WordOption = Annotated[
    list[str] | None, typer.Option(metavar="STATE=WORD", help="What is written for a state, such as delivered=OK.")
]
AtOption = Annotated[
    str | None, typer.Option(metavar="HH:MM", help="Run daily at this time, in the account's time zone.")
]
NamePatternOption = Annotated[
    str | None, typer.Option(help="Name of the file, from {type}, {account}, {id}, {list} and {date:PATTERN}.")
]
FolderOption = Annotated[str | None, typer.Option(help="Folder in the account's home: export, or one below it.")]
SeparatorOption = Annotated[str | None, typer.Option(help="Column separator: ; , | or `tab`.")]
QuoteOption = Annotated[str | None, typer.Option(help="Quoting character.")]
EncodingOption = Annotated[str | None, typer.Option(help="utf-8, utf-8-sig or cp1252.")]
DateFormatOption = Annotated[str | None, typer.Option(help="Form of dates.")]
TimeZoneOption = Annotated[str | None, typer.Option(help="Time zone of dates; by default the account's.")]
HeaderOption = Annotated[bool | None, typer.Option("--header/--no-header", help="Begin with a header.")]
DefuseOption = Annotated[
    bool | None,
    typer.Option("--defuse-formulas/--no-defuse-formulas", help="Keep spreadsheets from taking cells for formulas."),
]
ZipOption = Annotated[bool | None, typer.Option("--zip/--no-zip", help="Put each file into an archive.")]
ManifestOption = Annotated[
    bool | None, typer.Option("--manifest/--no-manifest", help="Tell checksums and counts in files that come last.")
]
EmptyOption = Annotated[EmptyRule | None, typer.Option(help="What becomes of a file without rows.")]
SplitOption = Annotated[
    bool | None, typer.Option("--split-by-list/--one-file", help="Write a file for each list, with {list} in its name.")
]

_CSV = ("separator", "quote", "encoding", "date_format", "time_zone", "header", "defuse_formulas")
_NUMBERS = ("lists", "exclude_lists", "reasons", "exclude_reasons")
_ALL = ("lists", "reasons")


def default_settings(type: str, time_zone: str) -> ExportSettings:
    """Return the settings of an export about which nothing is said: headers and words of its type, and a time zone."""
    settings = ExportSettings(headers=EXPORT_HEADERS.get(type, {}), words=EXPORT_WORDS.get(type, {}))
    return replace(settings, csv=replace(settings.csv, time_zone=time_zone))


def apply_options(settings: ExportSettings, type: str, options: dict[str, Any]) -> ExportSettings:
    """Return settings with what options say.

    Args:
        settings: what counts for options that are not given.
        type: of the export.
        options: by name of the parameter; None: not given.

    Raises:
        CommandError: something cannot be used.
    """
    given = {name: value for name, value in options.items() if value is not None}
    dialect = {name: given.pop(name) for name in _CSV if name in given}
    for name in _NUMBERS:
        if name in given:
            given[name] = _read_numbers(name, given[name])
    if "columns" in given:
        given["columns"] = _read_columns(given["columns"], type)
    if "where" in given:
        given["where"] = tuple(given["where"])
    if words := given.pop("word", None):
        given["words"] = {**settings.words, **_read_words(words)}
    if dialect.get("separator") in TAB_NAMES:
        dialect["separator"] = "\t"
    if given.get("split_by_list") and "name_pattern" not in given and "{list}" not in settings.name_pattern:
        given["name_pattern"] = SPLIT_PATTERN
    if given.get("period", "incremental") != "incremental":
        given.setdefault("since", None)
    try:
        return replace(settings, csv=replace(settings.csv, **dialect), **given)
    except ValueError as error:
        raise CommandError(str(error)) from error


def show_columns(settings: ExportSettings, type: str) -> str:
    """Return the columns of an export as `--columns` takes them."""
    return ",".join(key.removeprefix(FIELD_PREFIX) for key in settings.columns_for(type))


def show_instant(instant: Any, zone: ZoneInfo) -> str | None:
    """Return an instant by the clock of a zone, for people."""
    return f"{instant.astimezone(zone):%Y-%m-%d %H:%M:%S}" if instant is not None else None


def _read_numbers(name: str, text: str) -> tuple[int, ...] | None:
    if name in _ALL and text.strip().lower() in ("all", ""):
        return None
    return split_numbers(text, f"--{name.replace('_', '-')}")


def _read_columns(text: str, type: str) -> tuple[str, ...]:
    keys = {header.lower(): key for key, header in EXPORT_HEADERS.get(type, {}).items()}
    cells = [cell.strip() for cell in text.split(",")]
    return tuple(f"{FIELD_PREFIX}{cell}" if cell.isdigit() else keys.get(cell.lower(), cell) for cell in cells)


def _read_words(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for state, equals, _word in pairs:
        if not equals or not state.strip():
            raise CommandError(f"{state!r} is not in the form STATE=WORD.")
    return {state.strip(): word for state, _equals, word in pairs}
