"""The queue of text messages, and the credits they cost (specification §1.3, no. 8, 9 and 47 to 52; §6.5)."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import Connection

from audience.accounts import Account
from audience.lists import MailingList
from audience.status_rules import Channel
from delivery.sending_stops import start_channel, stop_channel
from delivery.sms_credits import ListCredit, account_credit, list_credits
from services.mailup.keyed_operations import change, find_own_list, keyed_operation
from services.mailup.keyed_results import Shape, text_element
from services.mailup.queue_operations import QUEUES, describe_queues, find_entry, schedule_entry, take_out
from services.mailup.results import element
from services.mailup.sending_operations import STATUS_CODES, describe_status
from services.soap.declarations import BOOLEAN, INT, STRING, Call, Operation


@keyed_operation(
    "GetSMSDeliveryStatus",
    Shape("GetSMSDeliveryStatusResult", element("deliveryStatus"), STATUS_CODES),
    accessKey=STRING,
    deliveryID=INT,
)
def get_delivery_status(call: Call, account: Account, number: int) -> str:
    """Tell how far a sending has come."""
    return describe_status(call, account, Channel.SMS, number, "smsID")


@keyed_operation("StartDeliverySMS", accessKey=STRING)
def start_delivery(call: Call, account: Account) -> str:
    """Let the account send text messages again."""
    change(call, lambda connection: start_channel(connection, account.id, Channel.SMS))
    return ""


@keyed_operation("StopDeliverySMS", accessKey=STRING)
def stop_delivery(call: Call, account: Account) -> str:
    """Let the account send no more text messages until it is started again."""
    change(call, lambda connection: stop_channel(connection, account.id, Channel.SMS))
    return ""


@keyed_operation("GetSMSQueues", Shape("GetSMSQueuesResult", QUEUES), accessKey=STRING, listID=INT)
def get_queues(call: Call, account: Account, number: int) -> str:
    """Return the sendings of a list that are not over, in the order of the account's queue."""
    return describe_queues(call, account, number, Channel.SMS, "smsID")


@keyed_operation("RemoveSMSQueue", accessKey=STRING, deliveryID=INT, scheduleID=INT, deleteQueue=BOOLEAN)
def remove_from_queue(call: Call, account: Account, delivery: int, schedule: int, deletes: bool) -> str:
    """Take a sending that is not under way out of the queue, for good or so that it can be planned again."""

    def work(connection: Connection) -> None:
        take_out(connection, find_entry(connection, account, Channel.SMS, delivery, schedule), deletes=deletes)

    change(call, work)
    return ""


@keyed_operation(
    "ScheduleSMSQueue",
    accessKey=STRING,
    listID=INT,
    smsID=INT,
    scheduleID=INT,
    deliverydt=STRING,
    timezone=INT,
)
def schedule(
    call: Call, account: Account, list_number: int, message: int, number: int, moment: str | None, _zone: int
) -> str:
    """Plan a sending that has not begun for a date and time, in the account's time zone."""
    return schedule_entry(call, account, Channel.SMS, list_number, message, number, moment)


@keyed_operation("GetCredits", accessKey=STRING)
def get_credits(call: Call, account: Account) -> str:
    """Return the account's credits in whole numbers."""
    with call.resources.database.read_once() as connection:
        credit = account_credit(connection, account.id)
    return element("credits", str(int(credit)))


@keyed_operation(
    "GetCreditsLists",
    Shape("GetCreditsListsResult", element("Lists"), (("ErrorCode", "ErrorDescription"),)),
    accessKey=STRING,
    idList=INT,
)
def get_credits_of_lists(call: Call, account: Account, number: int) -> str:
    """Return the credits that a list can pay with, or all lists when the number is none."""

    def choose(connection: Connection) -> list[ListCredit]:
        mailing: MailingList | None = find_own_list(connection, account, number) if number > 0 else None
        found = list_credits(connection, account.id)
        return [credit for credit in found if mailing is None or credit.number == mailing.number]

    with call.resources.database.read() as connection:
        described = "".join(map(_describe_credit, choose(connection)))
    return element("Lists", described)


SMS_QUEUE: tuple[Operation, ...] = (
    get_delivery_status,
    start_delivery,
    stop_delivery,
    get_queues,
    remove_from_queue,
    schedule,
)


def write_credit(credit: Decimal) -> str:
    """Return credits with as many decimals as they need: `7095.677`, `12500`."""
    text = f"{credit:.3f}"
    return text.rstrip("0").rstrip(".")


def _describe_credit(found: ListCredit) -> str:
    content = element("ID", str(found.number)) + text_element("Name", found.name)
    return element("List", content + element("Credit", write_credit(found.credit)))
