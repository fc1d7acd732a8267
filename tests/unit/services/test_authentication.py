"""Right passwords are remembered for a short time, wrong ones never."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from audience.passwords import hash_password
from services.mailup.authentication import (
    CHECK_PLACES,
    CHECKS,
    REMEMBER_MOST,
    REMEMBER_SECONDS,
    WAITING,
    PasswordMemory,
)
from services.throttle import NoPlace


class _Checks:
    """A password check that is right for one password and keeps count."""

    def __init__(self) -> None:
        self.done = 0

    def __call__(self, _password_hash: str, password: str) -> bool:
        self.done += 1
        return password == "secret"


def test_checks_real_hashes() -> None:
    stored = hash_password("secret")
    memory = PasswordMemory()
    assert not memory.verify("a1", "wrong", stored)
    assert memory.verify("a1", "secret", stored)
    assert memory.verify("a1", "secret", stored)
    assert not memory.verify("a1", "wrong", stored)


def test_remembers_right_passwords_for_a_minute() -> None:
    now = 0.0
    checks = _Checks()
    memory = PasswordMemory(checks, lambda: now)
    assert memory.verify("a1", "secret", "hash") and memory.verify("a1", "secret", "hash")
    assert checks.done == 1
    now = REMEMBER_SECONDS
    assert memory.verify("a1", "secret", "hash")
    assert checks.done == 2


def test_never_remembers_anything_else() -> None:
    checks = _Checks()
    memory = PasswordMemory(checks)
    assert memory.verify("a1", "secret", "hash")
    for user, password, password_hash in (("a2", "secret", "hash"), ("a1", "secret", "new"), ("a1", "no", "hash")):
        before = checks.done
        assert memory.verify(user, password, password_hash) == (password == "secret")
        assert checks.done == before + 1
    assert not memory.verify("a1", "no", "hash")
    assert checks.done == 5


def test_memory_is_bounded_and_makes_room() -> None:
    now = 0.0
    checks = _Checks()
    memory = PasswordMemory(checks, lambda: now)
    for number in range(REMEMBER_MOST + 1):
        assert memory.verify(f"a{number}", "secret", "hash")
    done = checks.done
    assert memory.verify("a0", "secret", "hash") and checks.done == done
    assert memory.verify(f"a{REMEMBER_MOST}", "secret", "hash") and checks.done == done + 1
    now = REMEMBER_SECONDS
    assert memory.verify("b", "secret", "hash") and memory.verify("b", "secret", "hash")
    assert checks.done == done + 2


def test_does_not_wait_in_a_crowd() -> None:
    checks = _Checks()
    memory = PasswordMemory(checks)
    assert memory.verify("a1", "secret", "hash")
    with ExitStack() as crowd:
        for _ in range(CHECKS + WAITING):
            crowd.enter_context(CHECK_PLACES.take())
        with pytest.raises(NoPlace):
            memory.verify("a2", "secret", "hash")
        assert memory.verify("a1", "secret", "hash")
    assert memory.verify("a2", "secret", "hash")
    assert checks.done == 2


def test_a_lock_made_while_waiting_counts() -> None:
    checks = _Checks()
    memory = PasswordMemory(checks)
    assert not memory.verify("a1", "secret", "hash", lambda: True)
    assert checks.done == 0
    assert memory.verify("a1", "secret", "hash", lambda: False)
