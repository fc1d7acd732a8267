"""Files that were judged complete, on their way into the spool: from there on their names do not matter any more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import structlog

from db.engine import Database
from ftp_server.journal import Door, remove_note
from ftp_server.markers import use_up_marker
from ftp_server.records import Adopted, record_complete
from ftp_server.uploads import Upload
from jobs.feeds import Feed
from jobs.storage import Storage

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Claim:
    """A visible file that was judged complete."""

    key: str
    inode: int
    account: int
    feed: Feed
    target: Path
    reason: str
    door: Door


def claim_upload(upload: Upload, reason: str) -> Claim:
    """Return the claim of an upload that is visible and has its note."""
    destination = upload.destination
    assert destination.feed is not None
    account, feed = destination.account.number, destination.feed
    return Claim(upload.key, upload.inode, account, feed, upload.path, reason, destination.door)


def spool_claim(storage: Storage, claim: Claim) -> bool:
    """Link a complete file into the spool; False when it is gone, by other hands than a partner's.

    Raises:
        OSError: the disk is full or fails; the file has its name still.
    """
    spooled = storage.imports / claim.key
    if spooled.exists():
        return True
    if not claim.target.is_file() or claim.target.stat().st_ino != claim.inode:
        log.warning("upload_vanished", account=claim.account, feed=claim.feed.id)
        remove_note(storage, claim.key)
        return False
    spooled.hardlink_to(claim.target)
    use_up_marker(claim.feed, claim.target)
    return True


def secure_claim(storage: Storage, claim: Claim, *, moves: bool) -> None:
    """Have a complete file in the spool before its name goes to another, or goes.

    Args:
        storage: of the spool.
        claim: of the file; an import was promised, and it may have been linked since or not.
        moves: a file that cannot be linked is moved there instead, and its name is free.

    Raises:
        OSError: the disk is full or fails; the file has its name still.
    """
    try:
        spool_claim(storage, claim)
    except OSError:
        if not moves:
            raise
        # More names than a file may have, or no room for one more, are no obstacle to that.
        claim.target.rename(storage.imports / claim.key)
        use_up_marker(claim.feed, claim.target)


def record_claim(database: Database, storage: Storage, claim: Claim) -> Adopted:
    """Put the import of a file in the spool into the queue; a second call changes nothing. Slow."""
    return record_complete(database, storage, claim.feed, claim.key, claim.target.name, claim.reason, claim.door)
