"""The queue of sendings: looking at it, and changing it (specification §1.3, no. 24 to 30; §8, no. 6, 7, 9, 10).

What is the same for e-mails and text messages takes the channel and the name of the element for the message's number.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from audience.accounts import Account
from audience.lists import MailingList
from audience.status_rules import Channel
from audience.users import has_user
from delivery.errors import UnknownMessage, UnknownSending
from delivery.messages import Message, find_message
from delivery.sending_changes import move_down, move_up, plan, remove, reschedule, start_now, unplan
from delivery.sending_requests import request_sending
from delivery.sendings import OPEN_STATES, Sending, Target, find_sending, list_sendings, queue_of
from delivery.targets import count_subscribers, count_target
from services.mailup.instants import describe_instant
from services.mailup.keyed_operations import change, find_own_list, keyed_operation
from services.mailup.keyed_results import INVALID_PARAMETER, Failure, Shape, text_element
from services.mailup.list_results import describe_list
from services.mailup.results import element
from services.mailup.sending_operations import STATUSES, describe_sending
from services.mailup.sending_options import read_moment
from services.soap.declarations import BOOLEAN, INT, STRING, Call, Operation

QUEUES = element("list", element("queues"))
_STATUS = element("scheduleStatus")


@keyed_operation("GetNewsletterQueues", Shape("GetNewsletterQueuesResult", QUEUES), accessKey=STRING, listID=INT)
def get_queues(call: Call, account: Account, number: int) -> str:
    """Return the sendings of a list that are not over, in the order of the account's queue."""
    return describe_queues(call, account, number, Channel.EMAIL, "newsletterID")


@keyed_operation(
    "GetNewsletterScheduleStatus",
    Shape("GetNewsletterScheduleStatusResult", _STATUS),
    accessKey=STRING,
    newsletterID=INT,
)
def get_schedule_status(call: Call, account: Account, number: int) -> str:
    """Tell of the sending of a message that is to come or under way, or else of the last one.

    One to a single recipient counts only when there was none to many: nobody has planned it.
    """
    with call.resources.database.read() as connection:
        message = find_message(connection, account.id, Channel.EMAIL, number)
        find = partial(list_sendings, connection, account.id, message=message)
        coming = find(kind="bulk", states=OPEN_STATES)
        found = coming[-1:] or find(kind="bulk", limit=1) or find(limit=1)
    return _describe_schedule(number, found[0] if found else None, account.zone)


@keyed_operation("SetNewsletterQueueOrder", accessKey=STRING, scheduleID=INT, Up=BOOLEAN)
def set_order(call: Call, account: Account, number: int, up: bool) -> str:
    """Let a sending change places with its neighbour in the queue."""
    return _change_sending(call, account, number, move_up if up else move_down)


@keyed_operation("AddNewsletterQueue", accessKey=STRING, deliveryID=INT, immediate=BOOLEAN)
def add_to_queue(call: Call, account: Account, number: int, immediate: bool) -> str:
    """Put a sending that is not planned into the queue, or let one begin without waiting for its time."""
    return _change_sending(call, account, number, start_now if immediate else plan)


@keyed_operation(
    "RemoveNewsletterQueue",
    accessKey=STRING,
    listID=INT,
    newsletterID=INT,
    deliveryID=INT,
    scheduleID=INT,
    deleteQueue=BOOLEAN,
)
def remove_from_queue(
    call: Call, account: Account, list_number: int, message: int, delivery: int, schedule: int, deletes: bool
) -> str:
    """Take a sending that is not under way out of the queue, for good or so that it can be planned again."""

    def work(connection: Connection) -> None:
        mailing = find_own_list(connection, account, list_number)
        found = find_entry(connection, account, Channel.EMAIL, delivery, schedule)
        check_entry(found, mailing, message)
        take_out(connection, found, deletes=deletes)

    change(call, work)
    return ""


