"""Newsletters are made in two steps: what they need from elsewhere is fetched first, and then they are stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection

from audience.accounts import Account
from audience.lists import MailingList
from audience.status_rules import Channel
from delivery.images import fetch_images
from delivery.message_files import set_files
from delivery.messages import (
    Message,
    MessageFile,
    MessageSettings,
    add_message,
    check_subject,
    edit_message,
    find_message,
)
from services.mailup.keyed_operations import change, find_own_list
from services.mailup.message_content import Content, MessageOptions, fetch, read_content, read_message_options
from services.resources import Resources
from services.soap.declarations import Call


@dataclass(frozen=True, slots=True)
class PreparedNewsletter:
    """A newsletter, complete and not stored yet."""

    subject: str
    content: Content
    notes: str
    settings: MessageSettings
    images: tuple[MessageFile, ...]

    def store(self, connection: Connection, mailing: MailingList) -> Message:
        """Add it to a list.

        Args:
            connection: in a writing transaction.
            mailing: the list.

        Raises:
            InvalidMessage: it cannot be stored as it is.
        """
        html, text = self.content.html, self.content.text
        added = add_message(
            connection,
            mailing,
            Channel.EMAIL,
            subject=self.subject,
            html=html,
            text=text,
            notes=self.notes,
            settings=self.settings,
        )
        set_files(connection, added, "image", self.images)
        return added


def prepare_newsletter(
    resources: Resources,
    subject: str | None,
    content_type: str | None,
    content: str | None,
    options: Iterable[Any] | None,
) -> PreparedNewsletter:
    """Read a new newsletter from a caller's parameters, and fetch its page and images; no transaction may be open.

    Args:
        resources: of the call.
        subject: one line.
        content_type: HTML, TEXT, URL or FILE; empty: HTML.
        content: of this type.
        options: those of sendings may be among them.

    Raises:
        Failure: a parameter or an option is not valid.
        InvalidMessage: subject or content cannot be, or the page cannot be fetched.
    """
    subject = check_subject(subject or "")
    wanted = read_message_options(options)
    parts = read_content(resources, content_type, content)
    settings = wanted.apply(MessageSettings())
    return PreparedNewsletter(subject, parts, wanted.notes or "", settings, _fetch_images(resources, settings, parts))


def create_newsletter(
    call: Call,
    account: Account,
    list_number: int,
    subject: str | None,
    content_type: str | None,
    content: str | None,
    options: Iterable[Any] | None,
) -> tuple[MailingList, Message]:
    """Make a newsletter and store it in a transaction of its own; return its list, too.

    Raises:
        Failure: as in `prepare_newsletter`; there is no such list.
        InvalidMessage: as in `prepare_newsletter`.
    """
    with call.resources.database.read_once() as connection:
        find_own_list(connection, account, list_number)
    prepared = prepare_newsletter(call.resources, subject, content_type, content, options)

    def create(connection: Connection) -> tuple[MailingList, Message]:
        mailing = find_own_list(connection, account, list_number)
        return mailing, prepared.store(connection, mailing)

    return change(call, create)


@dataclass(frozen=True, slots=True)
class _Edit:
    """What a caller wants to be otherwise; None stays."""

    subject: str | None
    content: Content | None
    options: MessageOptions
    images: tuple[MessageFile, ...] | None

    def store(self, connection: Connection, found: Message) -> Message:
        parts = self.content
        edited = edit_message(
            connection,
            found,
            subject=self.subject,
            html=parts.html if parts is not None else None,
            text=parts.text if parts is not None else None,
            notes=self.options.notes,
            settings=self.options.apply(found.settings),
        )
        if self.images is not None:
            set_files(connection, edited, "image", self.images)
        return edited


def edit_newsletter(
    call: Call,
    account: Account,
    list_number: int,
    number: int,
    subject: str | None,
    content_type: str | None,
    content: str | None,
    options: Iterable[Any] | None,
) -> tuple[MailingList, Message]:
    """Change a newsletter: an empty subject, an empty content and absent options leave what there is.

    Raises:
        Failure: a parameter or an option is not valid, or there is no such list.
        UnknownMessage: there is no such newsletter in the list.
        InvalidMessage: subject or content cannot be, or the page cannot be fetched.
        NotAllowedNow: a sending of it is under way.
    """

    def find(connection: Connection) -> tuple[MailingList, Message]:
        mailing = find_own_list(connection, account, list_number)
        return mailing, find_message(connection, account.id, Channel.EMAIL, number, mailing)

    with call.resources.database.read() as connection:
        _, before = find(connection)
    edit = _prepare_edit(call.resources, before, subject, content_type, content, options)

    def store(connection: Connection) -> tuple[MailingList, Message]:
        mailing, found = find(connection)
        return mailing, edit.store(connection, found)

    return change(call, store)


def _prepare_edit(
    resources: Resources,
    before: Message,
    subject: str | None,
    content_type: str | None,
    content: str | None,
    options: Iterable[Any] | None,
) -> _Edit:
    new_subject = check_subject(subject) if subject and subject.strip() else None
    wanted = read_message_options(options)
    parts = read_content(resources, content_type, content) if content and content.strip() else None
    settings = wanted.apply(before.settings)
    has_other_images = parts is not None or settings.embed_images != before.settings.embed_images
    shown = parts or Content(before.html, before.text)
    images = _fetch_images(resources, settings, shown) if has_other_images else None
    return _Edit(new_subject, parts, wanted, images)


def _fetch_images(resources: Resources, settings: MessageSettings, content: Content) -> tuple[MessageFile, ...]:
    if not settings.embed_images or not content.html:
        return ()
    return tuple(fetch(resources, partial(fetch_images, html=content.html)))
