"""Parcels that send: a ZIP archive's message is stored, its recipients are imported, and the sending is planned.

By the massive engine everybody is imported with his data into a group that the sending goes to. By the transactional
one only the addresses are, and the data stand in the queue, for this message alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from sqlalchemy import Connection

from audience.addresses import normalise_email
from audience.errors import InvalidAddress
from audience.lists import MailingList, fields_of
from audience.smtp_users import check_smtp_user
from audience.status_rules import Channel
from delivery.errors import UnknownMessage
from delivery.message_files import set_files
from delivery.messages import FileKind, Message, MessageFile, MessageSettings, add_message, clone_message, find_message
from delivery.sending_requests import request_sending
from delivery.sendings import NewSending, Sender, Target
from delivery.waiting_sendings import QueueRow, fill_queue, is_waiting, plan_waiting
from exchange.dynamic_rows import DynamicRow, read_dynamic_rows
from exchange.errors import FileRefused
from exchange.parcel_settings import ParcelSettings
from exchange.parcels import RECIPIENTS, Parcel, ParcelFile, open_parcel
from exchange.profiles import Profile
from jobs.sending_work import Work, add_temporary_group, find_list_of


@dataclass(frozen=True, slots=True)
class _Content:
    """The message of a parcel, as it was read."""

    html: str
    files: dict[FileKind, list[MessageFile]]


def begin_parcel(work: Work) -> None:
    """Make the message and the sending that a parcel asks for, and put the import of its recipients into the queue.

    Raises:
        FileRefused: the parcel cannot be used.
        DeliveryError: the message or the sending cannot be as it says.
        AudienceError: likewise.
        LeaseLost: another process has the run now.
    """
    with work.open() as stream, open_parcel(stream) as parcel:
        settings = parcel.settings
        work.write(lambda connection: work.note(connection, options=work.run.options | _describe(settings)))
        work = work.reload()
        _check_engine(work, settings)
        content = _read_content(parcel) if settings.action != "send" else None
        if settings.action != "save":
            _write_people(work, parcel)
    work.write(lambda connection: _begin(connection, work, settings, content))


def complete_parcel(work: Work) -> None:
    """Plan the sending of a parcel whose recipients have been imported; what was done already stays.

    Raises:
        FileRefused: the table of recipients cannot be used.
        LeaseLost: another process has the run now.
    """
    with work.open() as stream, open_parcel(stream) as parcel:
        if parcel.settings.engine == "massive":
            work.write(lambda connection: plan_waiting(connection, work.run.sending_id))
            return
        with _open_table(work, parcel) as table:
            work.write(lambda connection: _fill(connection, work, parcel.settings, table))


def _describe(settings: ParcelSettings) -> dict[str, Any]:
    """Return what notices need, from the moment on at which it is known."""
    return {"called": settings.campaign, "notify": settings.notify_email}


def _check_engine(work: Work, settings: ParcelSettings) -> None:
    with work.database.read() as connection:
        _find_list(connection, work, settings)
    if settings.action == "save":
        return
    if settings.engine not in work.folder.engines:
        raise FileRefused("engine", f"The {settings.engine} engine is not enabled for this account.")
    if settings.engine == "transactional" and settings.smtp_user:
        with work.database.read() as connection:
            known = check_smtp_user(connection, work.account.id, settings.smtp_user, settings.smtp_password)
        if not known:
            raise FileRefused("smtp-user", "The SMTP+ user does not exist or its password is not valid.")
    elif settings.engine == "transactional" and not work.folder.smtp_user:
        raise FileRefused("smtp-user", "No SMTP+ user is defined in XML file, and none is configured.")


def _find_list(connection: Connection, work: Work, settings: ParcelSettings) -> MailingList:
    # The text that the partners' programs know.
    text = f"List {settings.list_number}, defined in XML file, does not exist"
    return find_list_of(connection, work.account, settings.list_number, settings.list_guid, text=text)


def _read_content(parcel: Parcel) -> _Content:
    settings = parcel.settings
    if not settings.subject:
        raise FileRefused("subject", "EmailSubject is empty in XML file.")
    html = parcel.read_markup()
    attachments = parcel.read_attachments() if settings.attachments else []
    images = parcel.read_images(html)
    return _Content(html, {"attachment": _as_files("attachment", attachments), "image": _as_files("image", images)})


def _as_files(kind: FileKind, files: list[ParcelFile]) -> list[MessageFile]:
    return [MessageFile(kind, file.name, file.content_type, file.content) for file in files]


def _write_people(work: Work, parcel: Parcel) -> None:
    """Put what is to be imported into the spool: the whole table, or the addresses alone."""
    with work.writing_people() as out:
        if parcel.settings.engine == "massive":
            parcel.copy_recipients(out)
            return
        out.write(b"email\n")
        with _open_table(work, parcel) as table:
            for _, email in _rows(work, parcel.settings, table):
                if email is not None:
                    out.write(f"{email}\n".encode())


@contextmanager
def _open_table(work: Work, parcel: Parcel) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile(dir=work.storage.exports) as table:
        parcel.copy_recipients(table)
        yield table


def _rows(work: Work, settings: ParcelSettings, table: BinaryIO) -> Iterator[tuple[DynamicRow, str | None]]:
    """Yield the rows of a table with their addresses; None when that is none."""
    with work.database.read_once() as connection:
        fields = fields_of(connection, work.account.id)
    for row in read_dynamic_rows(table, _profile(work, settings), fields):
        try:
            yield row, normalise_email(row.email)
        except InvalidAddress:
            yield row, None


def _profile(work: Work, settings: ParcelSettings, groups: tuple[int, ...] = ()) -> Profile:
    return Profile(separator=settings.separator, column_names=dict(work.folder.column_names), groups=groups)


def _begin(connection: Connection, work: Work, settings: ParcelSettings, content: _Content | None) -> None:
    mailing = _find_list(connection, work, settings)
    message = _make_message(connection, mailing, settings, content)
    counters: dict[str, Any] = {"message": message.number}
    if settings.action == "save":
        work.note(connection, begun=True, counters=counters)
        return
    massive = settings.engine == "massive"
    groups = (add_temporary_group(connection, mailing).number,) if massive else ()
    sending = _make_sending(connection, work, mailing, message, settings, groups)
    profile = _profile(work, settings, groups) if massive else Profile(channels="email")
    file_name = f"{work.run.file_name}/{RECIPIENTS}"
    import_id = work.import_people(connection, mailing, profile, spool_name=work.people_name, file_name=file_name)
    counters["sending"] = sending.number
    work.note(connection, begun=True, counters=counters, sending_id=sending.id, import_id=import_id)


def _make_message(
    connection: Connection, mailing: MailingList, settings: ParcelSettings, content: _Content | None
) -> Message:
    if content is None:
        return _find_message(connection, mailing, settings)
    message = add_message(
        connection,
        mailing,
        Channel.EMAIL,
        subject=settings.subject,
        html=content.html,
        notes=settings.notes,
        settings=MessageSettings(
            merge_fields=settings.merge_fields,
            # What lies in the archive can be seen nowhere else.
            embed_images=settings.embed_images or bool(content.files["image"]),
            track_links=settings.track_links,
            tracked_schemes=settings.tracked_schemes,
            link_parameters=settings.link_parameters,
        ),
    )
    for kind, files in content.files.items():
        set_files(connection, message, kind, files)
    return message


def _find_message(connection: Connection, mailing: MailingList, settings: ParcelSettings) -> Message:
    if settings.message_number is None:
        raise FileRefused("message", "MessageId is empty in XML file.")
    try:
        found = find_message(connection, mailing.account_id, Channel.EMAIL, settings.message_number, mailing)
    except UnknownMessage:
        text = f"Message {settings.message_number}, defined in XML file, does not exist in list {mailing.number}"
        raise FileRefused("message", text) from None
    return clone_message(connection, found, settings.subject) if settings.clone_message else found


def _make_sending(
    connection: Connection,
    work: Work,
    mailing: MailingList,
    message: Message,
    settings: ParcelSettings,
    groups: tuple[int, ...],
) -> NewSending:
    massive = settings.engine == "massive"
    return request_sending(
        connection,
        mailing,
        message,
        target=Target(to="groups", groups=groups) if massive else Target(to="queue"),
        sender=Sender(email=settings.sender_email, name=settings.sender_name, reply_to=settings.reply_to),
        start_at=work.instant_of(settings.start_at) if massive else None,
        state="waiting",
        kind="bulk" if massive else "single",
        subject=settings.subject,
        notes=settings.notes,
        tags=(settings.aggregation,) if settings.aggregation else (),
        rules=work.rules,
    )


def _fill(connection: Connection, work: Work, settings: ParcelSettings, table: BinaryIO) -> None:
    if not is_waiting(connection, work.run.sending_id):
        return
    invalid = 0

    def queue_rows() -> Iterator[QueueRow]:
        nonlocal invalid
        for row, email in _rows(work, settings, table):
            if email is None:
                invalid += 1
            else:
                yield QueueRow(email, row.values, None)

    counts = fill_queue(connection, work.run.sending_id, queue_rows(), keeps_copies=settings.keep_duplicates)
    if counts.queued == 0:
        raise FileRefused("no-recipients", f"No row of {RECIPIENTS} has a recipient who can be sent to.")
    told = {"queued": counts.queued, "refused": invalid + counts.unknown, "duplicates": counts.repeated}
    work.note(connection, counters=told)
    plan_waiting(connection, work.run.sending_id)
