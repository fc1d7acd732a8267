"""Puts imports into the queue. The row in the database is the promise; the worker finds it there."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal

from sqlalchemy import ColumnElement, Connection, and_, select

from audience.numbers import take_number
from db.tables import arrival, import_run
from exchange.profiles import Profile
from jobs.bundles import first_start, release_bundle
from jobs.feeds import Feed
from jobs.storage import Storage, sync_directory

ImportState = Literal["prepared", "queued", "running", "completed", "failed", "skipped", "cancelled"]
UNFINISHED: Sequence[ImportState] = ("queued", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """A file in the spool, and what is to be done with it."""

    account_id: int
    list_id: int
    profile: Profile
    source: str
    """The door it came through: `ftp`, `soap` or `command-line`."""
    file_name: str
    """As its sender named it, for people."""
    spool_name: str
    """In the spool's imports directory; the content there is complete, durable and never changes."""
    size: int
    sha256: str | None = None
    """Set when the same content must not be imported twice from one feed."""
    feed_id: int | None = None
    arrival_id: int | None = None
    dry_run: bool = False
    """Do everything except keeping it."""
    not_before: datetime | None = None
    """When it may begin; None: at once."""
    bundle: str | None = None
    bundle_place: int | None = None


def enqueue_import(connection: Connection, request: ImportRequest, *, state: ImportState = "queued") -> int:
    """Record an import; return its id. It starts when the transaction has been committed and a worker is free."""
    inserted = connection.execute(
        import_run.insert().values(
            account_id=request.account_id,
            number=take_number(connection, request.account_id, "import"),
            list_id=request.list_id,
            feed_id=request.feed_id,
            arrival_id=request.arrival_id,
            source=request.source,
            file_name=request.file_name,
            spool_name=request.spool_name,
            profile=request.profile.to_dict(),
            size=request.size,
            sha256=request.sha256,
            dry_run=request.dry_run,
            not_before=request.not_before,
            bundle=request.bundle,
            bundle_place=request.bundle_place,
            state=state,
            counters={},
            created_at=datetime.now(UTC),
        )
    )
    assert inserted.inserted_primary_key is not None
    return int(inserted.inserted_primary_key[0])


@dataclass(frozen=True, slots=True)
class PreparedImport:
    """An import that waits to be started, or has just been."""

    number: int
    list_id: int


def prepared_imports(connection: Connection, account_id: int, source: str) -> list[PreparedImport]:
    """Return the imports of an account that came through a door and wait to be started, in the order of their ids."""
    query = select(import_run.c.number, import_run.c.list_id).where(_is_prepared(account_id, source))
    return [PreparedImport(*row) for row in connection.execute(query.order_by(import_run.c.id))]


def queue_prepared(
    connection: Connection, account_id: int, source: str, *conditions: ColumnElement[bool]
) -> list[PreparedImport]:
    """Put prepared imports into the queue; return them in the order of their ids, in which they will be done.

    Args:
        connection: in a writing transaction.
        account_id: whose imports.
        source: the door they came through.
        conditions: on `import_run`, for some of them only.
    """
    return _end_waiting(connection, account_id, source, *conditions, state="queued")


def fail_prepared(
    connection: Connection, account_id: int, source: str, *conditions: ColumnElement[bool], code: str, text: str
) -> list[PreparedImport]:
    """End prepared imports that cannot be done any more; the arguments are those of `queue_prepared`, and why."""
    ended = {"state": "failed", "finished_at": datetime.now(UTC), "error_code": code, "error_text": text}
    return _end_waiting(connection, account_id, source, *conditions, **ended)


def _end_waiting(
    connection: Connection, account_id: int, source: str, *conditions: ColumnElement[bool], **values: Any
) -> list[PreparedImport]:
    changed = connection.execute(
        import_run.update()
        .where(_is_prepared(account_id, source), *conditions)
        .values(**values)
        .returning(import_run.c.id, import_run.c.number, import_run.c.list_id)
    )
    return [PreparedImport(number, list_id) for _, number, list_id in sorted(map(tuple, changed))]


def _is_prepared(account_id: int, source: str) -> ColumnElement[bool]:
    columns = import_run.c
    return and_(columns.account_id == account_id, columns.source == source, columns.state == "prepared")


def enqueue_arrival(
    connection: Connection,
    feed: Feed,
    *,
    key: str,
    name: str,
    size: int,
    sha256: str,
    reason: str,
    door: str | None = None,
) -> int:
    """Record an uploaded file that was judged complete, and its import; return the import's id.

    Args:
        connection: in a writing transaction.
        feed: the folder it arrived in.
        key: 32 hexadecimal digits, its name in the spool's imports directory; a second call with the same key
            returns the import of the first one.
        name: as the partner named it.
        size: in bytes.
        sha256: of the content, hexadecimal.
        reason: why it was judged complete, for people.
        door: by which it came, see `db.exchange.arrival`.
    """
    known = select(import_run.c.id).join(arrival, arrival.c.id == import_run.c.arrival_id).where(arrival.c.key == key)
    import_id = connection.execute(known).scalar_one_or_none()
    if import_id is not None:
        return int(import_id)
    assert feed.list_id is not None
    arrival_id = record_arrival(
        connection, feed, key=key, name=name, size=size, complete=True, reason=reason, door=door
    )
    request = ImportRequest(
        account_id=feed.account_id,
        list_id=feed.list_id,
        profile=feed.profile,
        source="ftp",
        file_name=name,
        spool_name=key,
        size=size,
        sha256=sha256,
        feed_id=feed.id,
        arrival_id=arrival_id,
        not_before=first_start(connection, feed, datetime.now(UTC)),
        bundle=feed.profile.bundle,
        bundle_place=feed.profile.bundle_place if feed.profile.bundle is not None else None,
    )
    queued = enqueue_import(connection, request)
    release_bundle(connection, feed.account_id, feed.profile.bundle, datetime.now(UTC))
    return queued


def record_arrival(
    connection: Connection,
    feed: Feed,
    *,
    key: str,
    name: str,
    size: int,
    complete: bool,
    reason: str,
    door: str | None = None,
) -> int:
    """Record the verdict on an uploaded file; return the record's id. The arguments are those of `enqueue_arrival`."""
    inserted = connection.execute(
        arrival.insert().values(
            account_id=feed.account_id,
            feed_id=feed.id,
            key=key,
            name=name,
            size=size,
            complete=complete,
            reason=reason,
            door=door,
            at=datetime.now(UTC),
        )
    )
    assert inserted.inserted_primary_key is not None
    return int(inserted.inserted_primary_key[0])


@dataclass(frozen=True, slots=True)
class SpooledFile:
    """A durable copy in the spool's imports directory."""

    name: str
    size: int
    sha256: str


def spool(storage: Storage, content: BinaryIO) -> SpooledFile:
    """Copy a stream durably into the spool, for doors that have no file of their own to link."""
    key = uuid.uuid4().hex
    target = storage.imports / key
    digest = hashlib.sha256()
    part = Path(f"{target}.part")
    try:
        with part.open("wb") as out:
            while block := content.read(1 << 20):
                digest.update(block)
                out.write(block)
            out.flush()
            os.fsync(out.fileno())
            size = out.tell()
        part.rename(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_directory(storage.imports)
    return SpooledFile(key, size, digest.hexdigest())
