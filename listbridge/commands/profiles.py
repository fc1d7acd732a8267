"""`listbridge profile`: how the files of an import folder are read."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from audience.accounts import find_account
from exchange.profiles import Channels, CompletenessRule, EmptyValues, Encoding, Profile, StatusRule
from jobs.feeds import set_feed
from listbridge.commands.options import TAB_NAMES, AccountOption, application, split_numbers
from services.mailup.csv_columns import COLUMN_NAMES

app = typer.Typer(help="Profiles: how the files of an import folder are read.", no_args_is_help=True)


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
    pattern: Annotated[str, typer.Option(help="Shell-style pattern of the file names to import.")] = "*",
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
        pattern=pattern,
        completeness=complete_when,
        marker_suffix=_parse_marker_suffix(marker_suffix),
        quiet_seconds=quiet_seconds,
        **_parse_trailer(trailer),
    )
    with application() as opened, opened.database.write() as connection:
        feed = set_feed(connection, opened.storage, find_account(connection, account), folder, profile)
    print(f"Folder {feed.folder} of account {account} has its profile.")


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
    names = {name.lower(): meaning for name, meaning in COLUMN_NAMES.items()}
    cells = (cell.strip() for cell in text.split(","))
    return tuple(names.get(cell.lower(), cell) for cell in cells)


def _parse_marker_suffix(text: str) -> str:
    if not text or "/" in text:
        raise typer.BadParameter("expected the end of a file name", param_hint="--marker-suffix")
    return text


def _parse_trailer(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        names = re.compile(text).groupindex
    except re.error as error:
        raise typer.BadParameter(f"not a regular expression: {error}", param_hint="--trailer") from None
    if "rows" not in names:
        raise typer.BadParameter("the group (?P<rows>…) is missing", param_hint="--trailer")
    return {"trailer": text}
