"""What the delivery refuses.

DeliveryError
├── UnknownMessage
├── UnknownSending
├── UnknownFilter
├── InvalidMessage
├── InvalidTarget
├── SenderNotVerified
├── NotAllowedNow
└── NotEnoughCredits
"""

from __future__ import annotations


class DeliveryError(Exception):
    """Something was asked of the delivery that it cannot do; the text is fit for the caller."""


class UnknownMessage(DeliveryError):
    """There is no such message in this account or list."""


class UnknownSending(DeliveryError):
    """There is no such sending in this account."""


class UnknownFilter(DeliveryError):
    """There is no such filter in this account."""


class InvalidMessage(DeliveryError):
    """The message cannot be stored or sent as it is."""


class InvalidTarget(DeliveryError):
    """Nobody can be sent to as it was asked for."""


class SenderNotVerified(DeliveryError):
    """The sender's address needs a proof that it has not given, or there is none."""


class NotAllowedNow(DeliveryError):
    """The sending is in a state in which this cannot be done."""


class NotEnoughCredits(DeliveryError):
    """There are fewer credits than the text messages would cost."""
