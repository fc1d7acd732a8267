"""`listbridge profile`: how the files of an import folder are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from sqlalchemy import Connection

from audience.accounts import Account, find_account
from exchange.linear_patterns import LinearPattern
from exchange.profile_files import explain_unknown, write_profile
from exchange.profiles import (
    Acknowledgement,
    Channels,
    CompletenessRule,
    Duplicates,
    EmptyValues,
    Encoding,
    Key,
    Missing,
    Mode,
    NameMatch,
    Profile,
    StatusRule,
    Unknown,
)
from jobs.feeds import Feed, feeds_of, find_feed, parse_folder, remove_feed, set_feed
from listbridge.commands.operator import YesOption, confirm
from listbridge.commands.options import TAB_NAMES, AccountOption, application, split_numbers, write
from listbridge.commands.profile_check import check, load_profile
from listbridge.errors import CommandError
from listbridge.output import JsonOption, print_json, print_rows
from services.mailup.csv_columns import COLUMN_NAMES

app = typer.Typer(help="Profiles: how the files of an import folder are read.", no_args_is_help=True)
app.command()(check)

AccountArgument = Annotated[int, typer.Argument(metavar="ACCOUNT", help="Number of the account.")]
FolderArgument = Annotated[str, typer.Argument(metavar="FOLDER", help="Folder: import/<list number>, or one below it.")]
BY_VENDOR = {name.lower(): meaning for name, meaning in COLUMN_NAMES.items()}
"""Meanings of columns by the vendor's own names, in lower case."""


