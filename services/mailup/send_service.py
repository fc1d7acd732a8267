"""MailupSend: messages, their sending, credits, and the making of lists (specification §1.3)."""

from __future__ import annotations

from services.mailup.keyed_operations import NAMESPACE, OPTIONS, keyed_operation_to_come
from services.mailup.keyed_results import CODE_NAMES, NumberShape, Shape, describe_outcome
from services.mailup.list_identities import LIST_IDENTITIES
from services.mailup.list_operations import (
    get_fields,
    get_fields_st,
    get_groups,
    get_lists,
    get_lists_of_user,
    get_templates,
)
from services.mailup.logins import LOGINS
from services.mailup.results import element
from services.mailup.user_operations import get_user_access, get_user_id
from services.soap.declarations import BOOLEAN, DATETIME, INT, STRING, Operation, Service

_STATUS_CODES = (CODE_NAMES, ("erroCode", "erroDescription"))


def _of_list(name: str, container: str) -> Shape:
    """Return the shape of results that tell of a list and things in it."""
    return Shape(f"{name}Result", element("list", element(container)))


_USERS: tuple[Operation, ...] = (
    *LOGINS,
    get_user_id,
    get_lists_of_user,
    get_lists,
    get_groups,
    keyed_operation_to_come("GetCredits", accessKey=STRING),
    keyed_operation_to_come(
        "GetCreditsLists",
        Shape("GetCreditsListsResult", element("Lists"), (("ErrorCode", "ErrorDescription"),)),
        accessKey=STRING,
        idList=INT,
    ),
    get_user_access,
    keyed_operation_to_come("CheckUserHash", userID=INT, userHash=STRING, accessKey=STRING),
)

_NEWSLETTERS: tuple[Operation, ...] = (
    get_templates,
    keyed_operation_to_come("GetNewsletters", _of_list("GetNewsletters", "newsletters"), accessKey=STRING, listID=INT),
    keyed_operation_to_come("GetMessages", _of_list("GetMessages", "newsletters"), accessKey=STRING, listID=INT),
    keyed_operation_to_come(
        "CreateNewsletter",
        accessKey=STRING,
        listID=INT,
        subject=STRING,
        type=STRING,
        content=STRING,
        options=OPTIONS,
    ),
    keyed_operation_to_come(
        "EditNewsletter",
        accessKey=STRING,
        listID=INT,
        newsletterId=INT,
        subject=STRING,
        type=STRING,
        content=STRING,
        options=OPTIONS,
    ),
    keyed_operation_to_come("GetNewsletterCode", accessKey=STRING, listID=INT, newsletterID=INT, isTemplate=BOOLEAN),
    keyed_operation_to_come("SendNewsletter", accessKey=STRING, listID=INT, newsletterID=INT, options=OPTIONS),
    keyed_operation_to_come(
        "GetNewsletterDeliveryStatus",
        Shape("GetNewsletterDeliveryStatusResult", element("deliveryStatus"), _STATUS_CODES),
        accessKey=STRING,
        deliveryID=INT,
    ),
    keyed_operation_to_come("StartDelivery", accessKey=STRING),
    keyed_operation_to_come("StopDelivery", accessKey=STRING),
    keyed_operation_to_come(
        "SendNewsletterFast",
        accessKey=STRING,
        listID=INT,
        subject=STRING,
        type=STRING,
        content=STRING,
        options=OPTIONS,
    ),
    keyed_operation_to_come(
        "SendSingleNewsletter",
        accessKey=STRING,
        listID=INT,
        subject=STRING,
        type=STRING,
        content=STRING,
        recipientEmail=STRING,
        options=OPTIONS,
    ),
)

