"""Guessing passwords gets slower and slower, and remembering who guesses takes little room."""

from __future__ import annotations

import pytest

from services.throttle import (
    FAILURE_SECONDS,
    FIRST_LOCK_SECONDS,
    MAX_ENTRIES,
    MAX_FAILURES,
    LoginThrottle,
    NoPlace,
    Places,
)


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def throttle(clock: _Clock) -> LoginThrottle:
    return LoginThrottle(clock)


def _fail(throttle: LoginThrottle, times: int, user: str = "a1", address: str = "192.0.2.1") -> None:
    for _ in range(times):
        throttle.fail(user, address)


def test_locks_one_user_at_one_address(throttle: LoginThrottle) -> None:
    _fail(throttle, MAX_FAILURES - 1)
    assert not throttle.is_locked("a1", "192.0.2.1")
    _fail(throttle, 1)
    assert throttle.is_locked("a1", "192.0.2.1")
    assert not throttle.is_locked("a2", "192.0.2.1")
    assert not throttle.is_locked("a1", "192.0.2.2")


def test_locks_grow(throttle: LoginThrottle, clock: _Clock) -> None:
    _fail(throttle, MAX_FAILURES - 1)
    for factor in (1, 2, 4, 8, 16, 30, 30, 30):
        _fail(throttle, 1)
        clock.now += FIRST_LOCK_SECONDS * factor - 1
        assert throttle.is_locked("a1", "192.0.2.1")
        clock.now += 1
        assert not throttle.is_locked("a1", "192.0.2.1")


def test_only_failures_within_the_time_count(throttle: LoginThrottle, clock: _Clock) -> None:
    for _ in range(4 * MAX_FAILURES):
        _fail(throttle, 1)
        clock.now += FAILURE_SECONDS / (MAX_FAILURES - 1)
        assert not throttle.is_locked("a1", "192.0.2.1")


def test_starts_over_after_a_quiet_time(throttle: LoginThrottle, clock: _Clock) -> None:
    _fail(throttle, MAX_FAILURES)
    clock.now += FIRST_LOCK_SECONDS + FAILURE_SECONDS
    _fail(throttle, MAX_FAILURES - 1)
    assert not throttle.is_locked("a1", "192.0.2.1")


def test_success_clears(throttle: LoginThrottle) -> None:
    for _ in range(3):
        _fail(throttle, MAX_FAILURES - 1)
        throttle.succeed("a1", "192.0.2.1")
    throttle.succeed("a2", "192.0.2.1")
    assert not throttle.is_locked("a1", "192.0.2.1")


def test_memory_is_bounded(throttle: LoginThrottle) -> None:
    _fail(throttle, MAX_FAILURES, "first")
    _fail(throttle, MAX_FAILURES, "second")
    for number in range(MAX_ENTRIES - 1):
        _fail(throttle, 1, f"a{number}")
    assert not throttle.is_locked("first", "192.0.2.1")
    assert throttle.is_locked("second", "192.0.2.1")


def test_places() -> None:
    places = Places(2)
    with places.take():
        with pytest.raises(ValueError, match="inside"), places.take():
            raise ValueError("inside")
        with places.take(), pytest.raises(NoPlace), places.take():
            raise AssertionError
    with places.take(), places.take():
        pass
