"""What is handed to a mail server, and what it answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Parcel:
    """One mail for one recipient."""

    return_path: str
    """Envelope sender; empty for none."""
    recipient: str
    """Address; its domain is ASCII, its local part may not be (RFC 6531)."""
    content: bytes = field(repr=False)
    """Lines end with CRLF; nothing is escaped."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a parcel."""

    kind: Literal["sent", "deferred", "refused", "unknown"]
    """Unknown: the connection broke when the server may have had it already."""
    code: int = 0
    """Of the answer (RFC 5321 section 4.2); 0 when there was none."""
    text: str = ""
    """Of the answer, one line, cut."""
    about_sender: bool = False
    """Whether the server does not want the sender, which says nothing about the recipient."""
    reached: bool = True
    """Whether any server was."""

    @property
    def name(self) -> str:
        """Code and enhanced status (RFC 3463), such as `550 5.1.1`; empty when there was no answer."""
        first = self.text.split(" ", 1)[0]
        enhanced = f" {first}" if first.count(".") == 2 and first.replace(".", "").isdigit() else ""
        return f"{self.code}{enhanced}" if self.code else ""


NOT_WRITTEN = Outcome("refused", 0, "The mail cannot be written.")
"""No server has said it, so it says nothing about the address."""