@keyed_operation(
    "ScheduleNewsletterQueue",
    accessKey=STRING,
    listID=INT,
    newsletterID=INT,
    scheduleID=INT,
    deliverydt=STRING,
    timezone=INT,
)
def schedule(
    call: Call, account: Account, list_number: int, message: int, number: int, moment: str | None, _zone: int
) -> str:
    """Plan a sending that has not begun for a date and time, in the account's time zone."""
    return schedule_entry(call, account, Channel.EMAIL, list_number, message, number, moment)


@keyed_operation(
    "PrepareNewsletterSchedule",
    accessKey=STRING,
    listID=INT,
    newsletterID=INT,
    deliveryDate=STRING,
    deliveryTime=STRING,
    adminEmail=STRING,
    idUser=INT,
    note=STRING,
)
def prepare_schedule(
    call: Call,
    account: Account,
    list_number: int,
    number: int,
    date: str | None,
    time: str | None,
    admin: str | None,
    user: int,
    note: str | None,
) -> str:
    """Make a sending to a whole list: planned when a date is given, or else to be planned by another call."""
    start_at = read_day(date, time, account.zone)

    def work(connection: Connection) -> int:
        mailing = find_own_list(connection, account, list_number)
        if user > 0 and not has_user(connection, account.id, user):
            raise Failure(INVALID_PARAMETER, f"There is no user {user}.")
        message = find_message(connection, account.id, Channel.EMAIL, number, mailing)
        return _prepare(call, connection, mailing, message, start_at, note or "", admin or "")

    return describe_sending(change(call, work))


QUEUE: tuple[Operation, ...] = (
    get_queues,
    get_schedule_status,
    set_order,
    add_to_queue,
    remove_from_queue,
    schedule,
    prepare_schedule,
)


def describe_queues(call: Call, account: Account, number: int, channel: Channel, message_name: str) -> str:
    """Return the sendings of a list that are not over, by e-mail or by SMS, with their places in the account's queue.

    Args:
        call: of the operation.
        account: the caller's.
        number: of the list.
        channel: each has a queue of its own.
        message_name: of the element with the number of the message.

    Raises:
        Failure: there is no such list.
    """
    with call.resources.database.read() as connection:
        mailing = find_own_list(connection, account, number)
        queue = queue_of(connection, account.id, channel)
        own = [(place, found) for place, found in enumerate(queue, start=1) if found.list_id == mailing.id]
        subscribers = count_subscribers(connection, mailing, channel) if own else 0
        described = "".join(
            _describe_entry(found, place, _estimate(connection, found, subscribers), account, message_name)
            for place, found in own
        )
    return element("list", describe_list(mailing) + element("queues", described))


def find_entry(connection: Connection, account: Account, channel: Channel, delivery: int, schedule: int) -> Sending:
    """Return the sending that is named by one number or by both, which are the same.

    Raises:
        UnknownSending: there is none by this channel, or they name two.
    """
    numbers = {number for number in (delivery, schedule) if number > 0}
    if len(numbers) > 1:
        raise UnknownSending(f"Delivery {delivery} has no schedule {schedule}.")
    return find_sending(connection, account.id, max(numbers, default=0), channel)


def check_entry(found: Sending, mailing: MailingList, message_number: int) -> None:
    """Let a sending pass that is one of a message of a list.

    Raises:
        UnknownSending: it is another list's.
        UnknownMessage: it is another message's.
    """
    if found.list_id != mailing.id:
        raise UnknownSending(f"There is no sending {found.number} in list {mailing.number}.")
    if found.message_number != message_number:
        raise UnknownMessage(f"Sending {found.number} is not of message {message_number}.")


def take_out(connection: Connection, found: Sending, *, deletes: bool) -> None:
    """Take a sending out of the queue: for good, or so that it can be planned again.

    Raises:
        NotAllowedNow: it is under way, or over.
    """
    if deletes:
        remove(connection, found)
    else:
        unplan(connection, found)


