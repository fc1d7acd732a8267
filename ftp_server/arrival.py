"""Decides when an upload is complete. A state machine without I/O: it is told what happened and says what to do.

pyftpdlib reports an upload as received however it ended, so the end of the data alone is no evidence. What counts
is, strongest first: a manifest or trailer, an announced size (ALLO), a rename, a marker, and at last a control
connection that is still alive at the end of the data and goes on, or stays silent for the quiet time.

Over SFTP and SCP the end of a file is said and not guessed: by CLOSE, or by the last byte after all those announced.

One case stays open with the rule "connection": a client that ends its data too early, politely, by closing the FTP
data connection and going on, or the SFTP file. It looks exactly like the whole of a shorter file; only the other
rules can tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from exchange.profiles import CompletenessRule


class Ending(Enum):
    """How the data of an upload ended; the value says it for people."""

    END = "The client closed the data connection."
    RESET = "The data connection was reset."
    CONTROL_LOST = "The control connection was closed before the end of the data."
    LOST = "The connection ended before the client closed the file."
    UNREADABLE = "The client could not read the whole of its file."
    GAPS = "Parts in the middle of the file never came."
    ABORTED = "The client aborted the transfer."
    TIMED_OUT = "No data came for too long."
    QUIT = "The client quit before the end of the data."
    STOPPED = "The server was stopped during the transfer."
    CUT = "The data connection ended without the closing message of TLS."
    OVER_QUOTA = "The home folder would hold more than it may."
    DISK_FULL = "Not enough space."
    DISK_FAILED = "The server could not store the file."


class Evidence(Enum):
    """What the files themselves say about completeness."""

    NONE = auto()
    MARKER_MISSING = auto()
    MARKER_EMPTY = auto()
    MANIFEST_FITS = auto()
    MANIFEST_DIFFERS = auto()
    TRAILER_FITS = auto()
    TRAILER_MISSING = auto()


class Step(Enum):
    """What is to be done with an upload now."""

    SYNC = auto()
    """Make it durable and look for evidence, then tell `synced`."""
    KEEP = auto()
    """Show it under its name; it is never imported."""
    WAIT = auto()
    """Show it under its name; a marker or a rename has to come."""
    WATCH = auto()
    """Show it under its name and watch the control connection."""
    ADOPT = auto()
    """Show it under its name and import it."""
    PUT_ASIDE = auto()
    """Move it to the folder for incomplete files."""
    DISCARD = auto()
    """Remove it."""
    NOTHING = auto()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done, and why."""

    step: Step
    reason: str = ""
    """For people."""
    reply: str = ""
    """To the client at the end of its transfer, code included; empty when no reply is due."""


_NOTHING = Verdict(Step.NOTHING)
CONTROL_DIED = "The control connection was gone at the end of the data."
CONTROL_BROKE = "The control connection broke after the data, without QUIT or a further command."
TRAILER_MISSING = "The last line is not the trailer that was agreed."
MANIFEST_DIFFERS = "Size or SHA-256 are not what the marker says."
ABORTED_AFTERWARDS = "The client aborted right after the end of the data."

_FOUND = {
    Evidence.MANIFEST_FITS: Verdict(Step.ADOPT, "Its marker names this size or SHA-256."),
    Evidence.MARKER_EMPTY: Verdict(Step.ADOPT, "Its marker is there."),
    Evidence.MARKER_MISSING: Verdict(Step.WAIT, "Its marker has not come yet."),
    Evidence.MANIFEST_DIFFERS: Verdict(Step.PUT_ASIDE, MANIFEST_DIFFERS),
    Evidence.TRAILER_FITS: Verdict(Step.ADOPT, "Its last line is the trailer that was agreed."),
    Evidence.TRAILER_MISSING: Verdict(Step.PUT_ASIDE, TRAILER_MISSING),
}


def judge_marked(evidence: Evidence) -> Verdict:
    """Judge a visible file by its marker, when the second of them has come."""
    return _FOUND[evidence]


def judge_renamed(rule: CompletenessRule, evidence: Evidence) -> Verdict:
    """Judge a file that a client has renamed to a final name; a marker or trailer that was agreed still counts."""
    return _FOUND.get(evidence, Verdict(Step.ADOPT, "It was renamed to its final name."))


