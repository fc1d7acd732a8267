"""The operations about text messages and credits, over SOAP (specification §1.3.5, §6.5, §8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from keyed_calls import SEND, Keyed
from lxml import etree
from sms_world import SmsWorld, make_sms_world
from sqlalchemy import select
from web_server import serve

from audience.accounts import add_account
from audience.erasure import erase_recipient
from audience.lists import add_list
from audience.status_rules import Channel
from audience.subscriptions import Address, Cause
from db.engine import Database
from db.migration import migrate
from db.tables import delivery, recipient, sending, subscription
from delivery.sending_stops import is_stopped
from delivery.sms_credits import account_credit, set_credits
from jobs.storage import Storage

ADA, BOB = "+393331230001", "+393331230002"


@dataclass(frozen=True)
class Office:
    """A server, and a key to account 1."""

    keyed: Keyed
    key: str
    world: SmsWorld

    def ask(self, operation: str, **parameters: object) -> etree._Element:
        root = self.keyed.call(SEND, operation, accessKey=self.key, **parameters)
        assert root.tag == f"{operation}Result"
        return root

    def code(self, operation: str, **parameters: object) -> str:
        return self.ask(operation, **parameters).findtext("errorCode") or ""

    def refusal(self, operation: str, **parameters: object) -> tuple[str, str]:
        root = self.ask(operation, **parameters)
        return root.findtext("errorCode") or "", root.findtext("errorDescription") or ""

    def rows(self, number: object) -> list[tuple[str, str | None, int | None]]:
        """Return address, text and parts of everybody in the queue of a sending."""
        query = select(delivery.c.address, delivery.c.text, delivery.c.parts)
        query = query.join(sending, sending.c.id == delivery.c.sending_id).where(sending.c.number == int(str(number)))
        with self.world.database.read() as connection:
            return [tuple(row) for row in connection.execute(query.order_by(delivery.c.id))]

    def sending(self, number: object) -> dict[str, object]:
        with self.world.database.read() as connection:
            row = connection.execute(select(sending).where(sending.c.number == int(str(number)))).one()
        return dict(row._mapping)

    @property
    def credits(self) -> Decimal:
        with self.world.database.read() as connection:
            return account_credit(connection, self.world.account.id)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder: Path = tmp_path_factory.mktemp("sms")
    database = Database(f"sqlite:///{folder / 'listbridge.db'}")
    migrate(database)
    world = make_sms_world(database)
    world.subscribe(ADA, name="Ada")
    world.subscribe(BOB)
    with database.write() as connection:
        other = add_account(connection, 2, password="secret")
        add_list(connection, other.id, "Altri")
    storage = Storage(folder / "data", reserve=0)
    storage.prepare()
    with serve(database, storage) as site:
        keyed = Keyed(site)
        yield Office(keyed, keyed.log_in(), world)
    database.close()


@pytest.fixture(autouse=True)
def rich(office: Office) -> None:
    office.world.give(1000)


def create(office: Office, text: str = "Ciao", **options: object) -> str:
    root = office.ask("CreateSMS", listID=1, subject="Offerta", text=text, options=options)
    assert root.findtext("errorCode") == "0", etree.tostring(root)
    assert [child.tag for child in root] == ["errorCode", "errorDescription", "listID", "smsID"]
    return root.findtext("smsID") or ""


def test_making_and_listing(office: Office) -> None:
    number = create(office, "Ciao [nome] & <tutti>", note="per noi", isUnicode="1", dyn_fld="false", unknown="x")
    root = office.ask("GetSMS", listID=1)
    assert (root.findtext("list/listID"), root.findtext("list/listName")) == ("1", "Clienti")
    found = root.xpath("list/smss/sms[smsID=$number]", number=number)
    assert isinstance(found, list)
    sms = found[0]
    assert isinstance(sms, etree._Element)
    assert [child.tag for child in sms] == ["smsID", "subject", "text", "note", "creationdate"]
    assert [sms.findtext(name) for name in ("subject", "text", "note")] == [
        "Offerta",
        "Ciao [nome] & <tutti>",
        "per noi",
    ]


@pytest.mark.parametrize(
    ("text", "options", "code"),
    [
        ("", {}, "9"),
        ("a" * 459, {}, "0"),
        ("a" * 460, {}, "9"),
        ("[nome]" + "a" * 459, {}, "0"),
        ("[nome]" + "a" * 459, {"dyn_fld": "0"}, "9"),
        ("Привет", {}, "9"),
        ("Привет", {"isUnicode": "true"}, "0"),
        ("Ж" * 201, {"isUnicode": "1"}, "0"),
        ("Ж" * 202, {"isUnicode": "1"}, "9"),
        ("“così” – à la carte", {"isUnicode": "0"}, "0"),
        ("Ciao", {"isUnicode": "maybe"}, "10"),
        ("Ciao", {"track_delivery": "1", "note": "x" * 100_000}, "10"),
    ],
)
def test_what_a_text_may_be(office: Office, text: str, options: dict[str, str], code: str) -> None:
    assert office.code("CreateSMS", listID=1, subject="S", text=text, options=options) == code


def test_sending_to_all(office: Office) -> None:
    number = create(office)
    root = office.ask("SendSMS", listID=1, smsID=number, options={"send_to": "ALL", "from": "Shop"})
    assert [child.tag for child in root] == [
        *("errorCode", "errorDescription", "listID", "smsID", "deliveryID", "scheduleID"),
    ]
    assert root.findtext("errorDescription")
    row = office.sending(root.findtext("deliveryID"))
    assert (row["channel"], row["state"], row["sender_name"], row["kind"]) == (2, "scheduled", "Shop", "bulk")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({}, "10"),
        ({"send_to": "SOME"}, "10"),
        ({"send_to": "RECIPIENTS", "recipients": f"{ADA};3331230002"}, "0"),
        ({"send_to": "RECIPIENTS", "recipients": f"{ADA},00393331230002"}, "0"),
        ({"send_to": "RECIPIENTS", "recipients": f"{ADA};abc"}, "10"),
        ({"send_to": "RECIPIENTS", "recipients": "+391"}, "10"),
        ({"send_to": "GROUPS", "recipients": "1,2"}, "10"),
        ({"send_to": "ALL", "filters": "7,8", "filters_as": "OR"}, "10"),
        ({"send_to": "ALL", "filters_as": "XOR"}, "10"),
        ({"send_to": "ALL", "from": "a name that is too long"}, "10"),
        ({"send_to": "ALL", "from": "+393331234567"}, "0"),
        ({"send_to": "ALL", "deliverydt": "20991231120000"}, "0"),
        ({"send_to": "ALL", "deliverydt": "tomorrow"}, "10"),
    ],
)
def test_options_of_sendings(office: Office, options: dict[str, str], code: str) -> None:
    number = create(office)
    assert office.code("SendSMS", listID=1, smsID=number, options=options) == code
    fast = office.ask("SendSMSFast", listID=1, subject="S", text="Ciao", options=options)
    assert fast.findtext("errorCode") == code
    if code == "0":
        recipients = office.sending(fast.findtext("deliveryID"))["target"]
        assert isinstance(recipients, dict)
        assert recipients["addresses"] == ([ADA, BOB] if "recipients" in options else [])


def test_a_refused_fast_sending_makes_no_message(office: Office) -> None:
    before = len(office.ask("GetSMS", listID=1).findall("list/smss/sms"))
    assert office.code("SendSMSFast", listID=1, subject="S", text="Ciao", options={"send_to": "X"}) == "10"
    assert len(office.ask("GetSMS", listID=1).findall("list/smss/sms")) == before


def test_one_message_to_one_number(office: Office) -> None:
    before = office.credits
    root = office.ask(
        "SendSingleSMS", listID=1, subject="S", type="TEXT", content="Ciao [nome]!", numero="333 123 0001", options={}
    )
    assert root.findtext("errorCode") == "0"
    assert root.findtext("errorDescription") == f"Message sent {ADA}"
    number = root.findtext("deliveryID")
    assert office.rows(number) == [(ADA, "Ciao Ada!", 1)]
    row = office.sending(number)
    assert (row["kind"], row["state"], row["total"]) == ("single", "sending", 1)
    assert office.credits == before - 1


def test_an_existing_message_to_one_number(office: Office) -> None:
    number = create(office, "Ж" * 100, isUnicode="1")
    before = office.credits
    root = office.ask("SendSingleSMS", listID=1, type="ID", content=number, numero=ADA, options={"from": "Shop"})
    assert root.findtext("smsID") == number
    assert office.rows(root.findtext("deliveryID")) == [(ADA, "Ж" * 100, 2)]
    assert office.credits == before - 2


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"listID": 99}, "5"),
        ({"type": "HTML"}, "9"),
        ({"type": "ID", "content": "999"}, "7"),
        ({"type": "ID", "content": "x"}, "9"),
        ({"content": ""}, "9"),
        ({"content": "漢"}, "9"),
        ({"numero": ""}, "9"),
        ({"numero": "call me"}, "9"),
        ({"numero": "+39123"}, "9"),
        ({"options": {"from": "Shop & Sons"}}, "10"),
        ({"options": {"isUnicode": "x"}}, "10"),
    ],
)
def test_what_one_message_may_not_be(office: Office, changed: dict[str, object], code: str) -> None:
    before = office.credits
    whole: dict[str, object] = {"listID": 1, "subject": "", "type": "TEXT", "content": "Ciao", "numero": ADA}
    assert office.code("SendSingleSMS", **(whole | {"options": {}} | changed)) == code
    assert office.credits == before


def test_a_direct_text_to_somebody_unknown(office: Office) -> None:
    root = office.ask("SendDirectSMS", listID=1, content="Codice 1234 [nome]", numero="0039 333 999 0000", options={})
    assert root.findtext("errorDescription") == "Message sent +393339990000"
    number = root.findtext("deliveryID")
    assert office.rows(number) == [("+393339990000", "Codice 1234 [nome]", 1)]
    row = office.sending(number)
    assert row["subject"] == "Default 1"
    again = office.ask("SendDirectSMS", listID=1, content="Ancora", numero="+393339990000", options={"MessageId": "0"})
    assert office.sending(again.findtext("deliveryID"))["message_number"] == row["message_number"]
    with office.world.database.read() as connection:
        [person] = connection.execute(select(recipient.c.id).where(recipient.c.mobile == "+393339990000")).scalars()
        mine = select(subscription.c.list_id).where(subscription.c.recipient_id == person)
        assert connection.execute(mine).all() == []


def test_a_direct_text_counts_for_the_message_named(office: Office) -> None:
    number = create(office)
    root = office.ask("SendDirectSMS", listID=1, content="Così", numero=ADA, options={"MessageId": number, "from": "X"})
    assert str(office.sending(root.findtext("deliveryID"))["message_number"]) == number
    assert office.code("SendDirectSMS", listID=1, content="a", numero=ADA, options={"MessageId": "99999"}) == "7"
    assert office.code("SendDirectSMS", listID=1, content="a", numero=ADA, options={"MessageId": "x"}) == "10"
    assert office.code("SendDirectSMS", listID=1, content="a" * 460, numero=ADA, options={}) == "9"
    assert office.code("SendDirectSMS", listID=1, content="Ж", numero=ADA, options={}) == "9"
    assert office.code("SendDirectSMS", listID=1, content="Ж", numero=ADA, options={"isUnicode": "1"}) == "0"


def test_who_has_left_or_is_forgotten_gets_nothing(office: Office) -> None:
    office.world.subscribe("+393331230003")
    office.world.unsubscribe("+393331230003")
    for operation in ("SendDirectSMS", "SendSingleSMS"):
        extra = {"type": "TEXT", "subject": ""} if operation == "SendSingleSMS" else {}
        code, text = office.refusal(operation, listID=1, content="Ciao", numero="+393331230003", options={}, **extra)
        assert (code, "unsubscribed" in text) == ("10", True)


def test_who_was_forgotten_gets_nothing(office: Office) -> None:
    office.world.subscribe("+393331230004")
    with office.world.database.write() as connection:
        erase_recipient(connection, office.world.account.id, Address(Channel.SMS, "+393331230004"), Cause("console"))
    code, text = office.refusal("SendDirectSMS", listID=1, content="Ciao", numero="+393331230004", options={})
    assert (code, "erased" in text) == ("9", True)


def test_without_credits_nothing_is_sent(office: Office) -> None:
    office.world.give(1)
    single = {"listID": 1, "subject": "", "type": "TEXT", "numero": ADA, "options": {}}
    assert office.code("SendSingleSMS", content="a" * 161, **single) == "11"
    assert office.code("SendDirectSMS", listID=1, content="a" * 161, numero=ADA, options={}) == "11"
    assert office.code("SendSingleSMS", content="a" * 160, **single) == "0"
    assert office.code("SendSingleSMS", content="a", **single) == "11"
    everybody = {"listID": 1, "subject": "S", "text": "Ciao"}
    assert office.code("SendSMSFast", options={"send_to": "ALL"}, **everybody) == "11"
    later = {"send_to": "ALL", "deliverydt": "20991231120000"}
    assert office.code("SendSMSFast", options=later, **everybody) == "0"


def test_credits(office: Office) -> None:
    root = office.ask("GetCredits")
    assert [child.tag for child in root] == ["errorCode", "errorDescription", "credits"]
    assert root.findtext("credits") == "1000"
    with office.world.database.write() as connection:
        set_credits(connection, office.world.account.id, Decimal("7095.677"), office.world.mailing)
    whole = office.keyed.result(SEND, "GetCreditsLists", accessKey=office.key, idList=0)
    assert whole == (
        "<GetCreditsListsResult><ErrorCode>0</ErrorCode><ErrorDescription></ErrorDescription><Lists>"
        "<List><ID>1</ID><Name><![CDATA[Clienti]]></Name><Credit>7095.677</Credit></List></Lists></GetCreditsListsResult>"
    )
    assert office.keyed.result(SEND, "GetCreditsLists", accessKey=office.key, idList=1) == whole
    assert "<ErrorCode>5</ErrorCode>" in office.keyed.result(SEND, "GetCreditsLists", accessKey=office.key, idList=9)
    with office.world.database.write() as connection:
        set_credits(connection, office.world.account.id, None, office.world.mailing)
    shared = office.keyed.result(SEND, "GetCreditsLists", accessKey=office.key, idList=1)
    assert "<Credit>1000</Credit>" in shared


def test_the_queue(office: Office) -> None:
    number = create(office)
    later = {"send_to": "ALL", "deliverydt": "20991231120000"}
    planned = office.ask("SendSMS", listID=1, smsID=number, options=later).findtext("scheduleID") or ""
    root = office.ask("GetSMSQueues", listID=1)
    queue = next(entry for entry in root.iterfind("list/queues/queue") if entry.findtext("scheduleID") == planned)
    assert (queue.findtext("smsID"), queue.findtext("type")) == (number, "DEFERRED")
    status = office.ask("GetSMSDeliveryStatus", deliveryID=planned)
    assert [child.tag for child in status][:4] == ["errorCode", "errorDescription", "erroCode", "erroDescription"]
    assert status.findtext("deliveryStatus/smsID") == number
    assert status.findtext("deliveryStatus/status") == "SCHEDULED"
    moved = {"listID": 1, "smsID": number, "scheduleID": planned, "timezone": 0}
    assert office.code("ScheduleSMSQueue", deliverydt="20981231120000", **moved) == "0"
    assert office.code("ScheduleSMSQueue", deliverydt="never", **moved) == "9"
    assert office.code("RemoveSMSQueue", deliveryID=planned, scheduleID=planned, deleteQueue="false") == "0"
    assert office.sending(planned)["state"] == "draft"
    assert office.code("RemoveSMSQueue", deliveryID=planned, scheduleID=0, deleteQueue="true") == "0"
    assert office.sending(planned)["state"] == "cancelled"
    assert office.code("GetSMSDeliveryStatus", deliveryID=999999) == "8"


def test_removing_a_paid_text_gives_its_credits_back(office: Office) -> None:
    before = office.credits
    root = office.ask("SendDirectSMS", listID=1, content="a" * 200, numero=ADA, options={})
    number = root.findtext("deliveryID")
    assert office.credits == before - 2
    assert office.code("RemoveSMSQueue", deliveryID=number, scheduleID=0, deleteQueue="true") == "12"
    assert office.code("StopDeliverySMS") == "0"
    assert office.code("RemoveSMSQueue", deliveryID=number, scheduleID=0, deleteQueue="true") == "0"
    assert office.code("StartDeliverySMS") == "0"
    assert office.credits == before


def test_stopping(office: Office) -> None:
    assert office.code("StopDeliverySMS") == "0"
    with office.world.database.read() as connection:
        assert is_stopped(connection, office.world.account.id, Channel.SMS)
        assert not is_stopped(connection, office.world.account.id, Channel.EMAIL)
    assert office.code("StartDeliverySMS") == "0"
    with office.world.database.read() as connection:
        assert not is_stopped(connection, office.world.account.id, Channel.SMS)


def test_another_account_knows_nothing(office: Office) -> None:
    number = create(office)
    planned = office.ask("SendSMS", listID=1, smsID=number, options={"send_to": "ALL"}).findtext("scheduleID")
    key = office.keyed.log_in(user="a2", console=2)
    other = Office(office.keyed, key, office.world)
    assert other.code("SendSMS", listID=1, smsID=number, options={"send_to": "ALL"}) == "7"
    assert other.code("GetSMSDeliveryStatus", deliveryID=planned) == "8"
    assert other.code("RemoveSMSQueue", deliveryID=planned, scheduleID=0, deleteQueue="true") == "8"
    assert other.ask("GetCredits").findtext("credits") == "0"
    assert other.code("SendDirectSMS", listID=1, content="a", numero=ADA, options={}) == "11"
