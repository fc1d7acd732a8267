"""The interface of gateways for text messages: what is handed over to them, and what they answer, now and later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from audience.events import SmsStatus


class Outcome(StrEnum):
    """What became of a message that was to be handed over."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    """For good; it need not be tried again."""
    DEFERRED = "deferred"
    """Not taken for the moment, and certainly not sent."""
    UNKNOWN = "unknown"
    """The connection broke before the answer; it may have been sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingText:
    """A text message that is ready to go out."""

    reference: str
    """Ours, unique."""
    sender: str
    """A name or a number; empty: whatever the gateway uses."""
    number: str = field(repr=False)
    """Normalised: `+` and digits."""
    parts: Sequence[str] = field(repr=False)
    """See `delivery.sms_text.split`."""
    unicode: bool
    callback: str = field(default="", repr=False)
    """Address that a gateway over HTTP may tell the message's fate; empty: none."""


@dataclass(frozen=True, slots=True)
class Handover:
    """What a gateway said to one message."""

    outcome: Outcome
    remote_id: str | None = None
    """The gateway's name for it, that receipts use."""
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a gateway tells later of a message that it has accepted."""

    remote_id: str
    status: SmsStatus
    code: str | None = None
    number: str = field(default="", repr=False)
    """Normalised, of the recipient; empty: not told."""


class GatewayUnavailable(Exception):
    """Nothing was handed over: there is no connection, or the login is wrong. The text has no secrets."""


ReceiptTaker = Callable[[Sequence[Receipt]], None]
"""Keeps receipts for good before it returns; whatever it raises makes the gateway send them again."""


class Gateway(Protocol):
    """Hands text messages over. One thread at a time sends."""

    def send(self, texts: Sequence[OutgoingText]) -> list[Handover]:
        """Hand messages over and return what became of each, in order.

        Raises:
            GatewayUnavailable: none of them was handed over.
        """

    def on_receipts(self, take: ReceiptTaker) -> None:
        """Name what gets the receipts, from another thread, from now on."""

    def connect(self) -> None:
        """Be connected, so that receipts can come; nothing is done where that needs no connection.

        Raises:
            GatewayUnavailable: there is none.
        """

    def check(self) -> list[str]:
        """Connect and log in; return lines that tell what was found, for people.

        Raises:
            GatewayUnavailable: it does not work.
        """

    def close(self) -> None:
        """End the connection."""
