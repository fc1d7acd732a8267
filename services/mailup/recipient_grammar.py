"""The words of MailUp's recipient XML, `<subscribers>` (specification §2.1)."""

from __future__ import annotations

from exchange.recipient_xml import XmlGrammar

GRAMMAR = XmlGrammar(
    record_tag="subscriber",
    email="email",
    prefix="Prefix",
    number="Number",
    field_tag=r"campo(?P<number>\d+)",
)
