"""How the sender of a file is told what became of it, beside the folders `processed` and `failed`.

A profile names the ways: the file's name gets the time, a marker or a table is written, a mail or a notification goes
out. Files can be written again after a crash and are the same; mails and notifications are written by the transaction
that ends the import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Connection, select

from audience.accounts import load_account
from audience.lists import MailingList
from audience.notices import NoticeKind, add_notice
from audience.webhooks import announce_import
from db.tables import feed
from exchange.profiles import MARKER_SUFFIXES, Profile
from jobs.feeds import REPORTS_FOLDER, Feed
from jobs.outcomes import describe_instant
from jobs.storage import Storage, publish, sync_directory

log = structlog.get_logger()

OK_SUFFIX, ERROR_SUFFIX = MARKER_SUFFIXES
TABLE_SUFFIX = ".result.csv"

ACCEPTED = ("completed", "skipped")
"""States of an import whose file goes to `processed/`."""

_TIME_FORMAT = "%Y%m%d%H%M%S"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedImport:
    """An import from a feed's folder, at its end."""

    id: int
    number: int
    account_id: int
    feed_id: int
    file_name: str
    state: str
    code: str | None
    text: str | None
    counters: Mapping[str, Any]
    profile: Profile

    @property
    def is_accepted(self) -> bool:
        return self.state in ACCEPTED


def name_handed_back(profile: Profile, name: str, started: datetime, zone: ZoneInfo) -> str:
    """Return the name of a file in `processed/` or `failed/`: as it came, or with the time of its import.

    Args:
        profile: of its folder.
        name: as it came.
        started: when its import began for the first time, so that it has one name whenever it is handed back.
        zone: of the account.
    """
    if "rename" not in profile.acknowledgements:
        return name
    return f"{name}.{started.astimezone(zone).strftime(_TIME_FORMAT)}"


def writes_markers(profile: Profile) -> bool:
    """Tell whether `NAME.ok` and `NAME.err` are the server's in a folder; a sender's own have other endings there."""
    return "marker" in profile.acknowledgements


def is_acknowledgement(profile: Profile, name: str) -> bool:
    """Tell whether a file of this name is the server's own word about another one, which is never imported."""
    return writes_markers(profile) and name.endswith(MARKER_SUFFIXES)


def remove_markers(profile: Profile, visible: Path) -> None:
    """Take away what was said of an earlier file, when the next one of its name has come."""
    if writes_markers(profile):
        for suffix in MARKER_SUFFIXES:
            visible.with_name(visible.name + suffix).unlink(missing_ok=True)


def describe_result(ended: EndedImport, started: datetime | None, finished: datetime) -> dict[str, Any]:
    """Return what the result file says."""
    return {
        "import": ended.number,
        "file": ended.file_name,
        "state": ended.state,
        "error_code": ended.code,
        "error_text": ended.text,
        "counters": ended.counters,
        "started_at": describe_instant(started),
        "finished_at": describe_instant(finished),
    }


def write_marker(storage: Storage, key: str, visible: Path, ended: EndedImport) -> None:
    """Write `NAME.ok` or `NAME.err` beside where a file came to, unless the next one of its name is there already.

    Args:
        storage: whose spool has the marker while it is written.
        key: of the file in the spool.
        visible: where the file came to.
        ended: what became of it.
    """
    if visible.exists():
        return
    right, wrong = (OK_SUFFIX, ERROR_SUFFIX) if ended.is_accepted else (ERROR_SUFFIX, OK_SUFFIX)
    part = storage.exports / f"{key}.marker.part"
    part.write_text(f"{describe_end(ended)}\n", encoding="utf-8")
    publish(part, visible.with_name(visible.name + right))
    visible.with_name(visible.name + wrong).unlink(missing_ok=True)
    sync_directory(visible.parent)


