"""What a profile must be like before it is given to a folder, so that no file fails over it later."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields as fields_of

import orjson
from pydantic import TypeAdapter, ValidationError

from exchange.columns import KEY_ROLES, VALUE_LENGTH, name_roles
from exchange.conversions import compile_converters
from exchange.errors import InvalidProfile
from exchange.file_names import check_pattern
from exchange.profiles import MARKER_SUFFIXES, ROLES, Profile
from exchange.recipient_xml import XmlGrammar
from exchange.trailers import compile_trailer
from exchange.transforms import describe_validation

PERSONAL_ROLES = ("email", "mobile", "number", "external")
"""Roles whose value belongs to one person, hence is no constant."""

_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
_FIELD = re.compile(r"[1-9][0-9]{0,8}")
_DAY_SECONDS = 86_400
_PROFILE: TypeAdapter[Profile] = TypeAdapter(Profile)

Fault = tuple[str, str]
"""Key, and what is wrong with its value."""


def check_profile(profile: Profile) -> None:
    """See whether everything that a profile says can be done.

    Raises:
        InvalidProfile: it cannot; the first fault that was found.
    """
    _check_kinds(profile)
    for check in _CHECKS:
        for key, text in check(profile):
            raise InvalidProfile(key, text)


def is_field(target: str) -> bool:
    """Tell whether a target of values is the number of a field."""
    return _FIELD.fullmatch(target) is not None


def _check_kinds(profile: Profile) -> None:
    """See whether every value is of the kind that its key has."""
    try:
        _PROFILE.validate_json(orjson.dumps(profile.to_dict()), strict=True)
    except TypeError:
        raise InvalidProfile("profile", "it has a value of a kind that no key has") from None
    except ValidationError as error:
        raise InvalidProfile(*describe_validation(error)) from None


def _check_dialect(profile: Profile) -> Iterator[Fault]:
    if profile.separator is not None and not _is_character(profile.separator):
        yield "separator", "expected one character"
    if profile.quote and not _is_character(profile.quote):
        yield "quote", "expected one character, or nothing"
    if profile.quote and profile.quote == profile.separator:
        yield "quote", "it is the separator"


def _check_columns(profile: Profile) -> Iterator[Fault]:
    for name, role in profile.column_names.items():
        if role and role not in ROLES and not is_field(role):
            yield f"column_names.{name}", f"{role!r} is {_NO_TARGET}"
    if profile.header and profile.columns:
        yield "columns", "they are for files without a header (header = false)"
    if not profile.header and profile.format == "csv":
        yield from _check_positions(profile)


def _check_positions(profile: Profile) -> Iterator[Fault]:
    names = name_roles(profile, {})
    roles = [names.get(cell.strip().lower(), cell) for cell in profile.columns]
    given = [role for role in roles if role]
    wanted, called = KEY_ROLES[profile.key]
    if not any(role in wanted for role in given):
        yield "columns", f"none of them holds {called}, and key is {profile.key!r}"
    if repeated := {role for role in given if given.count(role) > 1}:
        yield "columns", f"{min(repeated)} stands there twice"


def _check_status(profile: Profile) -> Iterator[Fault]:
    if profile.subscribed_value == profile.unsubscribed_value:
        yield "unsubscribed_value", "it is the same as subscribed_value"
    if profile.confirm and profile.channels == "sms":
        yield "confirm", "confirmation is asked for by e-mail, and channels is 'sms'"
    if any(number < 1 for number in profile.groups):
        yield "groups", "a number of a group is a positive whole number"


def _check_people(profile: Profile) -> Iterator[Fault]:
    if profile.key == "mobile" and profile.channels == "email":
        yield "key", "people are told by their mobile numbers, and channels is 'email'"
    if profile.mode == "full" and profile.status == "unsubscribed":
        yield "mode", "a full file holds those who are subscribed, and status is 'unsubscribed'"
    if not 0 <= profile.max_missing_percent <= 100:
        yield "max_missing_percent", "expected 0 to 100"


def _check_constants(profile: Profile) -> Iterator[Fault]:
    for target, value in profile.constants.items():
        key = f"constants.{target}"
        if target in PERSONAL_ROLES:
            yield key, "every row would be about the same person"
        elif target not in ROLES and not is_field(target):
            yield key, f"that is {_NO_TARGET}"
        elif not value.isprintable() or value != value.strip() or len(value) > VALUE_LENGTH:
            yield key, f"expected up to {VALUE_LENGTH:,} printable characters, without blanks around them"
        elif target in ("list", "group") and not (value.isascii() and value.isdigit()):
            yield key, "expected a number"


def _check_values(profile: Profile) -> Iterator[Fault]:
    for target in profile.transforms:
        if target not in ROLES and not is_field(target):
            yield f"transforms.{target}", f"that is {_NO_TARGET}"
    for target in profile.checks:
        if not is_field(target):
            yield f"checks.{target}", "that is no number of a field"
    try:
        compile_converters(profile)
    except ValueError as error:
        key, _, text = str(error).partition(": ")
        yield key, text


def _check_pattern(profile: Profile) -> Iterator[Fault]:
    try:
        check_pattern(profile.pattern, profile.match)
    except ValueError as error:
        yield "pattern", str(error)


def _check_times(profile: Profile) -> Iterator[Fault]:
    for key in ("start_at", "wait_until", "expected_by"):
        value = getattr(profile, key)
        if value is not None and not _TIME.fullmatch(value):
            yield key, "expected a time of day HH:MM"
    if profile.bundle is not None and (not profile.bundle.strip() or len(profile.bundle) > 100):
        yield "bundle", "expected a name of up to 100 characters"
    if profile.bundle_place < 1:
        yield "bundle_place", "expected 1 or more"
    for key, value in (("bundle_place", profile.bundle_place != 1), ("wait_until", profile.wait_until is not None)):
        if value and profile.bundle is None:
            yield key, "it needs a bundle"
    if not 0 <= profile.scan_seconds <= _DAY_SECONDS:
        yield "scan_seconds", "expected 0 to 86,400 seconds"
    if not 0 < profile.quiet_seconds <= _DAY_SECONDS:
        yield "quiet_seconds", "expected more than 0 and up to 86,400 seconds"


def _check_completeness(profile: Profile) -> Iterator[Fault]:
    if not profile.marker_suffix or "/" in profile.marker_suffix:
        yield "marker_suffix", "expected the end of a file name"
    try:
        compile_trailer(profile.trailer)
    except ValueError as error:
        yield "trailer", str(error)
    if repeated := {kind for kind in profile.acknowledgements if profile.acknowledgements.count(kind) > 1}:
        yield "acknowledgements", f"{min(repeated)} stands there twice"
    is_taken = profile.completeness == "marker" and profile.marker_suffix in MARKER_SUFFIXES
    if is_taken and "marker" in profile.acknowledgements:
        yield (
            "marker_suffix",
            f"with the acknowledgement 'marker', {' and '.join(MARKER_SUFFIXES)} are the server's own",
        )


def _check_format(profile: Profile) -> Iterator[Fault]:
    words = {item.name for item in fields_of(XmlGrammar)}
    if profile.format == "xml" and set(profile.grammar) != words:
        yield "grammar", f"with format 'xml' it must have {', '.join(sorted(words))}"
    if profile.format == "csv" and profile.grammar:
        yield "grammar", "it is for format 'xml'"
    for key in ("constants", "transforms", "checks"):
        if profile.format == "xml" and getattr(profile, key):
            yield key, "it is for format 'csv'"


def _is_character(text: str) -> bool:
    return len(text) == 1 and text not in "\r\n\0"


_NO_TARGET = f"none of {', '.join(ROLES)} and no number of a field"
_CHECKS: Iterable[Callable[[Profile], Iterator[Fault]]] = (
    _check_format,
    _check_dialect,
    _check_columns,
    _check_status,
    _check_people,
    _check_constants,
    _check_values,
    _check_pattern,
    _check_times,
    _check_completeness,
)
