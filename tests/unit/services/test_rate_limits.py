"""Rate limits: averages and bursts by a clock of the test, callers apart from each other, bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import TooManyRequests

from services.http.rate_limits import BURST_SECONDS, MAX_CALLERS, RateLimit, network_of


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


def _ask(limit: RateLimit, times: int, caller: object = "192.0.2.1") -> int:
    """Ask some times and return how often that was let through."""
    passed = 0
    for _ in range(times):
        try:
            limit.count(caller)
        except TooManyRequests:
            continue
        passed += 1
    return passed


def test_a_burst_and_then_the_rate(clock: _Clock) -> None:
    limit = RateLimit(20, clock)
    assert _ask(limit, 100) == 60
    clock.now += 1
    assert _ask(limit, 100) == 20
    clock.now += 100
    assert _ask(limit, 100) == 60


def test_the_answer_says_when_to_come_again(clock: _Clock) -> None:
    limit = RateLimit(0.1, clock)
    limit.count("192.0.2.1")
    clock.now += 3
    with pytest.raises(TooManyRequests) as refusal:
        limit.count("192.0.2.1")
    assert refusal.value.retry_after == 7
    clock.now += 7
    limit.count("192.0.2.1")


def test_what_is_refused_costs_nothing(clock: _Clock) -> None:
    limit = RateLimit(1, clock)
    assert _ask(limit, 1000) == 3
    clock.now += 1
    assert _ask(limit, 1) == 1


def test_callers_do_not_hinder_each_other(clock: _Clock) -> None:
    limit = RateLimit(1, clock)
    assert [_ask(limit, 5, caller) for caller in ("192.0.2.1", "192.0.2.2", 7)] == [3, 3, 3]


def test_zero_is_no_limit(clock: _Clock) -> None:
    assert _ask(RateLimit(0, clock), 1000) == 1000


def test_who_asked_longest_ago_is_forgotten(clock: _Clock) -> None:
    limit = RateLimit(1, clock)
    assert _ask(limit, 5, "first") == 3
    for number in range(MAX_CALLERS):
        limit.count(number)
    assert _ask(limit, 5, "first") == 3
    assert _ask(limit, 5, MAX_CALLERS - 1) == 2


@given(
    rate=st.floats(0.05, 1000),
    pauses=st.lists(st.floats(0, 5), min_size=1, max_size=100),
)
def test_never_more_than_burst_and_rate_allow(rate: float, pauses: list[float]) -> None:
    clock = _Clock()
    limit = RateLimit(rate, clock)
    passed = 0
    for pause in pauses:
        clock.now += pause
        passed += _ask(limit, 1)
    assert 1 <= passed <= max(1, rate * BURST_SECONDS) + rate * sum(pauses) + 1e-6


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("not:an:address", "not:an:address"),
        ("", ""),
    ],
)
def test_networks(address: str, network: str) -> None:
    assert network_of(address) == network