def write_table(storage: Storage, key: str, handed_back: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write the table of a file into the folder `reports` beside `processed` and `failed`.

    Args:
        storage: whose spool has the table while it is written.
        key: of the file in the spool.
        handed_back: where the file is now, whose name the table bears.
        write: writes the content.
    """
    reports = handed_back.parent.parent / REPORTS_FOLDER
    reports.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = storage.exports / f"{key}.table.part"
    with part.open("wb") as out:
        write(out)
    publish(part, reports / f"{handed_back.name}{TABLE_SUFFIX}")


def describe_end(ended: EndedImport) -> str:
    """Return state, number, and reason or counts of an import in one line, as `name=value`."""
    values: dict[str, object] = {"import": ended.number}
    if ended.code is not None:
        values["code"] = ended.code
    if ended.state == "completed":
        values |= {name: _sum(count) for name, count in ended.counters.items()}
    return " ".join((ended.state, *(f"{name}={value}" for name, value in values.items())))


def tell_ended(connection: Connection, ended: EndedImport, mailing: MailingList) -> None:
    """Write the mail and the notifications about the end of an import, where its folder's profile asks for them.

    Args:
        connection: in the writing transaction that ends the import.
        ended: what became of it.
        mailing: the list that its folder belongs to.
    """
    ways = ended.profile.acknowledgements
    if "webhook" in ways:
        names = ("file_name", "state", "code", "text", "counters")
        told = {"number": ended.number, **{name: getattr(ended, name) for name in names}}
        told["file"] = told.pop("file_name")
        announce_import(connection, mailing, told)
    if "mail" in ways:
        folder = connection.execute(select(feed.c.folder).where(feed.c.id == ended.feed_id)).scalar_one()
        outcome = f"{ended.state} ({ended.code})" if ended.code else ended.state
        _mail(
            connection,
            ended.account_id,
            key=f"import:{ended.id}",
            subject=f"Import {ended.number} of {ended.file_name}: {outcome}",
            text=_describe_for_people(ended, folder),
            profile=ended.profile,
        )


def tell_incomplete(connection: Connection, feed: Feed, name: str, reason: str) -> None:
    """Write the mail about a file that was put aside, where its folder's profile asks for mails.

    Whoever tries again and again is told of once a day and name.

    Args:
        connection: in the writing transaction that records it.
        feed: the folder it came to.
        name: of the file.
        reason: why it was put aside.
    """
    if "mail" not in feed.profile.acknowledgements:
        return
    today = datetime.now(load_account(connection, feed.account_id).zone).date()
    _mail(
        connection,
        feed.account_id,
        key=f"incomplete:{feed.id}:{today}:{name}",
        subject=f"{name} did not arrive as a whole",
        text=(
            f"File: {name}\nFolder: {feed.folder}\nReason: {reason}\n\n"
            f"What came of it is in the folder {feed.folder}/incomplete. It was not imported; send it again.\n"
        ),
        profile=feed.profile,
    )


def _mail(connection: Connection, account_id: int, *, key: str, subject: str, text: str, profile: Profile) -> None:
    kind: NoticeKind = "import"
    if not add_notice(connection, account_id, key=key, kind=kind, subject=subject, text=text, address=profile.contact):
        log.warning("notice_without_contact", account_id=account_id, kind=kind)


def _describe_for_people(ended: EndedImport, folder: str) -> str:
    place = "processed" if ended.is_accepted else "failed"
    lines = [
        f"File: {ended.file_name}",
        f"Folder: {folder}",
        f"Import: {ended.number}",
        f"State: {ended.state}",
        *([f"Reason: {ended.code}: {ended.text}"] if ended.code else []),
        "",
        *(f"{_label(name)}: {_show(count)}" for name, count in ended.counters.items() if count or name == "total"),
        "",
        f"The file is in the folder {folder}/{place}, with the rows that were refused, if any.",
    ]
    return "\n".join(lines) + "\n"


def _label(name: str) -> str:
    return "Rows" if name == "total" else name.replace("_", " ").capitalize()


def _show(count: int | Mapping[str, int]) -> str:
    if isinstance(count, int):
        return str(count)
    return f"{_sum(count)} ({', '.join(f'{code} {number}' for code, number in sorted(count.items()))})"


def _sum(count: int | Mapping[str, int]) -> int:
    return count if isinstance(count, int) else sum(count.values())
