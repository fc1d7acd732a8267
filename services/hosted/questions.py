"""What a link asks its reader, how he stands in the lists that it is about, and what his answer does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, select

from audience.errors import UnknownRecipient
from audience.list_settings import ListSettings, read_settings
from audience.lists import MailingList, lists_of
from audience.status_rules import Channel, State, Transition, state_of
from audience.subscriptions import Address, Cause, change_state
from db.tables import sending, subscription
from delivery.links import ExpiredLink, Link, LinkKind, read_token
from delivery.outbox import queue_follow_ups
from services.hosted.looks import Look, look_of

_ACTIVE = (State.SUBSCRIBED, State.PENDING)
_CHOOSING_MODES = ("preferences", "options")


class LinkEnded(Exception):
    """The link was valid once; the page says why it is not any more."""

    def __init__(self, text: str, look: Look | None) -> None:
        super().__init__("The link has ended.")
        self.text = text
        """Key of the text that says so."""
        self.look = look
        """Of the list that it was about, if that still exists."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One list, and how the reader stands in it."""

    mailing: MailingList
    state: State
    named: bool
    """Whether the link is about it; otherwise it is offered beside those."""

    @property
    def is_active(self) -> bool:
        return self.state in _ACTIVE


@dataclass(frozen=True, slots=True)
class Question:
    """A verified link with its lists, of which there is at least one that is named."""

    link: Link
    choices: tuple[Choice, ...]

    @property
    def settings(self) -> ListSettings:
        return read_settings(self.choices[0].mailing.settings)

    @property
    def look(self) -> Look:
        return look_of(self.settings, self.choices[0].mailing.name)

    @property
    def has_choice(self) -> bool:
        """Whether the reader chooses among lists; the two modes that let him do so are the same for now."""
        return self.settings.unsubscribe_mode in _CHOOSING_MODES

    @property
    def active(self) -> list[Choice]:
        """The lists that the reader can leave."""
        return [choice for choice in self.choices if choice.is_active]

    @property
    def named(self) -> list[Choice]:
        return [choice for choice in self.choices if choice.named]

    def in_state(self, state: State) -> list[Choice]:
        """Return the lists in which the reader stands so."""
        return [choice for choice in self.choices if choice.state == state]


def find_question(connection: Connection, token: str, kind: LinkKind, *, now: datetime | None = None) -> Question:
    """Return what a token asks.

    Args:
        connection: in a transaction.
        token: from anybody.
        kind: what it must be for.
        now: aware; by default the clock's.

    Raises:
        InvalidLink: the token is not valid.
        LinkEnded: it has ended, or all its lists have been deleted.
    """
    try:
        link = read_token(connection, token, kind, now=now)
    except ExpiredLink as expired:
        named = _find_lists(connection, expired.link)[0]
        raise LinkEnded("ended_text", _look_of_first(named)) from None
    named, others = _find_lists(connection, link)
    if not named:
        raise LinkEnded("gone_text", None)
    offered = _choose_offered(named[0], others) if kind == "unsubscribe" else []
    return Question(link, _find_choices(connection, link, named, offered))


def answer_question(
    connection: Connection, question: Question, transition: Transition, cause: Cause, wanted: Callable[[Choice], bool]
) -> Question:
    """Apply a transition to those of the lists that are wanted, and ask for the mails that follow.

    Args:
        connection: in the writing transaction in which the question was found.
        question: whose reader answers.
        transition: what he wants.
        cause: for the history.
        wanted: tells which lists he means.

    Returns:
        The question with these lists alone, as they stand now.
    """
    address = Address(Channel.EMAIL, question.link.email)
    chosen = filter(wanted, question.choices)
    return replace(
        question, choices=tuple(_change(connection, choice, address, transition, cause) for choice in chosen)
    )


def find_message(connection: Connection, link: Link) -> int | None:
    """Return the number of the message that a link came with; None when it came with none that is known."""
    if not link.sending_id:
        return None
    own = (sending.c.id == link.sending_id) & (sending.c.account_id == link.account_id)
    return connection.execute(select(sending.c.message_number).where(own)).scalar_one_or_none() or None


def _change(connection: Connection, choice: Choice, address: Address, transition: Transition, cause: Cause) -> Choice:
    try:
        change = change_state(connection, choice.mailing, address, transition, cause)
    except UnknownRecipient:
        return replace(choice, state=State.NONE)
    queue_follow_ups(connection, choice.mailing, change)
    return replace(choice, state=change.after)


def _find_lists(connection: Connection, link: Link) -> tuple[list[MailingList], list[MailingList]]:
    """Return those of a link's lists that still exist, in its order, and the account's other lists."""
    others = {mailing.id: mailing for mailing in lists_of(connection, link.account_id)}
    named = [others.pop(list_id) for list_id in link.list_ids if list_id in others]
    return named, list(others.values())


def _choose_offered(mailing: MailingList, others: Sequence[MailingList]) -> list[MailingList]:
    """Return the lists that the preferences page of a list offers beside it."""
    settings = read_settings(mailing.settings)
    numbers = settings.unsubscribe_lists if settings.unsubscribe_mode in _CHOOSING_MODES else ()
    return [other for other in others if other.number in numbers]


def _look_of_first(lists: Sequence[MailingList]) -> Look | None:
    return look_of(read_settings(lists[0].settings), lists[0].name) if lists else None


def _find_choices(
    connection: Connection, link: Link, named: Sequence[MailingList], offered: Sequence[MailingList]
) -> tuple[Choice, ...]:
    lists = [*named, *offered]
    query = select(subscription.c.list_id, subscription.c.status, subscription.c.reason_type).where(
        subscription.c.recipient_id == link.recipient_id,
        subscription.c.channel == Channel.EMAIL,
        subscription.c.list_id.in_([mailing.id for mailing in lists]),
    )
    states = {row.list_id: state_of(row.status, row.reason_type) for row in connection.execute(query)}
    return tuple(Choice(mailing, states.get(mailing.id, State.NONE), mailing in named) for mailing in lists)
