"""The queue of files that send: each is worked off once, whatever dies on the way, and its sender hears of its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import structlog
from sqlalchemy import ColumnElement, Row, and_, exists, or_, select

from audience.accounts import load_account, select_active_ids
from audience.errors import AudienceError
from db.engine import Database
from db.leases import MAX_ATTEMPTS, LeaseKeeper
from db.retry import retry_on_conflict
from db.tables import feed, import_run, sending, sending_file
from delivery.errors import DeliveryError
from delivery.sending_requests import SendingRules
from delivery.waiting_sendings import fail_waiting
from exchange.errors import FileRefused
from jobs.import_results import ImportResult, import_result
from jobs.outcomes import FileOutcome, describe_instant, hand_back
from jobs.parcel_sendings import begin_parcel, complete_parcel
from jobs.queue import UNFINISHED
from jobs.recipient_sendings import begin_recipients, complete_recipients
from jobs.sending_notices import EndedFile, tell_ended_file
from jobs.sending_work import SENDING_FILES, LeaseLost, Work
from jobs.sms_sendings import begin_sms, complete_sms
from jobs.storage import Storage

log = structlog.get_logger()

_PAUSE = timedelta(seconds=30)
"""Before a file is handed back again, when the disk did not let it."""
_LABELS: Mapping[str, str] = {"recipients": "Sending"}


class _Steps(NamedTuple):
    begin: Callable[[Work], None]
    complete: Callable[[Work], None]


_STEPS: Mapping[str, _Steps] = {
    "parcel": _Steps(begin_parcel, complete_parcel),
    "sms": _Steps(begin_sms, complete_sms),
    "recipients": _Steps(begin_recipients, complete_recipients),
}


@dataclass(frozen=True, slots=True)
class _Ending:
    state: str
    code: str | None = None
    text: str | None = None


def run_next_sending_file(
    database: Database,
    storage: Storage,
    owner: str,
    stopping: threading.Event | None = None,
    *,
    rules: SendingRules | None = None,
) -> bool:
    """Do a step of the oldest file that can go on, or that a dead process left; False when there is none.

    Files of one folder are done one after the other; those of accounts that are not active wait.

    Args:
        database: where the runs are.
        storage: where the files are.
        owner: from `db.leases.name_owner`.
        stopping: nothing is begun any more once it is set.
        rules: for the senders of messages; None for none.
    """
    if stopping is not None and stopping.is_set():
        return False

    def claim() -> int | None:
        with database.write() as connection:
            active = sending_file.c.account_id.in_(select_active_ids())
            is_asked_to_end = sending_file.c.cancel_requested_at.is_not(None)
            ready = or_(is_asked_to_end, and_(_is_first_of_folder(), _has_people()))
            return SENDING_FILES.claim(connection, owner, active, ready)

    run_id = retry_on_conflict(claim)
    if run_id is None:
        return False
    with database.read() as connection:
        run = connection.execute(select(sending_file).where(sending_file.c.id == run_id)).one()
        account = load_account(connection, run.account_id)
    work = Work(database, storage, run, account, owner, rules or SendingRules())
    try:
        with LeaseKeeper(database, SENDING_FILES, run_id, owner) as keeper:
            _advance(work, keeper.cancelled)
    except LeaseLost:
        log.warning("sending_file_lost", run_id=run_id)
    return True


def _is_first_of_folder() -> ColumnElement[bool]:
    other = sending_file.alias("other")
    earlier = exists().where(
        other.c.feed_id == sending_file.c.feed_id, other.c.id < sending_file.c.id, other.c.state.in_(UNFINISHED)
    )
    return ~earlier.correlate(sending_file)


def _has_people() -> ColumnElement[bool]:
    """Return the condition that a run need not wait for its import."""
    goes_on = exists().where(import_run.c.id == sending_file.c.import_id, import_run.c.state.in_(UNFINISHED))
    return ~goes_on.correlate(sending_file)


def _advance(work: Work, cancelled: threading.Event) -> None:
    ending: _Ending | None
    try:
        ending = _take_step(work, cancelled)
    except FileRefused as refusal:
        ending = _Ending("failed", refusal.code, refusal.text)
    except (DeliveryError, AudienceError) as error:
        ending = _Ending("failed", "not-possible", str(error))
    if ending is not None:
        _end(work.reload(), ending)


def _take_step(work: Work, cancelled: threading.Event) -> _Ending | None:
    """Do what is to be done next; return how the run ends, None when it waits for its import."""
    if work.run.attempts > MAX_ATTEMPTS:
        return _Ending("failed", "gave-up", f"The file was begun {MAX_ATTEMPTS} times and never came to an end.")
    if cancelled.is_set():
        return _Ending("cancelled", "cancelled", "Somebody asked for the end of it.")
    steps = _STEPS[work.run.kind]
    if not work.has_begun:
        same = _find_same_content(work)
        if same is not None:
            return _Ending("skipped", "same-content", f"The same content was sent as file {same}.")
        steps.begin(work)
        work = work.reload()
    if work.run.import_id is None:
        return _Ending("completed")
    with work.database.read() as connection:
        imported = import_result(connection, work.run.import_id)
    if imported.state in UNFINISHED:
        work.write(lambda connection: SENDING_FILES.requeue(connection, work.run.id, work.owner))
        return None
    _note_import(work, imported)
    steps.complete(work.reload())
    if _is_cancelled(work):
        return _Ending("cancelled", "sending-cancelled", "The sending was cancelled before it began.")
    return _Ending("completed")


def _is_cancelled(work: Work) -> bool:
    """Tell whether somebody has ended the sending of a file; its people have been imported all the same."""
    query = select(sending.c.state).where(sending.c.id == work.run.sending_id)
    with work.database.read_once() as connection:
        return connection.execute(query).scalar_one_or_none() == "cancelled"


def _find_same_content(work: Work) -> int | None:
    run, columns = work.run, sending_file.c
    if run.sha256 is None or run.feed_id is None:
        return None
    same = and_(columns.feed_id == run.feed_id, columns.sha256 == run.sha256, columns.id != run.id)
    query = select(columns.number).where(same, columns.state == "completed").limit(1)
    with work.database.read_once() as connection:
        return connection.execute(query).scalar_one_or_none()


def _note_import(work: Work, imported: ImportResult) -> None:
    """Write down what became of the import.

    Raises:
        FileRefused: nobody can be sent to.
    """
    if imported.state != "completed":
        raise FileRefused(imported.error_code or imported.state, imported.error_text or "The import did not end well.")
    rows, refused = imported.counters["total"], sum(imported.counters["refused"].values())
    told = {"rows": rows, "imported": rows - refused, "refused": refused}
    work.write(lambda connection: work.note(connection, counters=told))
    if "duplicate" in imported.counters["refused"]:
        text = f"{imported.counters['refused']['duplicate']:,} rows name somebody whom an earlier row names."
        raise FileRefused("duplicate-recipients", f"{text} Nothing was sent.")
    if refused == rows:
        raise FileRefused("no-recipients", "The file has no recipient who could be imported. Nothing was sent.")


def _end(work: Work, ending: _Ending) -> None:
    """Give the sender what is his, then end the run: in this order, so that a crash in between repeats it."""
    finished = datetime.now(UTC)
    ended = _describe(work, ending)
    try:
        if work.run.feed_id is not None:
            hand_back(work.storage, _outcome(work, ended, finished))
    except OSError as error:
        log.error("sending_file_not_handed_back", run_id=work.run.id, error=type(error).__name__)
        with work.database.write() as connection:
            attempts = work.run.attempts - 1
            SENDING_FILES.postpone(connection, work.run.id, work.owner, _PAUSE, attempts=attempts)
        return
    values: dict[str, Any] = {"error_code": ending.code, "error_text": ending.text}
    if not ended.is_accepted:
        # What failed may come again under the same name.
        values["code"] = None

    def finish() -> None:
        with work.database.write() as connection:
            if not SENDING_FILES.finish(connection, work.run.id, work.owner, ending.state, **values):
                raise LeaseLost
            if work.run.sending_id is not None and not ended.is_accepted:
                fail_waiting(connection, work.run.sending_id, ending.text or ending.state)
            tell_ended_file(connection, ended)

    retry_on_conflict(finish)
    log.info("sending_file_ended", run_id=work.run.id, kind=work.run.kind, state=ending.state, code=ending.code)


def _describe(work: Work, ending: _Ending) -> EndedFile:
    run = work.run
    return EndedFile(
        id=run.id,
        number=run.number,
        account_id=run.account_id,
        kind=run.kind,
        file_name=run.file_name,
        folder=_folder_of(work),
        label=_LABELS.get(run.kind, work.folder.called),
        called=run.options.get("called", ""),
        notify=run.options.get("notify", ""),
        state=ending.state,
        code=ending.code,
        text=ending.text,
        counters=run.counters,
    )


def _folder_of(work: Work) -> str | None:
    with work.database.read_once() as connection:
        return connection.execute(select(feed.c.folder).where(feed.c.id == work.run.feed_id)).scalar_one_or_none()


def _outcome(work: Work, ended: EndedFile, finished: datetime) -> FileOutcome:
    assert ended.folder is not None
    run: Row[Any] = work.run
    result = {
        "run": ended.number,
        "file": ended.file_name,
        "state": ended.state,
        "error_code": ended.code,
        "error_text": ended.text,
        "counters": ended.counters,
        "started_at": describe_instant(run.started_at),
        "finished_at": describe_instant(finished),
    }
    return FileOutcome(
        folder=work.storage.home(work.account.number) / ended.folder,
        name=run.file_name,
        shown_as=run.file_name,
        spool_name=run.spool_name,
        accepted=ended.is_accepted,
        result=result,
        refused=None,
    )