class Arrival:
    """One upload, from the end of its data to the verdict."""

    def __init__(
        self,
        rule: CompletenessRule | None,
        announced: int | None = None,
        kept_because: str = "",
        *,
        said: str = "",
    ) -> None:
        """Begin before the first byte.

        Args:
            rule: of the folder's profile; None for a file that is only kept.
            announced: size in bytes that an ALLO command named.
            kept_because: why the file is never imported, or not under this name; a sentence for the client.
            said: how the protocol lets a client say that its file is whole, a sentence for people; empty for one
                that knows only the end of the data.
        """
        self._rule = rule
        self._kept_because = kept_because
        self._announced = announced
        self._said = said
        self._sized = False
        self._watched = False

    def data_ended(self, ending: Ending, size: int, received: int) -> Verdict:
        """The data connection is closed.

        Args:
            ending: how.
            size: of the whole file in bytes.
            received: bytes of this transfer; less than `size` when an earlier one was continued.
        """
        if ending is Ending.DISK_FULL:
            return Verdict(Step.DISCARD, ending.value, "452 Not enough space.")
        if ending is Ending.OVER_QUOTA:
            return Verdict(Step.DISCARD, ending.value, f"552 {ending.value}")
        if ending is Ending.DISK_FAILED:
            return Verdict(Step.PUT_ASIDE, ending.value, "451 The file could not be stored.")
        if ending is not Ending.END:
            return _put_aside(ending.value)
        if self._announced is not None and self._announced not in (size, received):
            return _put_aside(f"{received} bytes came, but {self._announced} were announced.")
        self._sized = self._announced is not None
        return Verdict(Step.SYNC)

    def synced(self, alive: bool, evidence: Evidence) -> Verdict:
        """The data is durable.

        Args:
            alive: whether the control connection is open at this moment.
            evidence: what the file or its marker says.
        """
        if self._rule == "marker":
            return self._judge_marker(alive, evidence)
        # A file of refused rows that comes back has none, and is judged as where nothing was agreed.
        if self._rule == "trailer" and evidence is not Evidence.NONE:
            return _answered(_FOUND[evidence])
        if (self._said or self._sized) and self._rule in ("connection", "size", "trailer"):
            return _answered(Verdict(Step.ADOPT, self._said or "It has the size that ALLO announced."))
        if not alive:
            return _put_aside(CONTROL_DIED)
        return self._judge_living()

    def _judge_living(self) -> Verdict:
        if self._rule is None:
            because = self._kept_because
            return Verdict(Step.KEEP, reply=f"226 Stored. {because}" if because else "226 Transfer complete.")
        if self._rule == "rename":
            return Verdict(Step.WAIT, reply="226 Transfer complete; the import waits until the file is renamed.")
        return self._watch()

    def _judge_marker(self, alive: bool, evidence: Evidence) -> Verdict:
        if evidence in (Evidence.MANIFEST_FITS, Evidence.MANIFEST_DIFFERS):
            return _answered(_FOUND[evidence])
        if not alive:
            return _put_aside(CONTROL_DIED)
        if evidence is Evidence.MARKER_EMPTY and self._said:
            return _answered(_FOUND[evidence])
        if evidence is Evidence.MARKER_EMPTY:
            # A marker that came first and says nothing about the data proves no more than the connection does.
            return self._watch()
        return Verdict(Step.WAIT, reply="226 Transfer complete; the import waits for the marker of the file.")

    def _watch(self) -> Verdict:
        self._watched = True
        return Verdict(Step.WATCH, reply="226 Transfer complete.")

    def commanded(self, command: str) -> Verdict:
        """A further command came over the control connection."""
        if command == "ABOR":
            return self._settle(Verdict(Step.PUT_ASIDE, ABORTED_AFTERWARDS))
        return self._settle(Verdict(Step.ADOPT, f"The client went on with {command} after the data."))

    def quiet_passed(self, alive: bool) -> Verdict:
        """The quiet time is over."""
        if not alive:
            return self.control_lost()
        return self._settle(Verdict(Step.ADOPT, "The control connection was alive after the quiet time."))

    def control_lost(self) -> Verdict:
        """The control connection broke."""
        return self._settle(Verdict(Step.PUT_ASIDE, CONTROL_BROKE))

    def renamed(self) -> Verdict:
        """The client gave the file another name, which is judged by `judge_renamed`; nothing else decides any more."""
        return self._settle(_NOTHING)

    def _settle(self, verdict: Verdict) -> Verdict:
        watched, self._watched = self._watched, False
        return verdict if watched else _NOTHING


def _put_aside(reason: str) -> Verdict:
    return Verdict(Step.PUT_ASIDE, reason, f"426 {reason} What came is kept in the folder incomplete.")


def _answered(verdict: Verdict) -> Verdict:
    if verdict.step is Step.PUT_ASIDE:
        return _put_aside(verdict.reason)
    return Verdict(verdict.step, verdict.reason, "226 Transfer complete; the file is accepted for import.")
