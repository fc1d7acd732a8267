"""How the mails of the outbox and the notices to staff look, and what a mail server is handed for them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from audience.list_settings import ListSettings, read_settings
from audience.lists import MailingList, load_list
from db.tables import account, mailing_list, notice
from delivery.composition import NO_SENDING
from delivery.dkim import DkimSigner, find_signer
from delivery.headers import encode_address
from delivery.letters import Letter, write_html, write_letter
from delivery.mail_texts import write_text
from delivery.outbox import QueuedMail, find_mail
from delivery.parcels import Parcel
from delivery.return_paths import write_return_path
from delivery.sender_addresses import is_verified
from delivery.stored_letters import write_stored_letter
from delivery.vocabulary import Vocabulary

SERVER_MAILBOX = "postmaster"
"""Sends the notices of accounts without a sender (RFC 5321 section 4.5.1: every domain has it)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxOptions:
    """How the server shows itself in the mails that it writes by itself."""

    public_url: str
    """Under which readers of mails reach it, without a slash at its end."""
    host: str
    """Of Message-IDs, and of the sender of notices where an account has none."""
    bounce_domain: str = ""
    """Domain of return paths; empty: failures go to the list's address for them."""
    retry_hours: float = 48.0
    require_verified_senders: bool = False
    vocabulary: Vocabulary
    """Of messages that are used instead of the texts of this program."""


class NoSender(Exception):
    """The list has no sender address that may be used; whatever it sends by itself has to wait."""

    def __init__(self, account_number: int, list_number: int) -> None:
        super().__init__(account_number, list_number)
        self.account_number = account_number
        self.list_number = list_number


def compose_mail(connection: Connection, mail_id: int, options: OutboxOptions) -> Parcel | None:
    """Return a mail of the outbox as it is now; None when it is not to go out any more.

    Raises:
        NoSender: nothing can be sent for its list.
        InvalidMessage: it can never be sent.
    """
    mail = find_mail(connection, mail_id, public_url=options.public_url)
    if mail is None:
        return None
    mailing = load_list(connection, mail.list_id)
    settings = read_settings(mailing.settings)
    sender = mail.sender.email or settings.sender_email
    if not sender or (options.require_verified_senders and not is_verified(connection, mail.account_id, sender)):
        raise NoSender(mail.account_number, mail.list_number)
    content = None
    if mail.message_number and mail.address == mail.about:
        content = write_stored_letter(
            connection,
            mail,
            mailing,
            sender,
            vocabulary=options.vocabulary,
            public_url=options.public_url,
            host=options.host,
        )
    if content is None:
        signer = _find_signer(connection, mail.account_id, sender)
        content = write_letter(_compose(mail, mailing, settings, sender), options.host, signer)
    return Parcel(_return_path(connection, mail, settings, sender, options), encode_address(mail.address), content)


def compose_notice(connection: Connection, notice_id: int, options: OutboxOptions) -> Parcel:
    """Return a notice.

    Raises:
        InvalidMessage: it can never be sent.
    """
    query = select(notice.c.account_id, notice.c.address, notice.c.subject, notice.c.text)
    row = connection.execute(query.where(notice.c.id == notice_id)).one()
    sender = _find_sender(connection, row.account_id) or f"{SERVER_MAILBOX}@{options.host}"
    letter = Letter(sender=sender, recipient=row.address, subject=row.subject, text=row.text)
    content = write_letter(letter, options.host, _find_signer(connection, row.account_id, sender))
    # Nobody looks at what comes back, and it must not make another notice.
    return Parcel("", encode_address(row.address), content)


def _compose(mail: QueuedMail, mailing: MailingList, settings: ListSettings, sender: str) -> Letter:
    language = settings.language

    def say(key: str) -> str:
        return write_text(language, f"{mail.kind}_{key}", address=mail.about, list=mailing.name)

    subject, names = say("subject"), mail.list_names or (mailing.name,)
    paragraphs = [say("text"), *([say("ask")] if mail.link else [])]
    end = say("end") if mail.kind == "confirmation" else ""
    lines = [paragraphs[0], "", *(f"* {name}" for name in names), ""]
    lines += [*paragraphs[1:], mail.link, ""] if mail.link else []
    return Letter(
        sender=sender,
        sender_name=mail.sender.name or settings.sender_name,
        reply_to=settings.reply_to,
        recipient=mail.address,
        subject=subject,
        text="\n".join([*lines, *([end, ""] if end else [])]),
        html=write_html(
            settings, language, subject, paragraphs, names, (mail.link, say("link")) if mail.link else None, end
        ),
        headers={"List-Unsubscribe": f"<{mail.link}>"} if mail.link and mail.kind == "welcome" else {},
    )


def _find_signer(connection: Connection, account_id: int, sender: str) -> DkimSigner | None:
    return find_signer(connection, account_id, encode_address(sender).rpartition("@")[2])


def _return_path(
    connection: Connection, mail: QueuedMail, settings: ListSettings, sender: str, options: OutboxOptions
) -> str:
    if not options.bounce_domain or mail.address != mail.about:
        return encode_address(settings.bounce_email or sender)
    query = select(account.c.secret_key).where(account.c.id == mail.account_id)
    secret_key = connection.execute(query).scalar_one()
    return write_return_path(secret_key, mail.account_number, NO_SENDING, mail.recipient_id, options.bounce_domain)


def _find_sender(connection: Connection, account_id: int) -> str:
    """Return the sender of an account's new lists, or else of its first list that has one."""
    defaults = connection.execute(select(account.c.list_defaults).where(account.c.id == account_id)).scalar_one()
    if read_settings(defaults).sender_email:
        return read_settings(defaults).sender_email
    email = mailing_list.c.settings["sender_email"].as_string()
    here = (mailing_list.c.account_id == account_id) & mailing_list.c.deleted_at.is_(None)
    query = select(email).where(here, email.is_not(None), email != "").order_by(mailing_list.c.number).limit(1)
    return connection.execute(query).scalar_one_or_none() or ""