@app.command()
def add(
    account: AccountOption,
    folder: Annotated[str, typer.Option(help="Folder: import/<list number>, or one below it.")],
    separator: Annotated[
        str | None, typer.Option(help="Column separator, one character or `tab`; by default it is recognised.")
    ] = None,
    quote: Annotated[str, typer.Option(help="Quoting character.")] = '"',
    encoding: Annotated[Encoding, typer.Option(help="Encoding that the sender declares.")] = "utf-8",
    columns: Annotated[
        str | None,
        typer.Option(
            help="For files without a header: meanings by position, separated by commas; an empty one skips its column."
        ),
    ] = None,
    channels: Annotated[Channels, typer.Option(help="What recipients are subscribed to.")] = "both",
    status: Annotated[
        StatusRule, typer.Option(help="Status that rows ask for; `column`: the status column says it.")
    ] = "subscribed",
    subscribed_value: Annotated[str, typer.Option(help="Cell of the status column that means subscribed.")] = "1",
    unsubscribed_value: Annotated[str, typer.Option(help="Cell of the status column that means unsubscribed.")] = "0",
    confirm: Annotated[bool, typer.Option("--confirm", help="Recipients become pending until they confirm.")] = False,
    change_pending: Annotated[
        bool, typer.Option("--change-pending", help="The status of pending recipients changes too.")
    ] = False,
    resubscribe: Annotated[
        bool, typer.Option("--resubscribe", help="Recipients who unsubscribed become subscribed again.")
    ] = False,
    empty: Annotated[EmptyValues, typer.Option(help="What an empty cell does to the stored value.")] = "keep",
    groups: Annotated[
        str | None, typer.Option(help="Numbers of groups that every row is put into, separated by commas.")
    ] = None,
    replace_groups: Annotated[
        bool, typer.Option("--replace-groups", help="Take recipients out of the list's other groups.")
    ] = False,
    key: Annotated[Key, typer.Option(help="What tells whom a row is about.")] = "email",
    unknown: Annotated[
        Unknown, typer.Option(help="What becomes of rows about people who are not in the account.")
    ] = "add",
    duplicates: Annotated[
        Duplicates, typer.Option(help="Which of several rows about the same person in the same list counts.")
    ] = "last",
    mode: Annotated[Mode, typer.Option(help="`full`: the file holds everybody who is subscribed to the list.")] = (
        "incremental"
    ),
    missing: Annotated[
        Missing, typer.Option(help="With `full`: what becomes of those who are not in the file.")
    ] = "unsubscribe",
    max_missing: Annotated[
        float,
        typer.Option(min=0, max=100, help="With `full`: nobody is unsubscribed when more percent of them are missing."),
    ] = 10.0,
    constant: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE=VALUE", help="Value of every row for a role or field without a column; repeatable."),
    ] = None,
    pattern: Annotated[
        str, typer.Option(help="Pattern of the file names to import; {date:yyyyMMdd} stands for a date.")
    ] = "*",
    match: Annotated[
        NameMatch, typer.Option(help="How the pattern is read: as a shell's, or as a regular expression.")
    ] = "glob",
    start_at: Annotated[
        str | None, typer.Option(metavar="HH:MM", help="Time of day at which files are imported; by default at once.")
    ] = None,
    bundle: Annotated[
        str | None, typer.Option(help="Name that folders share whose files belong together and wait for each other.")
    ] = None,
    place: Annotated[
        int | None, typer.Option(min=1, help="With --bundle: place of this folder's file among them.")
    ] = None,
    wait_until: Annotated[
        str | None,
        typer.Option(
            metavar="HH:MM", help="With --bundle: when the files that are there are imported without the others."
        ),
    ] = None,
    expected_by: Annotated[
        str | None, typer.Option(metavar="HH:MM", help="Time of day by which a file is expected daily.")
    ] = None,
    scan_seconds: Annotated[
        float,
        typer.Option(min=0, help="How long a file that came by no door must have stayed the same; 0: it is left."),
    ] = 60.0,
    acknowledge: Annotated[
        list[str] | None,
        typer.Option(help="How the sender is told: rename, marker, table, mail or webhook; repeatable."),
    ] = None,
    contact: Annotated[
        str | None, typer.Option(help="Who gets the mails about this folder, instead of the technical contact.")
    ] = None,
    complete_when: Annotated[
        CompletenessRule, typer.Option(help="What proves that an upload is complete.")
    ] = "connection",
    marker_suffix: Annotated[str, typer.Option(help="With `marker`: FILE is complete once FILE + this exists.")] = (
        ".done"
    ),
    trailer: Annotated[
        str | None,
        typer.Option(help="With `trailer`: regular expression of the last line; group `rows` is the count of rows."),
    ] = None,
    quiet_seconds: Annotated[
        float, typer.Option(min=0.1, help="With `connection`: how long a silent client waits for the verdict.")
    ] = 2.0,
) -> None:
    """Give a folder its profile, replacing an earlier one; options that are left out take their defaults."""
    profile = Profile(
        encoding=encoding,
        separator=_parse_separator(separator),
        quote=_parse_character(quote, "--quote"),
        header=columns is None,
        columns=_parse_columns(columns),
        column_names=dict(COLUMN_NAMES),
        channels=channels,
        status=status,
        subscribed_value=subscribed_value,
        unsubscribed_value=unsubscribed_value,
        confirm=confirm,
        change_pending=change_pending,
        resubscribe=resubscribe,
        empty_values=empty,
        groups=split_numbers(groups, "--groups"),
        replace_groups=replace_groups,
        constants=_parse_constants(constant or []),
        key=key,
        unknown=unknown,
        duplicates=duplicates,
        mode=mode,
        missing=missing,
        max_missing_percent=max_missing,
        pattern=pattern,
        match=match,
        start_at=start_at,
        bundle=bundle,
        bundle_place=_parse_place(place, bundle),
        wait_until=wait_until,
        expected_by=expected_by,
        scan_seconds=scan_seconds,
        acknowledgements=_parse_acknowledgements(acknowledge or []),
        contact=contact,
        completeness=complete_when,
        marker_suffix=_parse_marker_suffix(marker_suffix),
        quiet_seconds=quiet_seconds,
        **_parse_trailer(trailer),
    )
    _set(account, folder, profile)


@app.command("set")
def replace(
    account: AccountArgument,
    folder: FolderArgument,
    file: Annotated[
        Path, typer.Option("--from", metavar="FILE.toml", exists=True, dir_okay=False, help="File with the profile.")
    ],
) -> None:
    """Give a folder the profile in a TOML file, replacing an earlier one; keys left out take their defaults."""
    _set(account, folder, load_profile(file))


