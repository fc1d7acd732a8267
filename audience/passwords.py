"""Passwords are kept as Argon2id hashes; checking one takes tens of milliseconds of processor time on purpose."""

from __future__ import annotations

from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_hasher = PasswordHasher()


def hash_password(password: str) -> str:
    """Return the Argon2id hash of a password in its encoded form (RFC 9106 parameters of the library)."""
    return _hasher.hash(password)


def verify_password(password_hash: str | None, password: str) -> bool:
    """Tell whether a password fits; an unknown user (hash None) takes the same time as a wrong password."""
    try:
        matches = _hasher.verify(password_hash or _decoy_hash(), password)
    except (VerificationError, InvalidHashError):
        return False
    return matches and password_hash is not None


@cache
def _decoy_hash() -> str:
    return _hasher.hash("nobody has this password")
