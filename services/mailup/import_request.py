"""Takes in recipient documents: for several lists at once, to be started now, or for one, to be started later (§2)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from typing import Any

import structlog
from sqlalchemy import Connection, Row, select

from audience.accounts import Account
from audience.errors import UnknownList
from audience.lists import MailingList, fields_of, find_list, find_list_by_guid
from db.engine import Database
from db.retry import retry_on_conflict
from db.tables import account as account_table
from db.tables import import_run
from exchange.errors import FileRefused
from exchange.profiles import Channels, Profile
from exchange.recipient_xml import XmlRows
from jobs.queue import ImportRequest, ImportState, SpooledFile, enqueue_import, spool
from jobs.storage import Storage, sync_directory
from services.mailup.recipient_grammar import GRAMMAR
from services.mailup.results import Refusal
from services.resources import Resources
from services.soap.large_text import Text

log = structlog.get_logger()

UNKNOWN_LIST = -101
INVALID_GUID = -102
INVALID_IMPORT_TYPE = -400
EMPTY_DOCUMENT = -401
INVALID_DOCUMENT = -402
NOT_CREATED = -403
COUNTS_DIFFER = -450
BUSY_SAME_LIST = -601
BUSY_OTHER_LIST = -602

MAX_TARGETS = 1000

SOURCE = "soap"
STARTED_FILE = "StartImportProcesses.xml"
PREPARED_FILE = "NewImportProcess.xml"

_GUID = re.compile(r"\{?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\}?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_CHANNELS: dict[int, Channels] = {
    0: "both",
    1: "email",
    2: "sms",
    3: "both",
    4: "email",
    5: "sms",
    6: "both",
    7: "both",
}
_CLEARING_TYPES = (4, 5, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFlags:
    """How recipients are imported, as the caller says it."""

    import_type: int
    as_pending: bool
    confirm_email: bool
    as_opt_out: bool
    force_opt_in: bool
    replace_groups: bool
    confirm_message: int = 0
    """Number of the message that asks for confirmation; 0 for that of the list."""

    def profile(self) -> Profile:
        """Return the same in general terms, without groups (specification §2.2, §2.3).

        Raises:
            Refusal: the import type is not 0 to 7.
        """
        channels = _CHANNELS.get(self.import_type)
        if channels is None:
            raise Refusal(INVALID_IMPORT_TYPE)
        # There are no confirmation requests by SMS.
        confirm = self.confirm_email and channels != "sms"
        return Profile(
            format="xml",
            grammar=asdict(GRAMMAR),
            channels=channels,
            empty_values="clear" if self.import_type in _CLEARING_TYPES else "keep",
            status="unsubscribed" if self.as_opt_out else "subscribed",
            confirm=confirm,
            confirm_message=self.confirm_message if confirm and self.confirm_message > 0 else None,
            change_pending=self.as_pending,
            resubscribe=self.force_opt_in,
            replace_groups=self.replace_groups,
        )


@dataclass(frozen=True, slots=True)
class Target:
    """A list that was asked for, and the groups in it."""

    number: str
    guid: str
    groups: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Started:
    """What became of one target: the number of its import, or 0 and an error code."""

    process: int
    list_number: int
    code: int = 0


def read_targets(list_ids: str | None, list_guids: str | None, group_ids: str | None) -> list[Target]:
    """Take apart the parallel lists of numbers, GUIDs and groups (specification §2.4).

    Raises:
        Refusal: their lengths differ, no list is given at all, or more than `MAX_TARGETS`.
    """
    numbers, guids = _split(list_ids), _split(list_guids)
    groups = [_read_groups(item) for item in _split(group_ids)]
    count = max(len(numbers), len(guids))
    if not count:
        raise Refusal(UNKNOWN_LIST)
    if count > MAX_TARGETS:
        raise Refusal(NOT_CREATED)
    if (numbers and guids and len(numbers) != len(guids)) or len(groups) > count:
        raise Refusal(COUNTS_DIFFER)
    aligned = zip_longest(numbers, guids, groups)
    return [Target(number or "", guid or "", group or ()) for number, guid, group in aligned]


def read_target(number: int, guid: str | None, group_ids: str | None = None) -> Target:
    """Return the one list that an operation is about, and the groups in it, separated by commas."""
    return Target(str(number), (guid or "").strip(), _read_groups(group_ids or ""))


def _split(text: str | None) -> list[str]:
    text = (text or "").strip().removesuffix(";")
    return [item.strip() for item in text.split(";")] if text else []


def _read_groups(text: str) -> tuple[int, ...]:
    return tuple(int(item) for item in map(str.strip, text.split(",")) if _NUMBER.fullmatch(item))


def find_target(connection: Connection, account_id: int, target: Target) -> MailingList:
    """Return the list meant by a number, a GUID or both, which then must fit.

    Raises:
        Refusal: the GUID is malformed, or there is no such list in this account.
    """
    number, guid = target.number, target.guid
    if guid and not _GUID.fullmatch(guid):
        raise Refusal(INVALID_GUID)
    try:
        if number and _NUMBER.fullmatch(number):
            return find_list(connection, account_id, int(number), guid or None)
        found = find_list_by_guid(connection, guid)
    except UnknownList:
        raise Refusal(UNKNOWN_LIST) from None
    if number or found.account_id != account_id:
        raise Refusal(UNKNOWN_LIST)
    return found


def find_process(connection: Connection, mailing: MailingList, number: int) -> Row[Any] | None:
    """Return the row of an import into a list by its number, whichever door it came through; None without one."""
    query = select(import_run).where(
        import_run.c.account_id == mailing.account_id,
        import_run.c.list_id == mailing.id,
        import_run.c.number == number,
    )
    return connection.execute(query).one_or_none()


def start_imports(
    resources: Resources, account: Account, targets: Sequence[Target], document: Text, flags: ImportFlags
) -> list[Started]:
    """Put one import for each list into the queue; they are durable when this returns.

    Raises:
        Refusal: nothing was started.
    """
    profile = flags.profile()
    with resources.database.read() as connection:
        resolved = [_resolve(connection, account.id, target) for target in targets]
        found = [mailing for mailing in resolved if isinstance(mailing, MailingList)]
        check_idle(connection, account.id, {mailing.id for mailing in found})
        fields = fields_of(connection, account.id)
    _check_document(document, profile, fields)
    with _spooled_copies(resources.storage, document, len(found)) as copies:
        return retry_on_conflict(
            lambda: _enqueue(resources.database, account.id, list(zip(targets, resolved, strict=True)), profile, copies)
        )


def prepare_import(
    resources: Resources, mailing: MailingList, groups: tuple[int, ...], document: Text, flags: ImportFlags
) -> int:
    """Keep an import until it is started; return its number. It is durable when this returns.

    Raises:
        Refusal: nothing was prepared.
    """
    profile = replace(flags.profile(), groups=groups)
    with resources.database.read() as connection:
        fields = fields_of(connection, mailing.account_id)
    _check_document(document, profile, fields)
    with _spooled_copies(resources.storage, document, 1) as [copy]:

        def prepare() -> int:
            with resources.database.write() as connection:
                return _record(connection, _request(mailing, profile, copy, PREPARED_FILE), "prepared")

        return retry_on_conflict(prepare)


def lock_account(connection: Connection, account_id: int) -> None:
    """Let the calls of one account pass one by one, so that two at the same moment do not both find it idle."""
    connection.execute(select(account_table.c.id).where(account_table.c.id == account_id).with_for_update())


def check_idle(connection: Connection, account_id: int, wanted: Collection[int]) -> None:
    """Refuse while an import of the account runs, or one that was started here waits (specification §2.5).

    Args:
        connection: in any transaction; when in one that goes on to start imports, after `lock_account`.
        account_id: whose imports are looked at.
        wanted: ids of the lists that are to be imported into.

    Raises:
        Refusal: there is such an import, into one of these lists or another one.
    """
    waiting = (import_run.c.state == "queued") & (import_run.c.source == SOURCE)
    query = select(import_run.c.list_id).where(
        import_run.c.account_id == account_id, waiting | (import_run.c.state == "running")
    )
    busy = set(connection.execute(query).scalars())
    if busy:
        raise Refusal(BUSY_OTHER_LIST if busy.isdisjoint(wanted) else BUSY_SAME_LIST)


def _enqueue(
    database: Database,
    account_id: int,
    wanted: Sequence[tuple[Target, MailingList | int]],
    profile: Profile,
    copies: Sequence[SpooledFile],
) -> list[Started]:
    remaining = iter(copies)
    with database.write() as connection:
        lock_account(connection, account_id)
        check_idle(connection, account_id, {mailing.id for _, mailing in wanted if isinstance(mailing, MailingList)})
        return [
            _start(connection, target, mailing, replace(profile, groups=target.groups), remaining)
            for target, mailing in wanted
        ]


def _resolve(connection: Connection, account_id: int, target: Target) -> MailingList | int:
    try:
        return find_target(connection, account_id, target)
    except Refusal as refusal:
        return refusal.code


def _start(
    connection: Connection, target: Target, mailing: MailingList | int, profile: Profile, copies: Iterator[SpooledFile]
) -> Started:
    if isinstance(mailing, int):
        return Started(0, int(target.number) if _NUMBER.fullmatch(target.number) else 0, mailing)
    process = _record(connection, _request(mailing, profile, next(copies), STARTED_FILE), "queued")
    return Started(process, mailing.number)


def _request(mailing: MailingList, profile: Profile, copy: SpooledFile, file_name: str) -> ImportRequest:
    return ImportRequest(
        account_id=mailing.account_id,
        list_id=mailing.id,
        profile=profile,
        source=SOURCE,
        file_name=file_name,
        spool_name=copy.name,
        size=copy.size,
    )


def _record(connection: Connection, request: ImportRequest, state: ImportState) -> int:
    import_id = enqueue_import(connection, request, state=state)
    return int(connection.execute(select(import_run.c.number).where(import_run.c.id == import_id)).scalar_one())


def _check_document(document: Text, profile: Profile, fields: Mapping[int, str]) -> None:
    """Read the document once, as the import will, so that the caller hears of errors now."""
    numbers = {name.lower(): str(number) for number, name in fields.items()}
    try:
        next(XmlRows(document.open, profile, numbers, GRAMMAR).batches(1), None)
    except FileRefused:
        raise Refusal(INVALID_DOCUMENT) from None


@contextmanager
def _spooled_copies(storage: Storage, document: Text, count: int) -> Iterator[list[SpooledFile]]:
    """Spool a document once and name it once for each import; the names go when the block fails.

    Raises:
        Refusal: there is no room.
    """
    copies: list[SpooledFile] = []
    try:
        if count:
            copies.append(_spool(storage, document))
        for _ in range(count - 1):
            copies.append(_link(storage, copies[0]))
        sync_directory(storage.imports)
        yield list(copies)
    except BaseException:
        for copy in copies:
            (storage.imports / copy.name).unlink(missing_ok=True)
        raise


def _spool(storage: Storage, document: Text) -> SpooledFile:
    try:
        if storage.has_room():
            with document.open() as stream:
                return spool(storage, stream)
    except OSError as error:
        log.error("import_not_spooled", error=type(error).__name__)
    raise Refusal(NOT_CREATED)


def _link(storage: Storage, original: SpooledFile) -> SpooledFile:
    copy = SpooledFile(uuid.uuid4().hex, original.size, original.sha256)
    (storage.imports / copy.name).hardlink_to(storage.imports / original.name)
    return copy
