"""Carries out the verdicts on uploads: shows files, puts them aside, gives them to the import queue.

Names change only on the FTP loop, so uploads of all sessions are one sequence; whatever is slow (fsync, SHA-256,
database) runs in threads between. A file that was judged complete is at once linked into the spool: from then on
nothing that happens to its name matters to the import.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import structlog

from audience.accounts import Account
from db.engine import Database
from ftp_server.arrival import MANIFEST_DIFFERS, Ending, Evidence, Step, Verdict, judge_marked, judge_renamed
from ftp_server.bridge import Bridge
from ftp_server.claims import Claim, claim_upload, record_claim, secure_claim, spool_claim
from ftp_server.evidence import find_evidence
from ftp_server.journal import Door, Note, Standing, remove_note, sync_note, write_note
from ftp_server.markers import put_marker_aside, waits_for_marker
from ftp_server.metrics import UPLOADS
from ftp_server.names import Place, Refused, Role, marked_name
from ftp_server.records import Adopted, record_incomplete
from ftp_server.uploads import Destination, Upload, ending_of, put_aside
from jobs.feeds import OUTCOME_FOLDERS, Feed
from jobs.storage import Storage, sync_directory, sync_file

log = structlog.get_logger()

RETRY_SECONDS = 5.0
REPLACED = "Another upload took its place before it was complete."

Answer = Callable[[str], None]

_STANDINGS: dict[Step, Standing] = {Step.WATCH: "watched", Step.ADOPT: "complete"}


class Link(Protocol):
    """The control connection of an upload, as the desk sees it."""

    def is_alive(self) -> bool:
        """Tell whether the client has not closed it, at this moment."""

    def answer(self, reply: str) -> None:
        """Send the reply to the transfer, if anyone is there to read it, and go on with further commands."""

    def watch(self, upload: Upload) -> None:
        """Report the next command, the end of the quiet time or the end of the connection to `Desk.decide`."""


class Desk:
    """Everything about uploads that outlives the session they came in."""

    def __init__(
        self,
        database: Database,
        storage: Storage,
        bridge: Bridge,
        pool: ThreadPoolExecutor,
        record_pool: ThreadPoolExecutor,
        ioloop: Any,
    ) -> None:
        """Begin with nothing under way; see `ftp_server.recovery` for what an earlier process left.

        Args:
            database: takes the verdicts.
            storage: holds the files.
            bridge: of the loop.
            pool: threads for files.
            record_pool: threads for writing to the database, which can wait long for other writers.
            ioloop: the loop.
        """
        self.stopping = False
        self._database = database
        self._storage = storage
        self._bridge = bridge
        self._pool = pool
        self._record_pool = record_pool
        self._ioloop = ioloop
        self._watched: dict[Path, Upload] = {}
        self._marked: set[Path] = set()
        self._retried: dict[Path, Claim] = {}

    def end(self, upload: Upload, ending: Ending, link: Link) -> None:
        """Judge an upload whose data has ended; the reply goes to its link."""
        if self.stopping and ending in (Ending.CONTROL_LOST, Ending.LOST):
            ending = Ending.STOPPED
        verdict = upload.arrival.data_ended(upload.close(ending), upload.size, upload.received)
        if verdict.step is Step.SYNC:
            job = partial(_sync_and_examine, upload)
            self._bridge.submit(self._pool, job, lambda future: self._synced(upload, future, link))
        else:
            self._carry_out(upload, verdict, link)

    def decide(self, upload: Upload, verdict: Verdict) -> None:
        """Carry out what became of an upload that was watched."""
        if verdict.step is Step.NOTHING or self._watched.get(upload.path) is not upload:
            return
        del self._watched[upload.path]
        if verdict.step is Step.ADOPT:
            self._adopt(claim_upload(upload, verdict.reason))
        else:
            self._put_aside(upload, verdict.reason)

    def is_watched(self, target: Path) -> bool:
        """Tell whether a file is shown whose verdict is not carried out: it hangs on a connection, or has to wait."""
        return target in self._watched or target in self._retried

    def forget(self, target: Path) -> None:
        """Drop the watch over a file that its sender deletes, or renames.

        Raises:
            Refused: 450, an import was promised that only this name leads to.
        """
        try:
            self._secure(target)
        except OSError:
            raise Refused("450 The file is about to be imported; try again later.") from None
        upload = self._watched.pop(target, None)
        if upload is not None:
            upload.arrival.renamed()
            remove_note(self._storage, upload.key)

    def adopt_found(
        self,
        account: Account,
        feed: Feed,
        path: Path,
        door: Door,
        reason: str,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Import a visible file that came by other means than an upload, exactly as if one had been judged complete.

        Nothing happens when the file is gone, is a link, is being judged already, or has an import.

        Args:
            account: whose home it is.
            feed: of its folder.
            path: where it stands.
            door: by which it came.
            reason: why it is complete, for people.
            then: called when the import is in the queue, or nothing is to be done.
        """
        found = path.lstat() if path.is_file() and not path.is_symlink() else None
        known = path in self._watched or path in self._marked or path in self._retried
        if found is None or found.st_nlink > 1 or known:
            if then is not None:
                then()
            return
        destination = Destination(account, Place(feed.folder, path.name), path, feed, door)
        self._adopt(self._claim_visible(destination, found.st_ino, reason), then)

    # After the data has ended

    def _synced(self, upload: Upload, future: Future[Evidence], link: Link) -> None:
        error = future.exception()
        if error is None:
            verdict = upload.arrival.synced(link.is_alive(), future.result())
        else:
            log.error("upload_not_examined", account=upload.destination.account.number, error=type(error).__name__)
            ending = ending_of(error) if isinstance(error, OSError) else Ending.DISK_FAILED
            verdict = upload.arrival.data_ended(ending, upload.size, upload.received)
        self._carry_out(upload, verdict, link)

    def _carry_out(self, upload: Upload, verdict: Verdict, link: Link) -> None:
        if verdict.step is Step.DISCARD:
            upload.discard()
            _count("full", upload, verdict.reason)
            link.answer(verdict.reply)
        elif verdict.step is Step.PUT_ASIDE:
            if verdict.reason == MANIFEST_DIFFERS:
                put_marker_aside(upload.destination.feed, upload.destination.target)
            self._put_aside(upload, verdict.reason, lambda: link.answer(verdict.reply))
        else:
            self._show(upload, verdict, link)

    def _show(self, upload: Upload, verdict: Verdict, link: Link) -> None:
        try:
            self._make_way(upload.destination)
            # First the note, so that no moment is without proof of what the name is about to stand for.
            upload.note_down(_STANDINGS.get(verdict.step, "waiting"))
            upload.publish()
        except OSError as error:
            failed = upload.arrival.data_ended(ending_of(error), upload.size, upload.received)
            self._carry_out(upload, failed, link)
            return
        if verdict.step is Step.WATCH:
            self._watched[upload.path] = upload
        elif verdict.step is Step.ADOPT:
            self._adopt(claim_upload(upload, verdict.reason))
        job = partial(_sync_shown, self._storage, upload.path.parent, upload.key)
        self._bridge.submit(self._pool, job, lambda future: self._shown(upload, verdict, link, future))

    def _shown(self, upload: Upload, verdict: Verdict, link: Link, future: Future[None]) -> None:
        reply = verdict.reply if future.exception() is None else "451 The file could not be stored durably."
        if verdict.step is Step.WATCH:
            link.watch(upload)
        elif verdict.step in (Step.KEEP, Step.WAIT):
            _count("stored", upload, verdict.reason)
            self._pair(upload.destination, reply, partial(self._answer_stored, upload, link))
            return
        link.answer(reply)

    def _answer_stored(self, upload: Upload, link: Link, reply: str) -> None:
        # What waits is promised nothing: it waits on without a note, and whatever it waits for has one of its own.
        remove_note(self._storage, upload.key)
        link.answer(reply)

    def _make_way(self, destination: Destination) -> None:
        """Put aside a file that has not been imported yet and whose name is taken over by another."""
        target = destination.target
        self._secure(target, moves=True)
        upload = self._watched.pop(target, None)
        if upload is not None:
            upload.arrival.renamed()
            self._put_aside(upload, REPLACED)
        elif destination.role is Role.DATA and target.is_file() and target.stat().st_nlink == 1:
            self._put_visible_aside(destination, REPLACED)

    # Markers

    def _pair(self, destination: Destination, reply: str, answer: Answer) -> None:
        """Bring a file and its marker together when the second of them has come."""
        feed, target = destination.feed, destination.target
        if feed is None or feed.profile.completeness != "marker" or destination.role is Role.PLAIN:
            answer(reply)
            return
        if destination.role is Role.MARKER:
            target = target.with_name(marked_name(feed.profile, target.name))
        if target in self._marked or not waits_for_marker(feed, target):
            answer(reply)
            return
        self._marked.add(target)
        job = partial(find_evidence, feed.profile, target, target)
        self._bridge.submit(
            self._pool, job, lambda future: self._paired(destination, feed, target, future, reply, answer)
        )

    def _paired(
        self,
        destination: Destination,
        feed: Feed,
        target: Path,
        future: Future[Evidence],
        reply: str,
        answer: Answer,
    ) -> None:
        self._marked.discard(target)
        if future.exception() is not None or not target.is_file():
            answer(reply)
            return
        verdict = judge_marked(future.result())
        place = replace(destination, place=destination.place.beside(target.name), target=target)
        if verdict.step is Step.ADOPT:
            claim = self._claim_visible(place, target.stat().st_ino, verdict.reason)
            self._adopt(claim, lambda: answer("226 Transfer complete; accepted for import."))
        elif verdict.step is Step.PUT_ASIDE:
            self._put_visible_aside(
                place, verdict.reason, lambda: answer(f"426 {verdict.reason} Both files are in the folder incomplete.")
            )
        else:
            answer(reply)

    # Renaming

    def rename(self, account: Account, source: Path, destination: Destination, answer: Answer) -> None:
        """Rename a file; under a final name it counts as complete, since its sender says so.

        Args:
            account: of both names.
            source: an existing file.
            destination: the new name, in a folder that exists.
            answer: takes the reply.
        """
        feed = destination.feed
        if source == destination.target:
            answer("553 The file has that name already.")
        elif feed is None or destination.role is not Role.DATA:
            self._renamed(source, destination, Evidence.NONE, answer)
        else:
            job = partial(find_evidence, feed.profile, source, destination.target)
            self._bridge.submit(self._pool, job, lambda future: self._examined(source, destination, future, answer))

    def _examined(self, source: Path, destination: Destination, future: Future[Evidence], answer: Answer) -> None:
        if future.exception() is not None:
            answer("451 The file cannot be read.")
        else:
            self._renamed(source, destination, future.result(), answer)

    def _renamed(self, source: Path, destination: Destination, evidence: Evidence, answer: Answer) -> None:
        claim: Claim | None = None
        try:
            self._secure(source)
            verdict = self._judge_renamed(source, destination, evidence)
            self._make_way(destination)
            if verdict.step is Step.ADOPT:
                claim = self._claim_visible(destination, source.stat().st_ino, verdict.reason)
            self.forget(source)
            source.replace(destination.target)
            if claim is not None:
                self._adopt(claim, lambda: answer("250 Renamed; accepted for import."))
            elif verdict.step is Step.PUT_ASIDE:
                reply = f"550 {verdict.reason} It is in the folder incomplete."
                self._put_visible_aside(destination, verdict.reason, lambda: answer(reply))
            else:
                self._sync_names(source, destination, answer)
        except OSError:
            if claim is not None:
                remove_note(self._storage, claim.key)
            answer("550 The file cannot be renamed to that name.")

    def _sync_names(self, source: Path, destination: Destination, answer: Answer) -> None:
        def sync() -> None:
            for folder in {source.parent, destination.target.parent}:
                sync_directory(folder)

        reply = f"250 Renamed. {destination.kept_because}".rstrip()
        self._bridge.submit(
            self._pool,
            sync,
            lambda _future: self._pair(destination, reply, lambda paired: answer(f"250{paired[3:]}")),
        )

    def _judge_renamed(self, source: Path, destination: Destination, evidence: Evidence) -> Verdict:
        # A file handed back is a link to its copy in the spool, and may be imported again; any other link is in use.
        fresh = source.stat().st_nlink == 1 or source.parent.name in OUTCOME_FOLDERS
        feed = destination.feed
        if feed is None or destination.role is not Role.DATA or not fresh:
            return Verdict(Step.KEEP)
        return judge_renamed(feed.profile.completeness, evidence)

    # Complete

    def _claim_visible(self, destination: Destination, inode: int, reason: str) -> Claim:
        """Note down that a file is complete that has, or is about to get, its final name."""
        assert destination.feed is not None
        key, place, account = uuid4().hex, destination.place, destination.account.number
        rule = destination.feed.profile.completeness
        note = Note(account, place.folder, place.name, inode, rule, "complete", destination.door)
        write_note(self._storage, key, note)
        return Claim(key, inode, account, destination.feed, destination.target, reason, destination.door)

    def _adopt(self, claim: Claim, then: Callable[[], None] | None = None) -> None:
        if self._retried.get(claim.target) is claim:
            del self._retried[claim.target]
        try:
            there = spool_claim(self._storage, claim)
        except OSError as error:
            self._adopt_later(claim, error)
            there = False
        if there:
            job = partial(record_claim, self._database, self._storage, claim)
            self._bridge.submit(self._record_pool, job, lambda future: self._adopted(claim, then, future))
        elif then is not None:
            then()

    def _secure(self, target: Path, *, moves: bool = False) -> None:
        """Have a file in the spool before its name goes, when an import was promised and has to wait.

        Raises:
            OSError: it cannot be.
        """
        if target in self._retried:
            secure_claim(self._storage, self._retried[target], moves=moves)

    def _adopt_later(self, claim: Claim, error: BaseException) -> None:
        # The note, and the link in the spool when there is one, outlive this process too.
        log.error("upload_not_recorded", account=claim.account, feed=claim.feed.id, error=type(error).__name__)
        self._retried[claim.target] = claim
        self._ioloop.call_later(RETRY_SECONDS, self._adopt, claim)

    def _adopted(self, claim: Claim, then: Callable[[], None] | None, future: Future[Adopted]) -> None:
        error = future.exception()
        if error is None:
            UPLOADS.labels("complete").inc()
            remove_note(self._storage, claim.key)
            log.info(
                "upload_complete",
                account=claim.account,
                feed=claim.feed.id,
                kind=claim.feed.kind,
                run_id=future.result().run_id,
                size=future.result().size,
                reason=claim.reason,
            )
        else:
            self._adopt_later(claim, error)
        if then is not None:
            then()

    # Incomplete

    def _put_aside(self, upload: Upload, reason: str, then: Callable[[], None] | None = None) -> None:
        try:
            upload.put_aside()
        except OSError as error:
            # It stays where it is, with its note, for the next start of the server.
            log.error("upload_stuck", account=upload.destination.account.number, error=type(error).__name__)
            with suppress(OSError):
                upload.note_down("incomplete")
        else:
            remove_note(self._storage, upload.key)
        _count("incomplete", upload, reason)
        self._record_aside(upload.destination, upload.key, upload.size, reason, then)

    def _put_visible_aside(self, destination: Destination, reason: str, then: Callable[[], None] | None = None) -> None:
        target, size = destination.target, destination.target.stat().st_size
        put_aside(target, target)
        put_marker_aside(destination.feed, target)
        UPLOADS.labels("incomplete").inc()
        log.warning("upload_incomplete", account=destination.account.number, size=size, reason=reason)
        self._record_aside(destination, uuid4().hex, size, reason, then)

    def _record_aside(
        self, destination: Destination, key: str, size: int, reason: str, then: Callable[[], None] | None
    ) -> None:
        def done(future: Future[None]) -> None:
            if future.exception() is not None:
                log.error(
                    "upload_not_recorded", account=destination.account.number, error=type(future.exception()).__name__
                )
            if then is not None:
                then()

        if destination.feed is None or destination.role is Role.MARKER:
            if then is not None:
                then()
            return
        name, door = destination.place.name, destination.door
        job = partial(record_incomplete, self._database, destination.feed, key, name, size, reason, door)
        self._bridge.submit(self._record_pool, job, done)


def _sync_and_examine(upload: Upload) -> Evidence:
    sync_file(upload.path)
    feed = upload.destination.feed
    if feed is None or upload.role is not Role.DATA:
        return Evidence.NONE
    return find_evidence(feed.profile, upload.path, upload.destination.target)


def _sync_shown(storage: Storage, folder: Path, key: str) -> None:
    sync_directory(folder)
    sync_note(storage, key)


def _count(verdict: str, upload: Upload, reason: str) -> None:
    UPLOADS.labels(verdict).inc()
    feed = upload.destination.feed
    write = log.info if verdict == "stored" else log.warning
    write(
        f"upload_{verdict}",
        account=upload.destination.account.number,
        feed=feed.id if feed is not None else None,
        size=upload.size,
        reason=reason,
    )
