"""Shares the threads that call webhooks out, so that those who hang hold up nobody but themselves."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

THREADS = 16
PER_ACCOUNT = THREADS // 4
"""Requests to the webhooks of one account at the same time."""
PER_WEBHOOK = 3
"""Requests to one webhook at the same time; one only if it failed the last time."""

_ROUND_SECONDS = 0.5


class Shares:
    """Who is being called, and whose turn it is; for one thread at a time."""

    def __init__(self, failing: set[int]) -> None:
        """Begin with nobody called.

        Args:
            failing: webhooks whose last answer was a failure; kept up to date.
        """
        self._webhooks: Counter[int] = Counter()
        self._accounts: Counter[int] = Counter()
        self._failing = failing
        self._served: set[int] = set()
        self._round_begins = 0.0

    @property
    def free(self) -> int:
        """Threads that nobody has."""
        return THREADS - self._accounts.total()

    @property
    def full_accounts(self) -> list[int]:
        return [account_id for account_id, count in self._accounts.items() if count >= PER_ACCOUNT]

    @property
    def full_webhooks(self) -> set[int]:
        return {webhook_id for webhook_id, count in self._webhooks.items() if count >= self._most(webhook_id)}

    @property
    def served(self) -> set[int]:
        """Webhooks that had their turn in this round, and must let others go first."""
        # To look behind a long backlog takes its time, so not for every request.
        return self._served if time.monotonic() >= self._round_begins else set()

    def begin_round(self) -> None:
        """Note that nobody else waits for a turn."""
        self._served = set()
        self._round_begins = time.monotonic() + _ROUND_SECONDS

    def choose(self, waiting: Iterable[tuple[int, int, int]]) -> list[int]:
        """Return those of these that may be sent, which fewer may be than there are free threads.

        Args:
            waiting: ids of notifications, of their webhooks, and of their accounts, the most urgent first.
        """
        webhooks, accounts = Counter(self._webhooks), Counter(self._accounts)
        chosen = []
        for notification_id, webhook_id, account_id in waiting:
            if webhooks[webhook_id] < self._most(webhook_id) and accounts[account_id] < PER_ACCOUNT:
                webhooks[webhook_id] += 1
                accounts[account_id] += 1
                chosen.append(notification_id)
        return chosen

    def take(self, webhook_id: int, account_id: int) -> None:
        """Note that a request begins."""
        self._webhooks[webhook_id] += 1
        self._accounts[account_id] += 1
        self._served.add(webhook_id)

    def give_back(self, webhook_id: int, account_id: int, *, delivered: bool) -> None:
        """Note that a request ended."""
        self._webhooks[webhook_id] -= 1
        self._accounts[account_id] -= 1
        if delivered:
            self._failing.discard(webhook_id)
        else:
            self._failing.add(webhook_id)

    def _most(self, webhook_id: int) -> int:
        return 1 if webhook_id in self._failing else PER_WEBHOOK
