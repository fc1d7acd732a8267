"""Who may come in: connections, sessions, networks, TLS and speed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from audience.accounts import Account
from audience.ftp_users import FtpRights, FtpUser
from ftp_server.accounts import LoginLimits, Throttle
from ftp_server.admission import Admission, DoorLimits, RateLimiter, refuse

HERE = "192.0.2.1"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def user_with(**rights: Any) -> FtpUser:
    account = Account(1, 1, "Account 1", "Europe/Rome", "active")
    return FtpUser(1, "partner1", account, None, FtpRights(**rights), ())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    return Admission(DoorLimits(2, 5), Throttle(LoginLimits(address_failures=1), clock), clock)


def test_connections_at_a_time(admission: Admission) -> None:
    assert [admission.connect(HERE) for _connection in range(3)] == [True, True, False]
    assert admission.connect("192.0.2.2")
    admission.disconnect("::ffff:192.0.2.1")
    assert admission.connect(HERE)


def test_connections_in_a_minute(admission: Admission, clock: Clock) -> None:
    for _connection in range(5):
        assert admission.connect(HERE)
        admission.disconnect(HERE)
    assert not admission.connect(HERE)
    clock.now = 60
    assert admission.connect(HERE)


def test_banned_addresses_stay_outside(clock: Clock) -> None:
    throttle = Throttle(LoginLimits(address_failures=1), clock)
    admission = Admission(DoorLimits(), throttle, clock)
    throttle.fail("u", HERE)
    assert not admission.connect(HERE)


@pytest.mark.parametrize(
    ("rights", "address", "encrypted", "admitted"),
    [
        ({}, HERE, False, True),
        ({"active": False}, HERE, True, False),
        ({"requires_tls": True}, HERE, False, False),
        ({"requires_tls": True}, HERE, True, True),
        ({"networks": ("192.0.2.0/24",)}, HERE, False, True),
        ({"networks": ("192.0.2.0/24",)}, "::ffff:192.0.2.9", False, True),
        ({"networks": ("192.0.2.0/24", "2001:db8::/32")}, "2001:db8::1%eth0", False, True),
        ({"networks": ("192.0.2.0/24",)}, "198.51.100.1", False, False),
        ({"networks": ("192.0.2.0/24",)}, "2001:db8::1", False, False),
    ],
)
def test_what_keeps_a_user_outside(rights: dict[str, Any], address: str, encrypted: bool, admitted: bool) -> None:
    assert (refuse(user_with(**rights), address, encrypted=encrypted) is None) == admitted


def test_a_closed_account_keeps_its_users_outside(admission: Admission) -> None:
    user = user_with()
    suspended = replace(user, account=replace(user.account, state="suspended"))
    assert admission.enter(suspended, HERE, encrypted=True) is not None
    assert admission.sessions() == set()


def test_sessions_of_a_user(admission: Admission) -> None:
    user = user_with(max_sessions=1)
    assert admission.enter(user, HERE, encrypted=False) is None
    assert admission.enter(user, HERE, encrypted=False) == "Too many sessions of this user."
    assert set(admission.take_logins()) == admission.sessions() == {1}
    admission.leave(user.id)
    assert (admission.take_logins(), admission.sessions()) == ({}, set())
    assert admission.enter(user, HERE, encrypted=False) is None


def test_who_is_changed_or_gone_is_told_from_who_is_not(admission: Admission) -> None:
    user = user_with()
    admission.enter(user, HERE, encrypted=False)
    admission.refresh({1}, {1: user})
    assert admission.is_current(user)
    admission.refresh({1}, {1: user_with(may_read=False)})
    assert not admission.is_current(user)
    admission.refresh({1}, {})
    assert not admission.is_current(user)
    admission.leave(user.id)
    admission.enter(user, HERE, encrypted=False)
    assert admission.is_current(user)


def test_one_limiter_for_all_transfers_of_a_user(admission: Admission) -> None:
    assert admission.limiter(user_with()) is None
    slow = user_with(bytes_per_second=2048)
    admission.enter(slow, HERE, encrypted=False)
    assert admission.limiter(slow) is admission.limiter(slow)
    faster = admission.limiter(user_with(bytes_per_second=4096))
    assert faster is not None
    assert faster.rate == 4096


def test_a_limiter_spreads_bytes_over_time(clock: Clock) -> None:
    limiter = RateLimiter(1000, clock)
    assert limiter.reserve(100) == 0
    assert limiter.reserve(900) == pytest.approx(1.0)
    clock.now = 10
    assert limiter.reserve(100) == 0


def test_counts_are_right_from_many_threads() -> None:
    admission = Admission(DoorLimits(10**6, 10**6), Throttle(LoginLimits()))
    user = user_with(max_sessions=10)

    def come_and_go(_number: int) -> bool:
        admission.connect(HERE)
        entered = admission.enter(user, HERE, encrypted=True) is None
        if entered:
            admission.leave(user.id)
        admission.disconnect(HERE)
        return entered

    with ThreadPoolExecutor(8) as pool:
        assert any(pool.map(come_and_go, range(2000)))
    assert admission.sessions() == set()
    assert [admission.enter(user, HERE, encrypted=True) for _session in range(10)] == [None] * 10
