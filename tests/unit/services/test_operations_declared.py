"""Every operation of the four services is published with the parameters that the specification's tables name."""

from __future__ import annotations

import pytest
from lxml import etree

from services.contracts import SERVICES
from services.soap.contract import build_contract
from services.soap.declarations import Service

# `?` is a string that may be absent, `[]` an array of options that may be absent; `=` names a result that is no string.
IMPORT = """
GetIdWsUser
GetIdUser userName?
GetNlLists
GetNlListsUser userId:int
NewImportProcess idList:int listGUID? xmlDoc? idGroups? importType:int mobileInputType:int asPending:boolean
    ConfirmEmail:boolean asOptOut:boolean forceOptIn:boolean replaceGroups:boolean idConfirmNL:int
StartImportProcesses listsIDs? listsGUIDs? xmlDoc? groupsIDs? importType:int mobileInputType:int asPending:boolean
    ConfirmEmail:boolean asOptOut:boolean forceOptIn:boolean replaceGroups:boolean
CreateGroup idList:int listGUID? newGroupName?
GetProcessDetails idList:int listGUID? idProcess:int
StartProcess idList:int listGUID? idProcess:int
"""

LOGINS = """
Login user? pwd? url?
LoginFromId user? pwd? consoleId:int
Logout accessKey?
"""

SEND = f"""{LOGINS}
GetIdUser accessKey?
GetListsUser accessKey? idUser:int
GetLists accessKey?
GetGroups accessKey? listID:int
GetCredits accessKey?
GetCreditsLists accessKey? idList:int
GetUserAccess userId:int accessKey?
CheckUserHash userID:int userHash? accessKey?
GetTemplates accessKey? listID:int
GetNewsletters accessKey? listID:int
GetMessages accessKey? listID:int
CreateNewsletter accessKey? listID:int subject? type? content? options[]
EditNewsletter accessKey? listID:int newsletterId:int subject? type? content? options[]
GetNewsletterCode accessKey? listID:int newsletterID:int isTemplate:boolean
SendNewsletter accessKey? listID:int newsletterID:int options[]
GetNewsletterDeliveryStatus accessKey? deliveryID:int
StartDelivery accessKey?
StopDelivery accessKey?
SendNewsletterFast accessKey? listID:int subject? type? content? options[]
SendSingleNewsletter accessKey? listID:int subject? type? content? recipientEmail? options[]
GetNewsletterQueues accessKey? listID:int
GetNewsletterScheduleStatus accessKey? newsletterID:int
SetNewsletterQueueOrder accessKey? scheduleID:int Up:boolean
AddNewsletterQueue accessKey? deliveryID:int immediate:boolean
RemoveNewsletterQueue accessKey? listID:int newsletterID:int deliveryID:int scheduleID:int deleteQueue:boolean
ScheduleNewsletterQueue accessKey? listID:int newsletterID:int scheduleID:int deliverydt? timezone:int
PrepareNewsletterSchedule accessKey? listID:int newsletterID:int deliveryDate? deliveryTime? adminEmail? idUser:int
    note?
SendMessageNL =int accessKey? fileName? separator? listId? listGuid? messageId? senderName? sender? subject?
    timeDateSending:dateTime sendDelayTest:int
CloneMessage =int accessKey? listId? listGuid? messageToCloneId:int subject?
GetFields accessKey?
GetFields_st accessKey?
CreateList_st accessKey? name? autoId?
DeleteList_st accessKey? listId:int autoId?
GetListIdentity_st accessKey? autoId?
CreateList accessKey? name? autoId?
DeleteList accessKey? listId:int autoId?
GetListIdentity accessKey? autoId?
GetSMS accessKey? listID:int
CreateSMS accessKey? listID:int subject? text? options[]
SendSMS accessKey? listID:int smsID:int options[]
SendSMSFast accessKey? listID:int subject? text? options[]
SendSingleSMS accessKey? listID:int subject? type? content? numero? options[]
SendDirectSMS accessKey? listID:int content? numero? options[]
GetSMSDeliveryStatus accessKey? deliveryID:int
StartDeliverySMS accessKey?
StopDeliverySMS accessKey?
GetSMSQueues accessKey? listID:int
RemoveSMSQueue accessKey? deliveryID:int scheduleID:int deleteQueue:boolean
ScheduleSMSQueue accessKey? listID:int smsID:int scheduleID:int deliverydt? timezone:int
"""

