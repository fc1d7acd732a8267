"""What is needed to answer a tracked link, kept for a short while so that most readers do not touch the database."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import bindparam, select

from db.engine import Database
from db.tables import account, sending, sending_link
from delivery.tokens import InvalidLink
from delivery.tracking_links import LinkChecker, TrackedKind, TrackedLink, read_tracked_link

KEEP_SECONDS = 30.0
"""How long something may have changed before it is noticed."""
MAX_ACCOUNTS, MAX_LINKS = 1_000, 20_000
"""Of each so many are kept, what does not exist included."""
_NO_KEY = "0" * 64
_MAX_PLACE = 2**31 - 1

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class RecentValues(Generic[Key, Value]):
    """Remembers what was looked up last, for a while; threads may share it."""

    def __init__(self, look_up: Callable[[Key], Value], most: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing.

        Args:
            look_up: finds a value; two threads may ask it for the same at once.
            most: values that are kept; then the one that was asked for longest ago goes.
            clock: seconds.
        """
        self._look_up = look_up
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[Key, tuple[float, Value]] = OrderedDict()

    def find(self, key: Key) -> Value:
        """Return the value of a key."""
        with self._lock:
            known = self._known.get(key)
            if known is not None and known[0] > self._clock():
                self._known.move_to_end(key)
                return known[1]
        value = self._look_up(key)
        with self._lock:
            self._known[key] = (self._clock() + KEEP_SECONDS, value)
            self._known.move_to_end(key)
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        return value


@dataclass(frozen=True, slots=True)
class _Signer:
    account_id: int
    checker: LinkChecker


class LinkBook:
    """Reads tracked links; those of an unknown account are refused like those with a wrong signature."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing known.

        Args:
            database: of the accounts and sendings.
            clock: seconds.
        """
        self._database = database
        self._signers = RecentValues(self._look_up_signer, MAX_ACCOUNTS, clock)
        self._urls = RecentValues(self._look_up_url, MAX_LINKS, clock)

    def read(self, token: str, kind: TrackedKind) -> tuple[int, TrackedLink]:
        """Return the account's internal id and what the token says.

        Raises:
            InvalidLink: it is not valid, or of the other kind.
        """
        link = read_tracked_link(token)
        signer = self._signers.find(link.account_number)
        signer.checker.check(link, kind)
        return _require(signer), link

    def read_target(self, token: str, url: str) -> tuple[int, TrackedLink]:
        """Return the same of a token that goes with an address.

        Raises:
            InvalidLink: it is not valid, or was not signed for this address.
        """
        link = read_tracked_link(token)
        signer = self._signers.find(link.account_number)
        signer.checker.check_target(link, url)
        return _require(signer), link

    def find_url(self, account_id: int, sending_id: int, place: int) -> str | None:
        """Return where a link of a sending leads; None when the account's sending has none at this place."""
        return self._urls.find((account_id, sending_id, place)) if 0 <= place <= _MAX_PLACE else None

    def _look_up_signer(self, number: int) -> _Signer:
        with self._database.read_once() as connection:
            row = connection.execute(_KEY, {"number": number}).one_or_none()
        return _Signer(row.id, LinkChecker(row.secret_key)) if row is not None else _Signer(0, LinkChecker(_NO_KEY))

    def _look_up_url(self, key: tuple[int, int, int]) -> str | None:
        names = ("account_id", "sending_id", "place")
        with self._database.read_once() as connection:
            return connection.execute(_URL, dict(zip(names, key, strict=True))).scalar_one_or_none()


def _require(signer: _Signer) -> int:
    if not signer.account_id:
        raise InvalidLink("There is no such account.")
    return signer.account_id


_KEY = select(account.c.id, account.c.secret_key).where(account.c.number == bindparam("number"))
_URL = (
    select(sending_link.c.url)
    .join(sending, sending.c.id == sending_link.c.sending_id)
    .where(
        sending.c.account_id == bindparam("account_id"),
        sending_link.c.sending_id == bindparam("sending_id"),
        sending_link.c.place == bindparam("place"),
    )
)
