"""`listbridge profile check`: what a file seems to be, and how its first rows would be imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import BytesIO, StringIO
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from audience.accounts import Account, find_account
from audience.lists import MailingList, fields_of, find_list, lists_of
from exchange.column_suggestions import Known, has_header, suggest_by_names, suggest_by_positions
from exchange.columns import COLUMNS_MOST, name_roles
from exchange.csv_reader import recognise_dialect
from exchange.csv_records import RecordReader
from exchange.dialect_suggestions import describe_separator, suggest_dialect, take_sample
from exchange.encodings import open_text
from exchange.errors import FileRefused, InvalidProfile
from exchange.profile_files import FILE_SIZE, changed_keys, read_profile, write_profile
from exchange.profiles import Profile
from jobs.feeds import find_feed, parse_folder
from jobs.profile_preview import PreviewedRow, preview_rows
from listbridge.commands.options import AccountOption, application
from listbridge.errors import CommandError
from listbridge.output import JsonOption, print_json
from services.mailup.csv_columns import COLUMN_NAMES

ROWS = 10
"""Rows shown."""

_SAMPLED_ROWS = 200


@dataclass(frozen=True, slots=True)
class _Finding:
    """What is said about a file."""

    profile: Profile
    suggested: bool
    """The profile is a guess, not one that was given."""
    remarks: list[str]
    error: FileRefused | None
    """Why the whole file would be refused."""
    rows: list[PreviewedRow]


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="The file, CSV.")],
    account: AccountOption,
    folder: Annotated[str | None, typer.Option(help="Read it as files of this folder are read.")] = None,
    profile: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", exists=True, dir_okay=False, help="Read it under the profile in this file."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Suggest a profile for a file, or try one, and show ten rows as they would be imported; nothing is written."""
    if folder is not None and profile is not None:
        raise typer.BadParameter("give --folder or --profile, not both", param_hint="--folder")
    given = load_profile(profile) if profile is not None else None
    with file.open("rb") as stream:
        sample = take_sample(stream)
    with application() as opened, opened.database.read() as connection:
        owner = find_account(connection, account)
        mailing = _choose_list(connection, owner, folder)
        if folder is not None:
            given = _find_profile(connection, owner, folder)
        finding = _examine(connection, owner, mailing, sample, given)
    if as_json:
        print_json(_to_json(finding))
    else:
        _print(finding)
    if finding.error is not None:
        raise CommandError(f"The file would be refused: {finding.error.text}")


def load_profile(path: Path) -> Profile:
    """Read a profile from a TOML file; where it says nothing of names of columns, vendors' names are known.

    Raises:
        CommandError: the file cannot be read.
        InvalidProfile: what is in it cannot be used.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_SIZE + 1)
        text = content.decode()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InvalidProfile("file", "not TOML: it is not UTF-8") from None
    if len(content) > FILE_SIZE:
        raise InvalidProfile("file", f"it is larger than {FILE_SIZE:,} bytes")
    return read_profile(text, {"column_names": COLUMN_NAMES})


def _choose_list(connection: Connection, account: Account, folder: str | None) -> MailingList:
    """Return the list of rows that name none: the folder's, or the account's first."""
    if folder is not None:
        return find_list(connection, account.id, parse_folder(folder)[1])
    lists = lists_of(connection, account.id)
    if not lists:
        raise CommandError(f"Account {account.number} has no list.")
    return lists[0]


def _find_profile(connection: Connection, account: Account, folder: str) -> Profile:
    feed = find_feed(connection, account.id, parse_folder(folder)[0])
    if feed is None:
        raise CommandError(f"Account {account.number} has no folder {folder} with a profile.")
    return feed.profile


def _examine(
    connection: Connection, account: Account, mailing: MailingList, sample: bytes, given: Profile | None
) -> _Finding:
    if given is not None and given.format != "csv":
        raise CommandError("Only profiles of CSV files can be checked.")
    remarks: list[str] = []
    profile = given
    try:
        if profile is None:
            fields, lists = fields_of(connection, account.id), lists_of(connection, account.id)
            profile, remarks = _suggest(sample, fields, [known.number for known in lists])
        else:
            dialect = recognise_dialect(BytesIO(sample), profile)
            separator = describe_separator(dialect.separator)
            remarks = [f"Encoding: {dialect.encoding.name}.", f"Separator: {separator}."]
        rows = preview_rows(connection, account, mailing, profile, sample, ROWS)
    except FileRefused as refusal:
        return _Finding(profile or Profile(), given is None, remarks, refusal, [])
    return _Finding(profile, given is None, remarks, None, rows)


def _suggest(sample: bytes, fields: Mapping[int, str], lists: list[int]) -> tuple[Profile, list[str]]:
    """Guess the profile of a file; what it rests on is told in the remarks."""
    dialect = suggest_dialect(sample)
    profile = Profile(
        encoding=dialect.encoding, separator=dialect.separator, quote=dialect.quote, column_names=dict(COLUMN_NAMES)
    )
    numbers = {name.lower(): str(number) for number, name in fields.items()}
    known = Known(names=name_roles(profile, numbers), fields=fields, lists=lists)
    values: dict[str, Any] = {}
    first, *rows = _read_sample(sample, profile)
    if has_header(first, rows, known):
        meanings, remarks = suggest_by_names(first, rows, known)
        values["column_names"] = {**COLUMN_NAMES, **meanings}
    else:
        columns, remarks = suggest_by_positions([first, *rows], known)
        remarks = ["Header: there seems to be none.", *remarks]
        values.update(header=False, columns=columns)
    kept = {key: getattr(profile, key) for key in changed_keys(profile)}
    return Profile(**(kept | values)), [*dialect.remarks, *remarks]


def _read_sample(sample: bytes, profile: Profile) -> list[list[str]]:
    """Return the cells of the first records."""
    dialect = recognise_dialect(BytesIO(sample), profile)
    text = StringIO(open_text(BytesIO(sample), dialect.encoding).read(), newline="")
    records = RecordReader(text, dialect.separator, dialect.quote)
    cells = [cells for _, _, cells, fault in islice(records, _SAMPLED_ROWS) if fault is None]
    if cells and len(cells[0]) > COLUMNS_MOST:
        raise FileRefused("too-many-columns", f"The file has {len(cells[0]):,} columns; {COLUMNS_MOST:,} are allowed.")
    return cells or [[""]]


def _to_json(finding: _Finding) -> dict[str, Any]:
    error = finding.error
    return {
        "suggested": finding.suggested,
        "profile": finding.profile.to_dict(),
        "remarks": finding.remarks,
        "error": {"code": error.code, "text": error.text} if error is not None else None,
        "rows": [
            asdict(row) | {"problems": [{"code": code, "text": text} for code, text in row.problems]}
            for row in finding.rows
        ],
    }


def _print(finding: _Finding) -> None:
    for remark in finding.remarks:
        print(f"# {remark}")
    if finding.suggested and finding.error is None:
        print()
        profile = finding.profile
        usual = {"column_names"} if profile.column_names == COLUMN_NAMES else set()
        print(write_profile(profile, [key for key in changed_keys(profile) if key not in usual]), end="")
    for row in finding.rows:
        print(f"\nLine {row.line}{': refused' if row.is_refused else ''}")
        for name, value in row.values.items():
            print(f"  {f'field {name}' if name.isdigit() else name:<12}  {_show(value)}".rstrip())
        for code, text in row.problems:
            print(f"  ! {code}: {text}")


def _show(value: str) -> str:
    """Return a value on one line, so that no file can write to the terminal as it likes."""
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in value[:200])
    return f"{shown}…" if len(value) > 200 else shown
