"""Tables of text messages that send: the numbers are imported, and each message stands in the queue as it is."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from audience.addresses import normalise_mobile
from audience.errors import InvalidAddress
from audience.lists import MailingList, lists_of
from audience.status_rules import Channel
from db.tables import sending_file
from delivery.errors import InvalidMessage
from delivery.messages import Message, MessageSettings, add_message
from delivery.sending_requests import request_sending
from delivery.sendings import Sender, Target
from delivery.sms_requests import find_default_message
from delivery.sms_writing import check_text, write_text
from delivery.waiting_sendings import QueueRow, fill_queue, is_waiting, plan_waiting
from exchange.errors import FileRefused
from exchange.profiles import Profile
from exchange.sms_files import FILE_SIZE, SmsFile, SmsRow
from jobs.sending_work import Work, find_list_of


def begin_sms(work: Work) -> None:
    """Make the message and the sending that a table asks for, and put the import of its numbers into the queue.

    Raises:
        FileRefused: the table cannot be used.
        DeliveryError: the message or the sending cannot be as it says.
        LeaseLost: another process has the run now.
    """
    table = _read(work)
    with work.database.read() as connection:
        mailing = _find_list(connection, work, table)
    known = {"called": table.order.code, "notify": table.order.author if "@" in table.order.author else ""}
    work.write(lambda connection: work.note(connection, options=work.run.options | known))
    work = work.reload()
    unicode, first = False, ""
    with work.writing_people() as out:
        out.write(b"mobile\n")
        for row, mobile in _messages(table, mailing):
            first = first or row.template
            unicode = unicode or row.unicode
            if mobile is not None:
                out.write(f"{mobile}\n".encode())
    if not first:
        raise FileRefused("no-recipients", "The file has no message.")
    work.write(lambda connection: _begin(connection, work, table, first, unicode=unicode))


def complete_sms(work: Work) -> None:
    """Plan the sending of a table whose numbers have been imported; what was done already stays.

    Raises:
        FileRefused: no row can be sent.
        LeaseLost: another process has the run now.
    """
    table = _read(work)
    work.write(lambda connection: _fill(connection, work, table))


def _read(work: Work) -> SmsFile:
    if work.run.size > FILE_SIZE:
        raise FileRefused("too-large", f"The file has more than {FILE_SIZE:,} bytes.")
    with work.open() as stream:
        return SmsFile(stream.read())


def _find_list(connection: Connection, work: Work, table: SmsFile) -> MailingList:
    number = table.order.list_number
    if number is not None:
        return find_list_of(connection, work.account, number, text=f"List {number}, defined in row 5, does not exist")
    lists = lists_of(connection, work.account.id)
    if not lists:
        raise FileRefused("unknown-list", "The account has no list.")
    return lists[0]


def _messages(table: SmsFile, mailing: MailingList) -> Iterator[tuple[SmsRow, str | None]]:
    """Yield the rows with their numbers; None when a row has none, or no text that can be sent.

    The texts are as they go out: nobody who sends them has to know which ones may be Unicode.
    """
    for row in table.rows():
        try:
            written = write_text(check_text(row.text, unicode=row.unicode), unicode=row.unicode)
            mobile = normalise_mobile(row.mobile, mailing.default_prefix)
            yield row._replace(text="".join(written.parts)), mobile
        except (InvalidAddress, InvalidMessage):
            yield row, None


def _begin(connection: Connection, work: Work, table: SmsFile, first: str, *, unicode: bool) -> None:
    order = table.order
    mailing = _find_list(connection, work, table)
    _keep_code(connection, work, order.code)
    message = _choose_message(connection, mailing, order.campaign, first, unicode=unicode)
    new = request_sending(
        connection,
        mailing,
        message,
        target=Target(to="queue"),
        sender=Sender(name=order.sender),
        start_at=work.instant_of(order.start_at) if order.sends else None,
        state="waiting",
        notes=f"{work.run.file_name} ({order.code})",
    )
    import_id = work.import_people(
        connection,
        mailing,
        Profile(channels="sms"),
        spool_name=work.people_name,
        file_name=f"{work.run.file_name}/numbers.csv",
    )
    counters = {"message": message.number, "sending": new.number}
    work.note(connection, begun=True, counters=counters, sending_id=new.id, import_id=import_id)


def _choose_message(
    connection: Connection, mailing: MailingList, campaign: str, template: str, *, unicode: bool
) -> Message:
    """Return the message that the texts are counted under; it shows nobody's data."""
    if not campaign:
        return find_default_message(connection, mailing)
    settings = MessageSettings(unicode=unicode)
    return add_message(connection, mailing, Channel.SMS, subject=campaign, text=template, settings=settings)


def _keep_code(connection: Connection, work: Work, code: str) -> None:
    """Let a file be the only one of its code.

    Raises:
        FileRefused: `code-known`.
    """
    try:
        with connection.begin_nested():
            work.note(connection, code=code)
    except IntegrityError:
        same = (sending_file.c.account_id == work.account.id) & (sending_file.c.code == code)
        query = select(sending_file.c.number).where(same, sending_file.c.kind == work.run.kind)
        number = connection.execute(query).scalar_one_or_none()
        raise FileRefused("code-known", f"The code of row 7 was imported already, by file {number}.") from None


def _fill(connection: Connection, work: Work, table: SmsFile) -> None:
    sending_id = work.run.sending_id
    if not is_waiting(connection, sending_id):
        return
    mailing = _find_list(connection, work, table)
    refused = 0

    def queue_rows() -> Iterator[QueueRow]:
        nonlocal refused
        for row, mobile in _messages(table, mailing):
            if mobile is None:
                refused += 1
            else:
                yield QueueRow(mobile, None, row.text)

    counts = fill_queue(connection, sending_id, queue_rows(), keeps_copies=True)
    if counts.queued == 0:
        raise FileRefused("no-recipients", "No row of the file can be sent.")
    work.note(connection, counters={"queued": counts.queued, "refused": refused + counts.unknown})
    plan_waiting(connection, sending_id, state="scheduled" if table.order.sends else "draft")
