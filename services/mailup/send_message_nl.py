"""SendMessageNL: a message to the people of a file that was uploaded before (specification §1.3.6)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from sqlalchemy import Connection

from audience.accounts import Account
from audience.status_rules import Channel
from delivery.messages import Message, find_message
from delivery.sending_requests import request_sending
from delivery.sendings import Sender, Target
from jobs.local_times import first_instant
from jobs.sending_queue import SendingFileRequest, enqueue_sending_file, has_unfinished
from jobs.uploaded_files import find_uploaded, keep_in_spool
from services.mailup.csv_columns import COLUMN_NAMES
from services.mailup.keyed_operations import change, keyed_operation
from services.mailup.keyed_results import INVALID_PARAMETER, Failure, NumberShape
from services.mailup.message_operations import find_named_list
from services.soap.declarations import DATETIME, INT, STRING, Call

log = structlog.get_logger()

NOT_STARTED = -3
"""Result when the import of the file cannot be begun."""
DEFAULT_SEPARATOR = ";"
MAX_DELAY_MINUTES = 60 * 24 * 365
_NUMBER = re.compile("[0-9]{1,9}")


class _NotStartedError(Exception):
    """The import of the file cannot be begun; the same call may work later."""


@dataclass(frozen=True, slots=True)
class _Order:
    """What a caller asks for."""

    file: Path
    shown_as: str
    """Path of the file in the account's home."""
    separator: str
    list_number: str | None
    list_guid: str | None
    message_number: int
    sender: Sender
    subject: str
    start_at: datetime | None


@keyed_operation(
    "SendMessageNL",
    NumberShape(),
    accessKey=STRING,
    fileName=STRING,
    separator=STRING,
    listId=STRING,
    listGuid=STRING,
    messageId=STRING,
    senderName=STRING,
    sender=STRING,
    subject=STRING,
    timeDateSending=DATETIME,
    sendDelayTest=INT,
)
def send_message_nl(
    call: Call,
    account: Account,
    file_name: str | None,
    separator: str | None,
    list_number: str | None,
    list_guid: str | None,
    message_number: str | None,
    sender_name: str | None,
    sender: str | None,
    subject: str | None,
    at: datetime | None,
    delay: int | None,
) -> int:
    """Make a sending that waits for the people of a file, and put the import of these into the queue."""
    file = find_uploaded(call.resources.storage, account.number, file_name or "")
    if file is None:
        raise Failure(INVALID_PARAMETER, "There is no such file.")
    order = _Order(
        file=file,
        shown_as=file.relative_to(call.resources.storage.home(account.number).resolve()).as_posix(),
        separator=_read_separator(separator),
        list_number=list_number,
        list_guid=list_guid,
        message_number=_read_number(message_number),
        sender=Sender(email=(sender or "").strip(), name=(sender_name or "").strip()),
        subject=(subject or "").strip(),
        start_at=find_start(account, at, delay or 0, datetime.now(UTC)),
    )
    # Checked before anything is linked; the transaction below does it again.
    with call.resources.database.read() as connection:
        _find_message(connection, account, order)
    try:
        spool_name = keep_in_spool(call.resources.storage, file)
        return _record(call, account, order, spool_name)
    except (_NotStartedError, OSError) as error:
        log.warning("sending_file_not_queued", account=account.number, error=type(error).__name__)
        return NOT_STARTED


def find_start(account: Account, at: datetime | None, delay: int, now: datetime) -> datetime | None:
    """Return when a sending begins; None for as soon as its people are imported.

    Args:
        account: whose clock a time without an offset is of.
        at: wanted; None for now.
        delay: minutes that a time which has passed is put off; none unless it is positive.
        now: aware.
    """
    instant = now
    if at is not None:
        instant = first_instant(at, account.zone) if at.tzinfo is None else at.astimezone(UTC)
    if instant > now:
        return instant
    return now + timedelta(minutes=min(delay, MAX_DELAY_MINUTES)) if delay > 0 else None


def _record(call: Call, account: Account, order: _Order, spool_name: str) -> int:
    spooled = call.resources.storage.imports / spool_name

    def record(connection: Connection) -> int:
        message = _find_message(connection, account, order)
        mailing = find_named_list(connection, account, order.list_number, order.list_guid)
        new = request_sending(
            connection,
            mailing,
            message,
            # Nobody yet: the group is made when the file is imported.
            target=Target(to="queue"),
            sender=order.sender,
            start_at=order.start_at,
            state="waiting",
            subject=order.subject,
            rules=call.resources.sending_rules,
        )
        # After a number was taken, so that of two calls at the same moment the second one finds the first.
        if has_unfinished(connection, message, order.shown_as):
            raise _NotStartedError
        request = SendingFileRequest(
            account_id=account.id,
            kind="recipients",
            file_name=order.shown_as,
            spool_name=spool_name,
            size=spooled.stat().st_size,
            sending_id=new.id,
            options={"separator": order.separator, "column_names": COLUMN_NAMES, "called": str(new.number)},
        )
        enqueue_sending_file(connection, request)
        return new.number

    try:
        return change(call, record)
    except BaseException:
        spooled.unlink(missing_ok=True)
        raise


def _find_message(connection: Connection, account: Account, order: _Order) -> Message:
    mailing = find_named_list(connection, account, order.list_number, order.list_guid)
    return find_message(connection, account.id, Channel.EMAIL, order.message_number, mailing)


def _read_separator(text: str | None) -> str:
    separator = "\t" if text in ("tab", "\\t") else (text or DEFAULT_SEPARATOR)
    if len(separator) != 1 or separator in '"\r\n' or not (separator.isprintable() or separator == "\t"):
        raise Failure(INVALID_PARAMETER, "The separator is one character.")
    return separator


def _read_number(text: str | None) -> int:
    if not _NUMBER.fullmatch((text or "").strip()):
        raise Failure(INVALID_PARAMETER, "The number of the message is missing.")
    return int((text or "").strip())
