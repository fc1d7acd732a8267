"""Newsletters: making, changing, copying, listing and showing them (specification §1.3, no. 13 to 17 and 32)."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from sqlalchemy import Connection

from audience.accounts import Account
from audience.lists import MailingList
from audience.status_rules import Channel
from audience.templates import templates_of
from delivery import messages
from delivery.messages import ListedMessage, Message, find_message, list_messages
from services.mailup.import_request import Target, find_target
from services.mailup.instants import describe_instant
from services.mailup.keyed_operations import OPTIONS, change, find_own_list, keyed_operation
from services.mailup.keyed_results import UNKNOWN_LIST, UNKNOWN_MESSAGE, Failure, NumberShape, Shape, text_element
from services.mailup.list_results import describe_list
from services.mailup.newsletters import create_newsletter, edit_newsletter
from services.mailup.results import Refusal, element
from services.soap.declarations import BOOLEAN, INT, STRING, Call, Operation

_NEWSLETTERS = element("list", element("newsletters"))
_HEAD = re.compile(r"<head(?:\s[^<>]*+)?>", re.IGNORECASE)
_HEAD_END = re.compile(r"</head\s{0,20}>", re.IGNORECASE)
_BODY = re.compile(r"<body(?:\s[^<>]*+)?>", re.IGNORECASE)
_BODY_END = re.compile(r"</body\s{0,20}>", re.IGNORECASE)


@keyed_operation("GetNewsletters", Shape("GetNewslettersResult", _NEWSLETTERS), accessKey=STRING, listID=INT)
def get_newsletters(call: Call, account: Account, number: int) -> str:
    """Return all newsletters of a list."""
    return _list_newsletters(call, account, number, cloned=None)


@keyed_operation("GetMessages", Shape("GetMessagesResult", _NEWSLETTERS), accessKey=STRING, listID=INT)
def get_messages(call: Call, account: Account, number: int) -> str:
    """Return the newsletters of a list that are no copies."""
    return _list_newsletters(call, account, number, cloned=False)


@keyed_operation(
    "CreateNewsletter",
    accessKey=STRING,
    listID=INT,
    subject=STRING,
    type=STRING,
    content=STRING,
    options=OPTIONS,
)
def create(call: Call, account: Account, number: int, *newsletter: Any) -> str:
    """Make a newsletter."""
    return describe_message(*create_newsletter(call, account, number, *newsletter))


@keyed_operation(
    "EditNewsletter",
    accessKey=STRING,
    listID=INT,
    newsletterId=INT,
    subject=STRING,
    type=STRING,
    content=STRING,
    options=OPTIONS,
)
def edit(call: Call, account: Account, list_number: int, number: int, *newsletter: Any) -> str:
    """Change a newsletter."""
    return describe_message(*edit_newsletter(call, account, list_number, number, *newsletter))


@keyed_operation("GetNewsletterCode", accessKey=STRING, listID=INT, newsletterID=INT, isTemplate=BOOLEAN)
def get_code(call: Call, account: Account, list_number: int, number: int, is_template: bool) -> str:
    """Return the HTML of a newsletter or of a template, whole and in its two parts."""
    with call.resources.database.read() as connection:
        mailing = find_own_list(connection, account, list_number)
        find = _find_template if is_template else _find_newsletter
        subject, code = find(connection, mailing, number)
    header, body = divide_html(code)
    return (
        element("listID", str(mailing.number))
        + element("newsletterID", str(number))
        + text_element("newsletterSubject", subject)
        + text_element("newsletterHeader", header)
        + text_element("newsletterBody", body)
        + text_element("newsletterCode", code)
    )


@keyed_operation(
    "CloneMessage",
    NumberShape(),
    accessKey=STRING,
    listId=STRING,
    listGuid=STRING,
    messageToCloneId=INT,
    subject=STRING,
)
def clone_message(
    call: Call, account: Account, list_number: str | None, guid: str | None, number: int, subject: str | None
) -> int:
    """Copy a newsletter with its files; return the number of the copy."""

    def copy(connection: Connection) -> Message:
        mailing = find_named_list(connection, account, list_number, guid)
        found = find_message(connection, account.id, Channel.EMAIL, number, mailing)
        return messages.clone_message(connection, found, subject or "")

    return change(call, copy).number


MESSAGES: tuple[Operation, ...] = (get_newsletters, get_messages, create, edit, get_code)


def find_named_list(connection: Connection, account: Account, list_number: str | None, guid: str | None) -> MailingList:
    """Return the list that is named by its number, its GUID, or both.

    Raises:
        Failure: neither is given, they do not fit, or there is none in the account.
    """
    try:
        return find_target(connection, account.id, Target((list_number or "").strip(), (guid or "").strip(), ()))
    except Refusal:
        raise Failure(UNKNOWN_LIST, "There is no such list.") from None


def describe_message(mailing: MailingList, message: Message) -> str:
    """Return the numbers of a newsletter and its list (specification §8, no. 8)."""
    return element("listID", str(mailing.number)) + element("newsletterID", str(message.number))


class _Parts(NamedTuple):
    header: str
    body: str


def divide_html(html: str) -> _Parts:
    """Return what stands in the head of a document and what in its body; without a body, all after the head is it."""
    head = _HEAD.search(html)
    head_end = _HEAD_END.search(html, head.end()) if head is not None else None
    header = html[head.end() : head_end.start()] if head is not None and head_end is not None else ""
    rest = head_end.end() if head_end is not None else 0
    body = _BODY.search(html, rest)
    start = body.end() if body is not None else rest
    end = _BODY_END.search(html, start) if body is not None else None
    return _Parts(header, html[start : end.start()] if end is not None else html[start:])


def _list_newsletters(call: Call, account: Account, number: int, *, cloned: bool | None) -> str:
    with call.resources.database.read() as connection:
        mailing = find_own_list(connection, account, number)
        found = list_messages(connection, mailing, Channel.EMAIL, cloned=cloned)
    described = "".join(_describe_newsletter(message, account) for message in found)
    return element("list", describe_list(mailing) + element("newsletters", described))


def _describe_newsletter(message: ListedMessage, account: Account) -> str:
    content = (
        element("newsletterID", str(message.number))
        + text_element("subject", message.subject)
        + text_element("note", message.notes)
        + element("creationdate", describe_instant(message.created_at, account.zone))
    )
    return element("newsletter", content)


def _find_newsletter(connection: Connection, mailing: MailingList, number: int) -> tuple[str, str]:
    found = find_message(connection, mailing.account_id, Channel.EMAIL, number, mailing)
    return found.subject, found.html or found.text


def _find_template(connection: Connection, mailing: MailingList, number: int) -> tuple[str, str]:
    for template in templates_of(connection, mailing.account_id, mailing):
        if template.number == number:
            return template.subject, template.html
    raise Failure(UNKNOWN_MESSAGE, f"There is no template {number} in list {mailing.number}.")
