"""Reads delivery receipts, which message centres write as text in a deliver_sm (SMPP 3.4, appendix B)."""

from __future__ import annotations

import re
from typing import Any

from audience.events import SmsStatus
from delivery.handovers import Receipt

_RECEIPT_BITS = 0x3C
_IS_RECEIPT = 0x04
_ID = re.compile(rb"\bid:\s*([!-~]{1,64})", re.IGNORECASE)
_STATE = re.compile(rb"\bstat:\s*([A-Za-z]{1,10})", re.IGNORECASE)
_ERROR = re.compile(rb"\berr:\s*([0-9A-Za-z]{1,10})", re.IGNORECASE)
# SMPP 3.4 section 5.2.28, and how appendix B writes them.
_NAMES = {
    1: "ENROUTE",
    2: "DELIVRD",
    3: "EXPIRED",
    4: "DELETED",
    5: "UNDELIV",
    6: "ACCEPTD",
    7: "UNKNOWN",
    8: "REJECTD",
}
_ON_THE_WAY = ("ENROUTE", "ACCEPTD")


def read_receipt(pdu: Any) -> Receipt | None:
    """Return the receipt that a deliver_sm of smpplib has, or None: it is a message from a telephone, or unreadable."""
    text = pdu.short_message or getattr(pdu, "message_payload", None) or b""
    remote_id = _read_id(pdu, text)
    state = _read_state(pdu, text)
    if (pdu.esm_class or 0) & _RECEIPT_BITS != _IS_RECEIPT or not remote_id or not state:
        return None
    if state in _ON_THE_WAY:
        return Receipt(remote_id, SmsStatus.QUEUED)
    number = _read_number(pdu)
    if state == "DELIVRD":
        return Receipt(remote_id, SmsStatus.DELIVERED, number=number)
    error = _ERROR.search(text)
    code = f"{state} {error[1].decode()}" if error and error[1].strip(b"0") else state
    return Receipt(remote_id, SmsStatus.ERROR, code, number)


def normalise_id(remote_id: str) -> str:
    """Return the spelling under which a message's name is kept: without zeros in front, lower case."""
    return remote_id.lstrip("0").lower() or "0"


def same_ids(remote_id: str) -> tuple[str, ...]:
    """Return the normalised spellings that a message's name may have had when it was accepted, the likeliest first.

    Many message centres write it in hexadecimal when they accept a message and in decimal in the receipt, or the other
    way round.
    """
    bare = normalise_id(remote_id)
    spellings = [bare]
    if bare.isascii() and bare.isdigit():
        spellings.append(f"{int(bare):x}")
    if re.fullmatch("[0-9a-f]{1,16}", bare):
        spellings.append(str(int(bare, 16)))
    return tuple(dict.fromkeys(spellings))


def _read_id(pdu: Any, text: bytes) -> str:
    named: bytes | None = getattr(pdu, "receipted_message_id", None)
    found = _ID.search(text)
    raw = named.strip(b"\0 ") if named else found[1] if found else b""
    return raw.decode("ascii", "replace")


def _read_state(pdu: Any, text: bytes) -> str:
    found = _STATE.search(text)
    if found:
        return found[1].decode().upper()[:7]
    return _NAMES.get(getattr(pdu, "message_state", None) or 0, "")


def _read_number(pdu: Any) -> str:
    digits = (pdu.source_addr or b"").decode("ascii", "replace").lstrip("+0")
    return f"+{digits}" if digits.isascii() and digits.isdigit() else ""
