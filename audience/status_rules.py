"""The one decision table: what becomes of a subscription when someone asks for a status.

Every door uses it. Pages and links apply it to one recipient, an import joins it, as rows, with a whole
chunk of a file. A `Transition` lists the outcome for each state before; composing two transitions gives
what two rows of a file for one person do together. No transition leads out of `BLOCKED`.

The table of imports: mailup specification, section 2.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple


class Channel(IntEnum):
    """How a person is reached."""

    EMAIL = 1
    SMS = 2


class Status(IntEnum):
    """What is stored of a subscription."""

    SUBSCRIBED = 1
    PENDING = 2
    UNSUBSCRIBED = 3


class State(IntEnum):
    """What a rule sees of a subscription: its status, whether there is one, and whether it is final."""

    NONE = 0
    SUBSCRIBED = 1
    PENDING = 2
    UNSUBSCRIBED = 3
    BLOCKED = 4
    """Unsubscribed because of a hard bounce or a complaint."""


class Reason(IntEnum):
    """Why someone is unsubscribed (specification 6.4: the power-of-two part of the codes)."""

    ADMINISTRATOR = 0
    LINK = 2
    IMPORTED = 4
    HARD_BOUNCE = 8
    COMPLAINT = 16
    HEADER_LINK = 32
    HEADER_MAILTO = 64
    INACTIVE = 128
    REJECTED = 256
    SOFT_BOUNCES = 512
    FORGOTTEN = 1024


FINAL_REASONS = (Reason.HARD_BOUNCE, Reason.COMPLAINT)


class Transition(NamedTuple):
    """The state after, for each state before."""

    none: State
    subscribed: State
    pending: State
    unsubscribed: State
    blocked: State = State.BLOCKED

    def then(self, following: Transition) -> Transition:
        """Return what this transition and the following one do together."""
        return Transition(*(following[state] for state in self))


KEEP = Transition(State.NONE, State.SUBSCRIBED, State.PENDING, State.UNSUBSCRIBED)


@dataclass(frozen=True, slots=True)
class ImportRule:
    """What an import is allowed to do to statuses."""

    confirm: bool = False
    """Recipients become pending until they confirm."""
    unsubscribe: bool = False
    """Recipients are imported as unsubscribed; outranks the other flags."""
    change_pending: bool = False
    """Pending recipients change too."""
    resubscribe: bool = False
    """Unsubscribed recipients change too, never blocked ones."""

    def transition(self) -> Transition:
        """Return the row of the decision table for these flags."""
        if self.unsubscribe:
            return self._unsubscribing()
        if self.confirm:
            return self._confirming()
        pending = State.SUBSCRIBED if self.change_pending else State.PENDING
        unsubscribed = State.SUBSCRIBED if self.resubscribe else State.UNSUBSCRIBED
        return Transition(State.SUBSCRIBED, State.SUBSCRIBED, pending, unsubscribed)

    def _unsubscribing(self) -> Transition:
        pending = State.UNSUBSCRIBED if self.change_pending else State.PENDING
        return Transition(State.UNSUBSCRIBED, State.UNSUBSCRIBED, pending, State.UNSUBSCRIBED)

    def _confirming(self) -> Transition:
        unsubscribed = State.PENDING if self.resubscribe else State.UNSUBSCRIBED
        return Transition(State.PENDING, State.PENDING, State.PENDING, unsubscribed)


# What a person does for himself, or an administrator for him.
SUBSCRIBE = Transition(State.SUBSCRIBED, State.SUBSCRIBED, State.SUBSCRIBED, State.SUBSCRIBED)
REQUEST_CONFIRMATION = Transition(State.PENDING, State.SUBSCRIBED, State.PENDING, State.PENDING)
CONFIRM = Transition(State.NONE, State.SUBSCRIBED, State.SUBSCRIBED, State.UNSUBSCRIBED)
UNSUBSCRIBE = Transition(State.NONE, State.UNSUBSCRIBED, State.UNSUBSCRIBED, State.UNSUBSCRIBED)
# What mail servers tell: that an address does not exist, and that its owner complained, who must not come back even if
# he had left before.
BOUNCE = Transition(State.NONE, State.BLOCKED, State.BLOCKED, State.UNSUBSCRIBED)
COMPLAIN = Transition(State.NONE, State.BLOCKED, State.BLOCKED, State.BLOCKED)


def state_of(status: int | None, reason_type: int | None) -> State:
    """Return what a rule sees of a stored subscription; status None means that there is none."""
    if status is None:
        return State.NONE
    if status == Status.UNSUBSCRIBED and reason_type in FINAL_REASONS:
        return State.BLOCKED
    return State(status)