@app.command("list")
def list_all(account: AccountOption, as_json: JsonOption = False) -> None:
    """List the folders of an account that have a profile."""
    with application() as opened, opened.database.read() as connection:
        feeds = feeds_of(connection, find_account(connection, account).id)
    rows = [
        {
            "folder": feed.folder,
            "pattern": feed.profile.pattern,
            "key": feed.profile.key,
            "mode": feed.profile.mode,
            "status": feed.profile.status,
            "complete_when": feed.profile.completeness,
            "start_at": feed.profile.start_at,
            "expected_by": feed.profile.expected_by,
        }
        for feed in feeds
    ]
    print_rows(rows, as_json=as_json, nothing="There are no profiles.")


@app.command()
def show(
    account: AccountArgument,
    folder: FolderArgument,
    as_json: Annotated[bool, typer.Option("--json/--toml", help="Print JSON instead of TOML.")] = False,
) -> None:
    """Show the profile of a folder with all its keys, as `profile set` reads it."""
    with application() as opened, opened.database.read() as connection:
        profile = _find(connection, find_account(connection, account), folder).profile
    if as_json:
        print_json(profile.to_dict())
    else:
        print(write_profile(profile), end="")


@app.command()
def remove(account: AccountArgument, folder: FolderArgument, yes: YesOption = False) -> None:
    """Take a folder's profile away: files in it are not imported any more."""
    with application() as opened:
        with opened.database.read() as connection:
            found = _find(connection, find_account(connection, account), folder)
        confirm(f"Import no more files from {found.folder} of account {account}?", yes=yes)
        write(opened, lambda connection: remove_feed(connection, found))
    print(f"Folder {found.folder} of account {account} has no profile any more.")


def _set(account: int, folder: str, profile: Profile) -> None:
    with application() as opened:
        feed = write(opened, lambda at: set_feed(at, opened.storage, find_account(at, account), folder, profile))
    print(f"Folder {feed.folder} of account {account} has its profile.")


def _find(connection: Connection, account: Account, folder: str) -> Feed:
    feed = find_feed(connection, account.id, parse_folder(folder)[0])
    if feed is None:
        raise CommandError(f"Account {account.number} has no folder {folder} with a profile.")
    return feed


def _parse_separator(text: str | None) -> str | None:
    if text is None:
        return None
    return "\t" if text in TAB_NAMES else _parse_character(text, "--separator")


def _parse_character(text: str, option: str) -> str:
    if len(text) != 1 or text in "\r\n\0":
        raise typer.BadParameter("expected one character", param_hint=option)
    return text


def _parse_columns(text: str | None) -> tuple[str, ...]:
    """Read meanings by position; vendors' column names are as good as the general ones."""
    if text is None:
        return ()
    cells = (cell.strip() for cell in text.split(","))
    return tuple(BY_VENDOR.get(cell.lower(), cell) for cell in cells)


def _parse_constants(texts: list[str]) -> dict[str, str]:
    """Read values by role or field; vendors' column names are as good as the general ones."""
    constants: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise typer.BadParameter("expected ROLE=VALUE", param_hint="--constant")
        constants[BY_VENDOR.get(name.lower(), name)] = value
    return constants


def _parse_place(place: int | None, bundle: str | None) -> int:
    if (place is None) != (bundle is None):
        raise typer.BadParameter("--bundle and --place belong together", param_hint="--bundle")
    return place or 1


def _parse_acknowledgements(texts: list[str]) -> tuple[Acknowledgement, ...]:
    known: tuple[Acknowledgement, ...] = get_args(Acknowledgement)
    found: dict[str, Acknowledgement] = {name: name for name in known}
    for text in texts:
        if text not in found:
            raise typer.BadParameter(f"{text}: {explain_unknown(text, known)}", param_hint="--acknowledge")
    return tuple(found[text] for text in texts)


def _parse_marker_suffix(text: str) -> str:
    if not text or "/" in text:
        raise typer.BadParameter("expected the end of a file name", param_hint="--marker-suffix")
    return text


def _parse_trailer(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        names = LinearPattern(text).group_names
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--trailer") from None
    if "rows" not in names:
        raise typer.BadParameter("the group (?P<rows>…) is missing", param_hint="--trailer")
    return {"trailer": text}
