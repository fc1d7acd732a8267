"""Profiles as TOML files, to be read, changed and kept by people.

Keys are those of `exchange.profiles.Profile`; one that is left out takes its default.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

import orjson
import tomlkit
from pydantic import TypeAdapter, ValidationError

from exchange.errors import InvalidProfile
from exchange.profile_checks import check_profile
from exchange.profiles import Profile
from exchange.transforms import describe_validation

FILE_SIZE = 1 << 20
"""Most bytes of a file; lookup tables may be long."""

KEYS = tuple(item.name for item in fields(Profile))
"""The keys of a profile, in the order in which they are written."""

_PROFILE: TypeAdapter[Profile] = TypeAdapter(Profile)


def read_profile(text: str, defaults: Mapping[str, Any] | None = None) -> Profile:
    """Return the profile that a TOML document tells.

    Args:
        text: the document.
        defaults: values of keys that are not in it, instead of the general ones.

    Raises:
        InvalidProfile: it is no TOML, has a key that is not known, or says what cannot be done.
    """
    try:
        given = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidProfile("file", f"not TOML: {error}") from None
    return make_profile({**(defaults or {}), **given})


def make_profile(given: Mapping[str, Any]) -> Profile:
    """Return the profile that values from outside make.

    Args:
        given: values by key, of JSON's kinds.

    Raises:
        InvalidProfile: a key is not known, or its value cannot be used.
    """
    for key in given:
        if key not in KEYS:
            raise InvalidProfile(key, explain_unknown(key, KEYS))
    if given.get("bundle") is not None and "bundle_place" not in given:
        raise InvalidProfile("bundle", "it needs a bundle_place, this folder's place among its files")
    try:
        profile = _PROFILE.validate_json(orjson.dumps(dict(given)), strict=True)
    except TypeError:
        raise InvalidProfile("file", "it has a value of a kind that no key has") from None
    except ValidationError as error:
        raise InvalidProfile(*describe_validation(error)) from None
    check_profile(profile)
    return profile


def write_profile(profile: Profile, keys: Iterable[str] = KEYS) -> str:
    """Return a TOML document that `read_profile` reads as the same profile.

    Args:
        profile: checked; a key whose value is None is left out.
        keys: those to write.
    """
    values = {key: getattr(profile, key) for key in keys}
    plain = orjson.loads(orjson.dumps({key: value for key, value in values.items() if value is not None}))
    # Whatever stood behind a table would belong to it.
    ordered = sorted(plain.items(), key=lambda item: isinstance(item[1], dict))
    return tomlkit.dumps(dict(ordered))


def changed_keys(profile: Profile) -> tuple[str, ...]:
    """Return the keys whose values are not the defaults."""
    default = Profile()
    return tuple(key for key in KEYS if getattr(profile, key) != getattr(default, key))


def explain_unknown(name: str, known: Iterable[str]) -> str:
    """Return what to say about a name that is not known, with the known one that is nearest to it."""
    near = get_close_matches(name, list(known), n=1)
    return f"it is not known; did you mean {near[0]}?" if near else "it is not known"
