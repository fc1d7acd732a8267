"""The texts that tell people what became of a file that sends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection

from audience.addresses import normalise_email
from audience.errors import InvalidAddress
from audience.notices import add_notice
from jobs.acknowledgements import ACCEPTED

log = structlog.get_logger()

_LABELS: Mapping[str, str] = {
    "sending": "Sending",
    "message": "Message",
    "rows": "Rows",
    "imported": "Imported",
    "queued": "Messages",
    "refused": "Refused rows",
    "duplicates": "Duplicates left out",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedFile:
    """A file that sends, at its end."""

    id: int
    number: int
    account_id: int
    kind: str
    file_name: str
    folder: str | None
    """That it came to; None when it came to none that is watched."""
    label: str
    """What partners call such files."""
    called: str
    """What its sender calls the run; empty when he did not, or it could not be read."""
    notify: str
    """Who is told instead of the technical contact, if it is an address."""
    state: str
    code: str | None
    text: str | None
    counters: Mapping[str, Any]

    @property
    def is_accepted(self) -> bool:
        return self.state in ACCEPTED


def tell_ended_file(connection: Connection, ended: EndedFile) -> None:
    """Write the notice about the end of a file, in the transaction that ends it.

    Who dropped a file is told in any case; who called a service, only of what went wrong after the answer.
    """
    if ended.kind == "recipients" and ended.is_accepted:
        return
    told = add_notice(
        connection,
        ended.account_id,
        key=f"sending-file:{ended.id}",
        kind="sending-file",
        subject=f"{ended.label} {ended.called or ended.file_name}: {_outcome(ended)}",
        text=_describe(ended),
        address=_address(ended.notify),
    )
    if not told:
        log.warning("notice_without_contact", account_id=ended.account_id, kind="sending-file")


def _outcome(ended: EndedFile) -> str:
    # Callers of a service have nothing but this line to act on.
    return f"failed ({ended.code})" if ended.kind == "recipients" and ended.state == "failed" else ended.state


def _describe(ended: EndedFile) -> str:
    lines = [f"File: {ended.file_name}"]
    if ended.folder is not None:
        place = "processed" if ended.is_accepted else "failed"
        lines.append(f"Folder: {ended.folder}/{place}")
    lines += [f"Run: {ended.number}", f"State: {ended.state}"]
    if ended.code is not None:
        lines += [f"Error code: {ended.code}", "", ended.text or ""]
    counts = [f"{label}: {ended.counters[name]}" for name, label in _LABELS.items() if name in ended.counters]
    return "\n".join([*lines, *([""] if counts else []), *counts]) + "\n"


def _address(notify: str) -> str | None:
    try:
        return normalise_email(notify) if notify else None
    except InvalidAddress:
        return None
