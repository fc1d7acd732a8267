"""What receiving systems expect as headers of an export (MailUp specification, section 4.4)."""

from __future__ import annotations

EXPORT_HEADERS: dict[str, str] = {
    "email": "email",
    "mobile": "Phone Number",
    "list": "idList",
    "unsubscribed_at": "OptOut_Date",
    "subscribed_at": "Subscription Date",
    "message": "optout_nl",
    "reason_type": "optout_type",
    "reason_subtype": "optout_subtype",
}
"""Header cell by column, as `audience.unsubscribed.COLUMNS` names them."""
