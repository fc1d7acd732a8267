"""The files that go out with messages: attachments, and the images that the HTML shows."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, func, select

from db.tables import message, message_file
from delivery.errors import InvalidMessage
from delivery.messages import FileKind, Message, MessageFile, require_unsent

MAX_FILES_SIZE = 25 * 1024 * 1024
"""Bytes of all files of a message; encoded for the way they are a third more."""
MAX_FILE_NAME = 255
MAX_IMAGE_NAME = 2_000
"""Characters of an image's URL."""

# RFC 2045 section 5.1, without parameters; it stands in a header.
_CONTENT_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,63}/[A-Za-z0-9!#$&^_.+-]{1,63}")
_UNKNOWN_TYPE = "application/octet-stream"
# What is a message or has parts has rules of its own for how it is encoded (RFC 2045 section 6.4).
_COMPOSITE = ("message/", "multipart/")


def files_of(connection: Connection, found: Message) -> list[MessageFile]:
    """Return the files of a message, in the order in which they were added."""
    columns = (message_file.c.kind, message_file.c.name, message_file.c.content_type, message_file.c.content)
    query = select(*columns).where(message_file.c.message_id == found.id).order_by(message_file.c.id)
    return [MessageFile(*row) for row in connection.execute(query)]


def list_files(connection: Connection, found: Message) -> list[tuple[FileKind, str, str, int]]:
    """Return kind, name, content type and size in bytes of a message's files."""
    columns = (message_file.c.kind, message_file.c.name, message_file.c.content_type)
    query = select(*columns, func.length(message_file.c.content)).where(message_file.c.message_id == found.id)
    return [(row[0], row[1], row[2], row[3]) for row in connection.execute(query.order_by(message_file.c.id))]


def add_file(connection: Connection, found: Message, file: MessageFile) -> None:
    """Give a message one more file.

    Args:
        connection: in a writing transaction.
        found: the message.
        file: of a name that no other file of its kind has.

    Raises:
        InvalidMessage: name or content type cannot be, there is one of this name, or all files would be too large.
        NotAllowedNow: a sending of the message is under way.
    """
    _add_all(connection, found, (file,))


def set_files(connection: Connection, found: Message, kind: FileKind, files: Sequence[MessageFile]) -> None:
    """Replace all of a message's files of one kind; those of the other stay.

    Args:
        connection: in a writing transaction.
        found: the message.
        kind: of the files, old and new.
        files: none to have no more of this kind.

    Raises:
        InvalidMessage: as in `add_file`.
        NotAllowedNow: a sending of the message is under way.
    """
    require_unsent(connection, found)
    here = (message_file.c.message_id == found.id) & (message_file.c.kind == kind)
    connection.execute(message_file.delete().where(here))
    _add_all(connection, found, files)


def remove_file(connection: Connection, found: Message, kind: FileKind, name: str) -> None:
    """Take a file away from a message.

    Args:
        connection: in a writing transaction.
        found: the message.
        kind: of the file.
        name: of the file.

    Raises:
        InvalidMessage: it has no such file.
        NotAllowedNow: a sending of the message is under way.
    """
    require_unsent(connection, found)
    here = (message_file.c.message_id == found.id) & (message_file.c.kind == kind) & (message_file.c.name == name)
    if not connection.execute(message_file.delete().where(here)).rowcount:
        raise InvalidMessage(f"Message {found.number} has no file {name!r}.")


def make_attachment(name: str, content: bytes) -> MessageFile:
    """Return a file as an attachment, of the type that its name tells of."""
    guessed, encoding = mimetypes.guess_type(name)
    is_plain = guessed is not None and encoding is None and not guessed.startswith(_COMPOSITE)
    return MessageFile("attachment", name, guessed if is_plain and guessed else _UNKNOWN_TYPE, content)


def check_files(files: Iterable[MessageFile], taken: Iterable[tuple[str, str]] = (), size: int = 0) -> None:
    """Check files without storing them.

    Args:
        files: to be added to a message.
        taken: kinds and names of the files that it has.
        size: bytes of these together.

    Raises:
        InvalidMessage: as in `add_file`.
    """
    names = set(taken)
    for file in files:
        _check_file(file)
        if (file.kind, file.name) in names:
            raise InvalidMessage(f"There are two files of the name {file.name!r}.")
        names.add((file.kind, file.name))
        size += len(file.content)
    if size > MAX_FILES_SIZE:
        megabytes = MAX_FILES_SIZE // 1024 // 1024
        raise InvalidMessage(f"The files of a message have {size:,} bytes together; at most {megabytes} MiB can be.")


def _check_file(file: MessageFile) -> None:
    longest = MAX_IMAGE_NAME if file.kind == "image" else MAX_FILE_NAME
    # Some programs take the name for a path when they save the file, and it stands in a header.
    is_path = file.kind == "attachment" and (file.name in (".", "..") or re.search(r"[/\\]", file.name))
    if not 0 < len(file.name) <= longest or not file.name.isprintable() or is_path:
        raise InvalidMessage(f"A file's name is one line of 1 to {longest} characters without slashes.")
    if not _CONTENT_TYPE.fullmatch(file.content_type) or file.content_type.lower().startswith(_COMPOSITE):
        raise InvalidMessage(f"The content type of the file {file.name!r} is none that a file can have.")


def _add_all(connection: Connection, found: Message, files: Sequence[MessageFile]) -> None:
    require_unsent(connection, found)
    # Whoever adds a file at the same time waits here, so that both together keep the limit.
    connection.execute(message.update().where(message.c.id == found.id).values(updated_at=datetime.now(UTC)))
    here = list_files(connection, found)
    check_files(files, [(kind, name) for kind, name, _, _ in here], sum(size for *_, size in here))
    if files:
        rows = [
            {
                "message_id": found.id,
                "kind": file.kind,
                "name": file.name,
                "content_type": file.content_type,
                "content": file.content,
            }
            for file in files
        ]
        connection.execute(message_file.insert(), rows)
