"""Merge tags and special links as messages for this system have them (specification §6.1, §6.2, §8 row 36)."""

from __future__ import annotations

from delivery.vocabulary import Vocabulary

VOCABULARY = Vocabulary(
    field_tag=r"campo(?P<number>[0-9]{1,9})",
    built_in={
        "email": "email",
        "prefix": "prefix",
        "number": "number",
        "idu": "recipient",
        "_idoptin": "recipient",
        "_hash": "hash",
        "host": "host",
    },
    link_hosts={"unsubscribe": "unsubscribe", "confirm": "confirm", "track": "track"},
    web_version_path="/frontend/nl_preview_window.aspx?idnl=",
    unsubscribe_url="listunsubscribe",
    unsubscribe_mail="mailto_uns",
)
"""What `delivery` is given to read messages with."""
