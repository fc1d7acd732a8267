"""Failed logins slow down and lock out."""

from __future__ import annotations

import pytest

from ftp_server.accounts import LoginLimits, Throttle, origin_of


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> Throttle:
    return Throttle(LoginLimits(), clock)


def test_doubles_the_delay_up_to_the_lock(throttle: Throttle) -> None:
    assert [throttle.fail("u", "a") for _failure in range(7)] == [1, 2, 4, 8, 8, 8, 8]


def test_locks_one_user_from_one_address(throttle: Throttle) -> None:
    for _failure in range(4):
        throttle.fail("u", "a")
    assert not throttle.is_locked("u", "a")
    throttle.fail("u", "a")
    assert throttle.is_locked("u", "a")
    assert not throttle.is_locked("u", "b")
    assert not throttle.is_locked("v", "a")


def test_ends_the_lock_after_its_time(throttle: Throttle, clock: Clock) -> None:
    for _failure in range(5):
        throttle.fail("u", "a")
    clock.now = 600
    throttle.fail("u", "a")  # does not prolong it
    clock.now = 899
    assert throttle.is_locked("u", "a")
    clock.now = 900
    assert not throttle.is_locked("u", "a")
    assert throttle.fail("u", "a") == 1


def test_counts_only_failures_of_the_last_while(throttle: Throttle, clock: Clock) -> None:
    for minute in range(0, 60, 5):
        clock.now = minute * 60
        throttle.fail("u", "a")
        assert not throttle.is_locked("u", "a")


def test_forgets_failures_of_who_knows_the_password(throttle: Throttle) -> None:
    throttle.fail("u", "a")
    throttle.succeed("u", "a")
    assert throttle.fail("u", "a") == 1


def test_remembers_a_limited_number_of_users(throttle: Throttle) -> None:
    for number in range(10_050):
        throttle.fail(f"u{number}", "a")
    assert throttle.fail("u0", "a") == 1
    assert throttle.fail("u10049", "a") == 2


def test_failures_of_many_users_ban_an_address(clock: Clock) -> None:
    throttle = Throttle(LoginLimits(address_failures=3, address_seconds=60), clock)
    for user in "uvw":
        assert not throttle.is_banned("192.0.2.1")
        throttle.fail(user, "192.0.2.1")
    assert throttle.is_banned("::ffff:192.0.2.1")
    assert throttle.is_locked("x", "192.0.2.1")
    assert not throttle.is_banned("192.0.2.2")
    clock.now = 61
    assert not throttle.is_banned("192.0.2.1")


def test_who_knows_the_password_earns_no_ban(clock: Clock) -> None:
    throttle = Throttle(LoginLimits(address_failures=3), clock)
    for _failure in range(5):
        throttle.fail("u", "192.0.2.1", wrong=False)
    assert throttle.is_locked("u", "192.0.2.1")
    assert not throttle.is_banned("192.0.2.1")


def test_bans_can_be_switched_off(clock: Clock) -> None:
    throttle = Throttle(LoginLimits(address_failures=0), clock)
    for number in range(100):
        throttle.fail(f"u{number}", "192.0.2.1")
    assert not throttle.is_banned("192.0.2.1")


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("nonsense", "nonsense"),
    ],
)
def test_what_counts_as_one_address(address: str, origin: str) -> None:
    assert origin_of(address) == origin