MANAGE = f"""{LOGINS}
GetLists accessKey?
GetIdUser accessKey?
GetListsUser accessKey? idUser:int
GetGroups accessKey? listID:int
CreateGroup accessKey? listID:int groupName? groupNotes?
UpdateGroup accessKey? groupID:int options[]
DeleteGroup accessKey? listID:int groupID:int deleteUsers:boolean
CreateList accessKey? name? defaultSettings? copyTemplate:boolean options[]
UpdateList accessKey? listID:int options[]
DeleteList accessKey? listID:int
"""

REPORT = f"""{LOGINS}
ReportByUser accessKey? email? listID:int messageID:int
ReportByUserEN accessKey? email? listID:int messageID:int
ReportByMessage accessKey? listID:int messageID:int
ReportByMessageEN accessKey? listID:int messageID:int
"""

TABLES = {
    "WSMailUpImport": ("http://ws.mailupnet.it/", IMPORT, 9),
    "MailupSend": ("http://services.mailupnet.it/WS", SEND, 52),
    "MailupManage": ("http://services.mailupnet.it/WS", MANAGE, 13),
    "MailupReport": ("http://services.mailupnet.it/WS", REPORT, 7),
}

SCHEMA = {"s": "http://www.w3.org/2001/XMLSchema"}


def _rows(table: str) -> list[str]:
    """Return one line for each operation."""
    return [row for row in table.replace("\n    ", " ").splitlines() if row]


def _contract(service: Service) -> etree._Element:
    return etree.fromstring(build_contract(service))


def _find(node: etree._Element, path: str) -> list[etree._Element]:
    found = node.xpath(path, namespaces=SCHEMA)
    assert isinstance(found, list)
    return [part for part in found if isinstance(part, etree._Element)]


def _describe(contract: etree._Element, operation: str) -> str:
    """Return an operation as the tables above write it."""
    members = _find(contract, f"//s:schema/s:element[@name='{operation}']//s:element")
    (result,) = _find(contract, f"//s:schema/s:element[@name='{operation}Response']//s:element")
    assert result.get("name") == f"{operation}Result"
    words = [operation, *map(_describe_member, members)]
    if result.get("type") != "s:string":
        words.insert(1, "=" + (result.get("type") or "").removeprefix("s:"))
    return " ".join(words)


def _describe_member(member: etree._Element) -> str:
    name, kind = member.get("name"), member.get("type") or ""
    assert member.get("maxOccurs") == "1" and member.get("nillable") is None
    optional = {"s:string": "?", "tns:ArrayOfOption": "[]"}
    assert member.get("minOccurs") == ("0" if kind in optional else "1")
    return f"{name}{optional.get(kind) or kind.replace('s:', ':', 1)}"


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_operations_are_those_of_the_specification(service: Service) -> None:
    namespace, table, count = TABLES[service.name]
    rows = _rows(table)
    assert len(rows) == count
    assert service.namespace == namespace
    contract = _contract(service)
    assert [_describe(contract, operation.name) for operation in service.operations] == rows


def test_there_are_four_services() -> None:
    assert {service.name for service in SERVICES} == set(TABLES)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_options(service: Service) -> None:
    contract = _contract(service)
    has_options = service.name in ("MailupSend", "MailupManage")
    kinds = _find(contract, "//s:complexType[@name]")
    assert ({"ArrayOfOption", "Option"} <= {kind.get("name") for kind in kinds}) == has_options
    if has_options:
        (items,) = _find(contract, "//s:complexType[@name='ArrayOfOption']/s:sequence/s:element")
        assert dict(items.attrib) == {
            "minOccurs": "0",
            "maxOccurs": "unbounded",
            "name": "Option",
            "nillable": "true",
            "type": "tns:Option",
        }
        key, value = _find(contract, "//s:complexType[@name='Option']/s:sequence/s:element")
        assert dict(key.attrib) == {"minOccurs": "0", "maxOccurs": "1", "name": "Key", "type": "s:string"}
        assert dict(value.attrib) == {"minOccurs": "0", "maxOccurs": "1", "name": "Value"}
