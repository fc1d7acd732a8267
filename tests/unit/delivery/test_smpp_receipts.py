"""Delivery receipts as message centres write them, and senders of countries."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smpplib import smpp

from audience.events import SmsStatus
from delivery.errors import InvalidMessage
from delivery.handovers import Receipt
from delivery.smpp_receipts import read_receipt, same_ids
from delivery.sms_senders import check_sender, choose_sender


def make_pdu(text: bytes = b"", **fields: Any) -> Any:
    pdu = smpp.make_pdu("deliver_sm", sequence=1)
    values = {"short_message": text, "esm_class": 4, "source_addr": b"393331230001"} | fields
    for name, value in values.items():
        setattr(pdu, name, value)
    return pdu


NUMBER = "+393331230001"
TEXT = b"id:%s sub:001 dlvrd:001 submit date:2601010000 done date:2601010001 stat:%s err:%s text:id:9 stat:UNDELIV"


@pytest.mark.parametrize(
    ("pdu", "receipt"),
    [
        (make_pdu(TEXT % (b"1f", b"DELIVRD", b"000")), Receipt("1f", SmsStatus.DELIVERED, None, NUMBER)),
        (make_pdu(TEXT % (b"7", b"UNDELIV", b"0A1")), Receipt("7", SmsStatus.ERROR, "UNDELIV 0A1", NUMBER)),
        (make_pdu(b"ID:7 Stat:expired"), Receipt("7", SmsStatus.ERROR, "EXPIRED", NUMBER)),
        (make_pdu(TEXT % (b"7", b"ENROUTE", b"000")), Receipt("7", SmsStatus.QUEUED)),
        (
            make_pdu(b"", receipted_message_id=b"ab-1\0", message_state=2),
            Receipt("ab-1", SmsStatus.DELIVERED, None, NUMBER),
        ),
        (make_pdu(b"", receipted_message_id=b"1", message_state=8), Receipt("1", SmsStatus.ERROR, "REJECTD", NUMBER)),
        (make_pdu(TEXT % (b"7", b"DELIVRD", b"0"), source_addr=b"Shop"), Receipt("7", SmsStatus.DELIVERED)),
        (make_pdu(TEXT % (b"7", b"DELIVRD", b"0"), esm_class=0), None),
        (make_pdu(b"Hello"), None),
        (make_pdu(b"id:7"), None),
        (make_pdu(b"", message_state=2), None),
        (make_pdu(b"id:7 stat:?"), None),
    ],
)
def test_receipts(pdu: Any, receipt: Receipt | None) -> None:
    assert read_receipt(pdu) == receipt


@given(st.binary(max_size=200), st.integers(0, 255))
def test_anything_can_come(text: bytes, esm_class: int) -> None:
    found = read_receipt(make_pdu(text, esm_class=esm_class))
    assert found is None or found.remote_id


@pytest.mark.parametrize(
    ("told", "ids"),
    [
        ("10", ("10", "a", "16")),
        ("0000A", ("a", "10")),
        ("x-1", ("x-1",)),
        ("000", ("0",)),
        ("255", ("255", "ff", "597")),
    ],
)
def test_names_of_messages(told: str, ids: tuple[str, ...]) -> None:
    assert same_ids(told) == ids


@pytest.mark.parametrize(
    ("wanted", "own", "number", "sender"),
    [
        ("Shop", "", NUMBER, "Shop"),
        ("", "Lista", NUMBER, "Lista"),
        ("", "", NUMBER, ""),
        ("Shop", "+393330000000", "+12025550123", "+393330000000"),
        ("Shop", "Lista", "+12025550123", ""),
        ("393330000000", "", "+12025550123", "393330000000"),
    ],
)
def test_senders_of_countries(wanted: str, own: str, number: str, sender: str) -> None:
    assert choose_sender(wanted, own, number) == sender


@pytest.mark.parametrize("sender", ["", "Shop", "Shop 24 ore", "+393331234567", "00393331234567", "48400"])
def test_senders(sender: str) -> None:
    assert check_sender(f" {sender} ") == sender


@pytest.mark.parametrize("sender", ["more than eleven", "Caffè", "A&B", "+12", "Sh\r\nop", "1" * 16])
def test_what_is_no_sender(sender: str) -> None:
    with pytest.raises(InvalidMessage, match="The sender is at most 11"):
        check_sender(sender)