_NEWSLETTER_QUEUES: tuple[Operation, ...] = (
    keyed_operation_to_come(
        "GetNewsletterQueues", _of_list("GetNewsletterQueues", "queues"), accessKey=STRING, listID=INT
    ),
    keyed_operation_to_come(
        "GetNewsletterScheduleStatus",
        Shape("GetNewsletterScheduleStatusResult", element("scheduleStatus")),
        accessKey=STRING,
        newsletterID=INT,
    ),
    keyed_operation_to_come("SetNewsletterQueueOrder", accessKey=STRING, scheduleID=INT, Up=BOOLEAN),
    keyed_operation_to_come("AddNewsletterQueue", accessKey=STRING, deliveryID=INT, immediate=BOOLEAN),
    keyed_operation_to_come(
        "RemoveNewsletterQueue",
        accessKey=STRING,
        listID=INT,
        newsletterID=INT,
        deliveryID=INT,
        scheduleID=INT,
        deleteQueue=BOOLEAN,
    ),
    keyed_operation_to_come(
        "ScheduleNewsletterQueue",
        accessKey=STRING,
        listID=INT,
        newsletterID=INT,
        scheduleID=INT,
        deliverydt=STRING,
        timezone=INT,
    ),
    keyed_operation_to_come(
        "PrepareNewsletterSchedule",
        accessKey=STRING,
        listID=INT,
        newsletterID=INT,
        deliveryDate=STRING,
        deliveryTime=STRING,
        adminEmail=STRING,
        idUser=INT,
        note=STRING,
    ),
    keyed_operation_to_come(
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
    ),
    keyed_operation_to_come(
        "CloneMessage",
        NumberShape(),
        accessKey=STRING,
        listId=STRING,
        listGuid=STRING,
        messageToCloneId=INT,
        subject=STRING,
    ),
)

_LISTS: tuple[Operation, ...] = (get_fields, get_fields_st, *LIST_IDENTITIES)

_TEXT_MESSAGES: tuple[Operation, ...] = (
    keyed_operation_to_come("GetSMS", _of_list("GetSMS", "smss"), accessKey=STRING, listID=INT),
    keyed_operation_to_come("CreateSMS", accessKey=STRING, listID=INT, subject=STRING, text=STRING, options=OPTIONS),
    keyed_operation_to_come("SendSMS", accessKey=STRING, listID=INT, smsID=INT, options=OPTIONS),
    keyed_operation_to_come("SendSMSFast", accessKey=STRING, listID=INT, subject=STRING, text=STRING, options=OPTIONS),
    keyed_operation_to_come(
        "SendSingleSMS",
        accessKey=STRING,
        listID=INT,
        subject=STRING,
        type=STRING,
        content=STRING,
        numero=STRING,
        options=OPTIONS,
    ),
    keyed_operation_to_come(
        "SendDirectSMS", accessKey=STRING, listID=INT, content=STRING, numero=STRING, options=OPTIONS
    ),
    keyed_operation_to_come(
        "GetSMSDeliveryStatus",
        Shape("GetSMSDeliveryStatusResult", element("deliveryStatus"), _STATUS_CODES),
        accessKey=STRING,
        deliveryID=INT,
    ),
    keyed_operation_to_come("StartDeliverySMS", accessKey=STRING),
    keyed_operation_to_come("StopDeliverySMS", accessKey=STRING),
    keyed_operation_to_come("GetSMSQueues", _of_list("GetSMSQueues", "queues"), accessKey=STRING, listID=INT),
    keyed_operation_to_come("RemoveSMSQueue", accessKey=STRING, deliveryID=INT, scheduleID=INT, deleteQueue=BOOLEAN),
    keyed_operation_to_come(
        "ScheduleSMSQueue",
        accessKey=STRING,
        listID=INT,
        smsID=INT,
        scheduleID=INT,
        deliverydt=STRING,
        timezone=INT,
    ),
)

SEND_SERVICE = Service(
    name="MailupSend",
    namespace=NAMESPACE,
    paths=("/MailupSend.asmx",),
    operations=(*_USERS, *_NEWSLETTERS, *_NEWSLETTER_QUEUES, *_LISTS, *_TEXT_MESSAGES),
    documentation="MailUp WebService for creating and sending messages.",
    describe_outcome=describe_outcome,
)
