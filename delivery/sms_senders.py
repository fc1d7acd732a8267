"""Whom a text message says it is from: a name of up to eleven characters or a number, where the country takes names."""

from __future__ import annotations

from audience.errors import InvalidSetting
from audience.list_settings import parse_setting
from delivery.errors import InvalidMessage

NUMBERS_ONLY = ("+1",)
"""Prefixes of countries whose networks drop messages that come from a name."""


def check_sender(sender: str) -> str:
    """Return a sender without blanks around it: at most 11 letters, digits and spaces, or a telephone number.

    Raises:
        InvalidMessage: it is neither (mailup specification §6.3).
    """
    try:
        checked: str = parse_setting("sms_sender", sender)
    except InvalidSetting as error:
        raise InvalidMessage(f"The sender {error.reason.replace('It is', 'is', 1)}") from None
    return checked


def choose_sender(wanted: str, own: str, number: str) -> str:
    """Return whom a message to a number comes from.

    Args:
        wanted: for this sending; may be empty.
        own: the list's; may be empty.
        number: normalised, of the recipient.

    Returns:
        The first that the recipient's country takes; empty leaves it to the gateway.
    """
    usable = (sender for sender in (wanted, own) if sender and (is_number(sender) or not _takes_numbers_only(number)))
    return next(usable, "")


def is_number(sender: str) -> bool:
    """Return whether a sender is a telephone number and not a name."""
    return sender.removeprefix("+").isdigit()


def _takes_numbers_only(number: str) -> bool:
    return number.startswith(NUMBERS_ONLY)