def schedule_entry(
    call: Call, account: Account, channel: Channel, list_number: int, message: int, number: int, moment: str | None
) -> str:
    """Plan a sending, by e-mail or by SMS, for a date and time in the account's time zone; return no payload.

    Raises:
        Failure: the date is none, or there is no such list.
        UnknownSending: there is no such sending in the list by this channel.
        UnknownMessage: it is another message's.
        NotAllowedNow: it has begun, or is over.
    """
    try:
        start_at = read_moment((moment or "").strip(), account.zone)
    except ValueError as error:
        raise Failure(INVALID_PARAMETER, f"deliverydt: {error}") from None

    def work(connection: Connection) -> None:
        mailing = find_own_list(connection, account, list_number)
        found = find_sending(connection, account.id, number, channel)
        check_entry(found, mailing, message)
        reschedule(connection, found, start_at)

    change(call, work)
    return ""


def read_day(date: str | None, time: str | None, zone: ZoneInfo) -> datetime | None:
    """Return the instant of a date and a time of day; None without a date.

    Args:
        date: `yyyyMMdd` or `dd/MM/yyyy`.
        time: `HHmmss` or `HH:mm`; empty: midnight.
        zone: whose clock is meant.

    Raises:
        Failure: there is no such date and time.
    """
    day, hour = (date or "").strip(), (time or "").strip() or "000000"
    if not day:
        return None
    parts = day.split("/")
    # A wrong form is found when all of it is read.
    digits = "".join(reversed(parts)) if [len(part) for part in parts] == [2, 2, 4] else day
    seconds = hour.replace(":", "") + "00" if len(hour) == 5 and hour[2] == ":" else hour
    if len(digits) != 8:
        raise Failure(INVALID_PARAMETER, "deliveryDate: It is a date in the form yyyyMMdd.")
    try:
        return read_moment(digits + seconds, zone)
    except ValueError:
        raise Failure(INVALID_PARAMETER, "It is a date in the form yyyyMMdd and a time in the form HHmmss.") from None


def _prepare(
    call: Call,
    connection: Connection,
    mailing: MailingList,
    message: Message,
    start_at: datetime | None,
    note: str,
    admin: str,
) -> int:
    new = request_sending(
        connection,
        mailing,
        message,
        target=Target(),
        start_at=start_at,
        state="scheduled" if start_at is not None else "draft",
        notes=note,
        notify_email=admin,
        rules=call.resources.sending_rules,
    )
    return new.number


def _change_sending(call: Call, account: Account, number: int, work: Callable[[Connection, Sending], None]) -> str:
    change(call, lambda connection: work(connection, find_sending(connection, account.id, number, Channel.EMAIL)))
    return ""


def _class_of(found: Sending) -> str:
    """Return in which of the three documented classes a sending is: under way or next, planned, or not planned."""
    if found.state in ("draft", "paused"):
        return "UNDEFINED"
    is_later = found.start_at is not None and found.start_at > datetime.now(UTC)
    return "DEFERRED" if found.state == "waiting" or (found.state == "scheduled" and is_later) else "IMMEDIATE"


def _describe_entry(found: Sending, place: int, estimate: int, account: Account, message_name: str) -> str:
    return element(
        "queue",
        element("scheduleID", str(found.number))
        + element("deliveryID", str(found.number))
        + element(message_name, str(found.message_number))
        + text_element("subject", found.subject)
        + element("type", _class_of(found))
        + element("status", STATUSES[found.state])
        + element("startDate", describe_instant(found.start_at or found.started_at, account.zone))
        + element("toSend", str(estimate))
        + element("position", str(place if found.state != "draft" else 0)),
    )


def _estimate(connection: Connection, found: Sending, subscribers: int) -> int:
    """Return how many a sending goes to; before it begins, how many at most."""
    if found.total or found.target.to == "queue":
        return count_target(connection, found)
    return min(len(found.target.addresses), subscribers) if found.target.to == "addresses" else subscribers


def _describe_schedule(message_number: int, found: Sending | None, zone: ZoneInfo) -> str:
    number = str(found.number) if found is not None else "0"
    start_at = found.start_at or found.started_at if found is not None else None
    return element(
        "scheduleStatus",
        element("scheduleID", number)
        + element("newsletterID", str(message_number))
        + element("deliveryID", number)
        + element("status", STATUSES[found.state if found is not None else "draft"])
        + element("deliverydt", start_at.astimezone(zone).strftime("%Y%m%d%H%M%S") if start_at is not None else ""),
    )
