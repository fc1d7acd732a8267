"""What MailUp's webhooks call their parameters and values, in general names (specification, section 5)."""

from __future__ import annotations

import re

from jobs.webhook_requests import Wording

WORDING = Wording(
    events={
        "subscribe": "SUBSCRIBE",
        "unsubscribe": "UNSUBSCRIBE",
        "profile": "CHANGEPROFILE",
        "delete": "DELETE",
        "pending": "PENDING",
    },
    sources={"api": "API", "console": "CONSOLE", "recipient": "RECIPIENT"},
    account="a{}",
)

PARAMETER_NAMES = {
    "[EventDate]": "date",
    "[IdConsole]": "account",
    "[IdList]": "list",
    "[IdNL]": "message",
    "[EventType]": "event",
    "[EventSource]": "source",
    "[Reason]": "reason",
    "[Email]": "email",
    "[Prefix]": "prefix",
    "[Number]": "number",
    "[Groups]": "groups",
    "[Channel]": "channel",
    # The numbering of older versions, in which e-mail is 1; the name is our own.
    "[Channel+1]": "channel+1",
}

_BY_LOWER_NAME = {name.lower(): general for name, general in PARAMETER_NAMES.items()}
_FIELD = re.compile(r"\[field0*([1-9][0-9]?)\]", re.IGNORECASE)


def parse_parameter_name(text: str) -> str:
    """Return the general name of what a parameter stands for; what is not a vendor's word stays as it is.

    Args:
        text: such as `[Email]` or `[Field01]`, in any case.
    """
    text = text.strip()
    if field := _FIELD.fullmatch(text):
        return f"field:{field[1]}"
    return _BY_LOWER_NAME.get(text.lower(), text)
