"""Statistics of a recipient and of a message, each in Italian and in English (specification §1.5)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from zoneinfo import ZoneInfo

from audience.accounts import Account
from audience.addresses import normalise_email
from audience.events import MailEventKind
from audience.lists import MailingList
from audience.reports import (
    Person,
    PersonEvent,
    Reaction,
    count_reactions,
    find_person,
    has_message,
    list_person_events,
)
from audience.status_rules import Status
from services.mailup.instants import describe_instant
from services.mailup.keyed_operations import find_own_list, keyed_operation
from services.mailup.keyed_results import INVALID_PARAMETER, UNKNOWN_MESSAGE, Failure
from services.mailup.results import element
from services.soap.declarations import INT, STRING, Call, Operation

PERSONAL_FIELDS = range(1, 40)
ALL_MESSAGES = 0

# What XML 1.0 cannot carry, section 2.2; the contents of links and fields are other people's.
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """Names of elements and attributes in one language."""

    suffix: str
    channels: tuple[str, Sequence[str]]
    """The container, and the channels in it: by e-mail, by SMS, and three that nobody is registered in."""
    states: Mapping[Status | None, str]
    total: str
    instant: str
    message: str
    subject: str
    fields: tuple[str, str]
    """The container, and one field."""
    field_attributes: tuple[str, str]


ITALIAN = Wording(
    suffix="",
    channels=("Canali", ("Email", "SMS", "Posta", "Voce", "Fax")),
    states={
        Status.SUBSCRIBED: "Iscritto",
        Status.UNSUBSCRIBED: "Disiscritto",
        # The documentation has it without the blank, the only program that reads it with one.
        Status.PENDING: "In attesa",
        None: "Non Registrato",
    },
    total="Totale",
    instant="DataOra",
    message="IDMessaggio",
    subject="Oggetto",
    fields=("CampiAnagrafici", "campo"),
    field_attributes=("id", "Valore"),
)
ENGLISH = Wording(
    suffix="EN",
    channels=("Channels", ("Email", "SMS", "RegularMail", "Voice", "Fax")),
    states={
        Status.SUBSCRIBED: "Subscribed",
        Status.UNSUBSCRIBED: "Unsubscribed",
        Status.PENDING: "Pending",
        None: "Not Registered",
    },
    total="Total",
    instant="DateTime",
    message="MessageID",
    subject="Subject",
    fields=("PersonalDataFields", "Field"),
    field_attributes=("Id", "Value"),
)


def _report_by_user(wording: Wording) -> Operation:
    name = f"ReportByUser{wording.suffix}"

    @keyed_operation(name, accessKey=STRING, email=STRING, listID=INT, messageID=INT)
    def report(call: Call, account: Account, email: str | None, list_number: int, number: int) -> str:
        only = None if number == ALL_MESSAGES else number
        with call.resources.database.read() as connection:
            mailing = find_own_list(connection, account, list_number)
            person = find_person(connection, mailing, normalise_email(email or ""))
            if person is None:
                raise Failure(INVALID_PARAMETER, "There is no recipient with this e-mail address.")
            if only is not None and not has_message(connection, mailing, only):
                raise _refuse_message(number)
            events = list(list_person_events(connection, mailing, person.id, only))
        return "".join(_describe_person(person, events, ZoneInfo(account.time_zone), wording))

    return report


def _report_by_message(wording: Wording) -> Operation:
    name = f"ReportByMessage{wording.suffix}"

    @keyed_operation(name, accessKey=STRING, listID=INT, messageID=INT)
    def report(call: Call, account: Account, list_number: int, number: int) -> str:
        with call.resources.database.read() as connection:
            mailing: MailingList = find_own_list(connection, account, list_number)
            if not has_message(connection, mailing, number):
                raise _refuse_message(number)
            return "".join(_describe_reactions(count_reactions(connection, mailing, number), wording))

    return report


REPORTS: tuple[Operation, ...] = (
    _report_by_user(ITALIAN),
    _report_by_user(ENGLISH),
    _report_by_message(ITALIAN),
    _report_by_message(ENGLISH),
)


def _refuse_message(number: int) -> Failure:
    return Failure(UNKNOWN_MESSAGE, f"There is no message {number}.")


def _describe_person(person: Person, events: Sequence[PersonEvent], zone: ZoneInfo, wording: Wording) -> Iterator[str]:
    """Yield the elements of a recipient: how he is registered, what he did, and his personal data."""
    container, channels = wording.channels
    states = (person.email_status, person.sms_status, None, None, None)
    yield element(
        container,
        "".join(element(name, wording.states[state]) for name, state in zip(channels, states, strict=True)),
    )
    bounces = [event.at for event in events if event.kind == MailEventKind.BOUNCED]
    yield element("Bounce", describe_instant(max(bounces, default=None), zone))
    if person.email_status != Status.UNSUBSCRIBED:
        yield from _describe_events(events, zone, wording)
    container, name = wording.fields
    id_name, value_name = wording.field_attributes
    values = ((number, person.fields.get(str(number), "")) for number in PERSONAL_FIELDS)
    yield element(container, "".join(_element(name, {id_name: number, value_name: value}) for number, value in values))


def _describe_events(events: Sequence[PersonEvent], zone: ZoneInfo, wording: Wording) -> Iterator[str]:
    def describe(name: str, found: Iterable[PersonEvent]) -> list[str]:
        return [_element(name, _describe_event(event, zone, wording)) for event in found]

    clicks = (event for event in events if event.kind == MailEventKind.CLICKED)
    for url, found in groupby(clicks, attrgetter("url")):
        inner = describe("Click", found)
        yield _element("Clicks", {"Url": url, wording.total: len(inner)}, "".join(inner))
    opens = describe("Open", (event for event in events if event.kind == MailEventKind.OPENED))
    yield _element("Opens", {wording.total: len(opens)}, "".join(opens))


def _describe_event(event: PersonEvent, zone: ZoneInfo, wording: Wording) -> dict[str, object]:
    return {
        wording.instant: describe_instant(event.at, zone),
        "IP": event.ip_address,
        wording.message: event.message_number,
        wording.subject: event.subject,
    }


def _describe_reactions(reactions: Iterable[Reaction], wording: Wording) -> Iterator[str]:
    """Yield one element for each link, and one for the openings, with those who clicked or opened in it."""
    opened = False
    for (kind, url), found in groupby(reactions, attrgetter("kind", "url")):
        opened = kind == MailEventKind.OPENED
        total, inner = 0, []
        for reaction in found:
            total += reaction.times
            who = {"Email": reaction.email, wording.total: reaction.times}
            inner.append(_element("Open" if opened else "Click", who))
        link = {} if opened else {"Url": url}
        yield _element("Opens" if opened else "Clicks", {**link, wording.total: total}, "".join(inner))
    if not opened:
        yield _element("Opens", {wording.total: 0})


def _element(name: str, attributes: Mapping[str, object], content: str = "") -> str:
    clean = {key: _NOT_IN_XML.sub("", str(value)) for key, value in attributes.items()}
    return element(name, content, **clean)
