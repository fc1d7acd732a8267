"""Contents and attachments of messages, read from files of the operator's."""

from __future__ import annotations

from pathlib import Path

from delivery.errors import InvalidMessage
from delivery.html_sources import decode_page
from delivery.message_files import MAX_FILES_SIZE, check_files, make_attachment
from delivery.messages import MAX_CONTENT, MessageFile
from listbridge.errors import CommandError

MAX_CONTENT_SIZE = 4 * MAX_CONTENT
"""Bytes; no encoding has more for a character."""


def read_content(path: Path | None) -> str:
    """Return the text of a file, whose encoding is recognised; without a file it is empty.

    Raises:
        CommandError: it cannot be read, is too large, or is no text.
    """
    if path is None:
        return ""
    try:
        return decode_page(_read(path, MAX_CONTENT_SIZE))
    except InvalidMessage as error:
        raise CommandError(f"{path}: {error}") from None


def read_attachments(paths: list[Path]) -> list[MessageFile]:
    """Return files as attachments of their names.

    Raises:
        CommandError: one cannot be read, or is too large.
        InvalidMessage: one cannot be attached, or all are too large together.
    """
    files = [make_attachment(path.name, _read(path, MAX_FILES_SIZE)) for path in paths]
    check_files(files)
    return files


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
    if len(content) > most:
        raise CommandError(f"{path} has more than {most:,} bytes.")
    return content
