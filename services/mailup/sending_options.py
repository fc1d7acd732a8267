"""Options of sendings, by e-mail and by SMS: who gets it, from whom, and when (specification §1.3.2 and §1.3.5).

Keys are found in any case and unknown ones are ignored; `;` and `,` both separate (§9, no. 15).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from audience.addresses import normalise_email
from audience.errors import InvalidAddress, InvalidSetting
from audience.list_settings import parse_setting
from audience.lists import fields_of
from delivery.sendings import Sender, Target
from jobs.local_times import first_instant
from services.mailup.keyed_operations import option_pairs
from services.mailup.keyed_results import INVALID_OPTION, Failure
from services.mailup.message_content import read_flag

Options = Mapping[str, str]
"""Values by key in lower case."""

_SEPARATORS = re.compile("[;,]")
_FIELD = re.compile(r"campo([1-9][0-9]{0,8})", re.ASCII)
_MOMENT = re.compile(r"[0-9]{14}", re.ASCII)
_MATCHES: Mapping[str, Any] = {"": "all", "AND": "all", "OR": "any"}


def read_options(options: Iterable[Any] | None) -> Options:
    """Return options by their keys; of those that are there twice the last counts."""
    return {key.lower(): value for key, value in option_pairs(options)}


def read_target(options: Options, read_address: Callable[[str], str]) -> Target:
    """Return who is to get a sending.

    Args:
        options: `send_to` (which must be there), `recipients`, `exclude`, `filters`, `filters_as`.
        read_address: returns an address as it is kept, or raises InvalidAddress.

    Raises:
        Failure: an option is missing or cannot have its value.
    """
    to, given = options.get("send_to", "").strip().upper(), options.get("recipients", "")
    if to not in ("ALL", "RECIPIENTS", "GROUPS"):
        raise Failure(INVALID_OPTION, "send_to: It is ALL, RECIPIENTS or GROUPS.")
    matches = options.get("filters_as", "").strip().upper()
    if matches not in _MATCHES:
        raise Failure(INVALID_OPTION, "filters_as: It is AND or OR.")
    limits: dict[str, Any] = {
        "exclude_groups": _read_numbers("exclude", options.get("exclude", "")),
        "filters": _read_numbers("filters", options.get("filters", "")),
        "filters_match": _MATCHES[matches],
    }
    if to == "RECIPIENTS":
        addresses = dict.fromkeys(filter(None, _read_addresses(given, read_address)))
        return Target(to="addresses", addresses=tuple(addresses), **limits)
    if to == "GROUPS":
        return Target(to="groups", groups=_read_numbers("recipients", given), **limits)
    return Target(**limits)


def read_values(options: Options, names: Mapping[int, str]) -> dict[str, dict[str, str]]:
    """Return values for single recipients of an e-mail, by address and by name; empty when there are none.

    Some programs send `campo1` and so on, whose values, separated by `;`, stand in the order of `recipients`. A value
    that is missing is an empty one.

    Args:
        options: as for `read_target`.
        names: of the account's fields, by their numbers: values are known by these names, too.

    Raises:
        Failure: there are more values than recipients.
    """
    columns = {int(found[1]): value for key, value in options.items() if (found := _FIELD.fullmatch(key))}
    if not columns or options.get("send_to", "").strip().upper() != "RECIPIENTS":
        return {}
    addresses = _read_addresses(options.get("recipients", ""), normalise_email)
    values: dict[str, dict[str, str]] = {address: {} for address in addresses if address}
    for number, column in columns.items():
        texts = [text.strip() for text in column.split(";")]
        if any(texts[len(addresses) :]):
            raise Failure(INVALID_OPTION, f"campo{number}: It has more values than there are recipients.")
        # Everybody has a value under the same names, for each set of names is a message of its own.
        for address, text in zip_longest(addresses, texts[: len(addresses)], fillvalue=""):
            if address:
                values[address] |= name_value(number, text, names)
    return values


def read_own_values(options: Options, names: Mapping[int, str]) -> dict[str, str]:
    """Return values for the one recipient of a message, by name; see `read_values`."""
    values: dict[str, str] = {}
    for key, value in options.items():
        if found := _FIELD.fullmatch(key):
            values |= name_value(int(found[1]), value, names)
    return values


def name_value(number: int, value: str, names: Mapping[int, str]) -> dict[str, str]:
    """Return a field's value under each name by which messages may have it."""
    named = {f"campo{number}": value}
    return named | {names[number]: value} if number in names else named


def read_sender(options: Options) -> Sender:
    """Return whom an e-mail comes from: `from_email` and `from_name`; what is empty is the list's own.

    Raises:
        Failure: an option cannot have its value.
    """
    return Sender(
        email=_read_setting(options, "from_email", "sender_email"),
        name=_read_setting(options, "from_name", "sender_name"),
    )


def read_start(options: Options, zone: ZoneInfo) -> datetime | None:
    """Return when a sending begins (`deliverydt`); None, when it is not there or empty, for at once.

    Raises:
        Failure: it is no date and time.
    """
    text = options.get("deliverydt", "").strip()
    if not text:
        return None
    try:
        return read_moment(text, zone)
    except ValueError as error:
        raise Failure(INVALID_OPTION, f"deliverydt: {error}") from None


def read_moment(text: str, zone: ZoneInfo) -> datetime:
    """Return the instant, in UTC, that `yyyyMMddHHmmss` means on a clock in a time zone; see `jobs.local_times`.

    Raises:
        ValueError: the text has another form, or there is no such date and time.
    """
    reason = "It is a date and time in the form yyyyMMddHHmmss."
    if not _MOMENT.fullmatch(text):
        raise ValueError(reason)
    try:
        return first_instant(datetime.strptime(text, "%Y%m%d%H%M%S"), zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(reason) from None


def clears_statistics(options: Options) -> bool:
    """Tell whether earlier sendings are to be left out of reports (`clear_stats`).

    Raises:
        Failure: it is neither true nor false.
    """
    return read_flag("clear_stats", options.get("clear_stats", ""))


def find_names(connection: Connection, account_id: int, options: Options) -> dict[int, str]:
    """Return the names of an account's fields by number, if there are values for any."""
    return fields_of(connection, account_id) if any(map(_FIELD.fullmatch, options)) else {}


def _read_setting(options: Options, key: str, setting: str) -> str:
    try:
        value: str = parse_setting(setting, options.get(key, ""))
    except InvalidSetting as error:
        raise Failure(INVALID_OPTION, f"{key}: {error.reason}") from None
    return value


def _read_addresses(given: str, read_address: Callable[[str], str]) -> list[str]:
    """Return addresses in their places, with empty texts where there is none."""
    addresses = []
    for place, text in enumerate(_SEPARATORS.split(given), start=1):
        try:
            addresses.append(read_address(text) if text.strip() else "")
        except InvalidAddress as error:
            # Which one, and not the address itself: descriptions of errors end in logs of programs.
            raise Failure(INVALID_OPTION, f"recipients: No. {place}: {error}") from None
    return addresses


def _read_numbers(key: str, given: str) -> tuple[int, ...]:
    texts = [text.strip() for text in _SEPARATORS.split(given) if text.strip()]
    if not all(text.isascii() and text.isdigit() and len(text) <= 9 for text in texts):
        raise Failure(INVALID_OPTION, f"{key}: It is numbers separated by semicolons.")
    return tuple(dict.fromkeys(map(int, texts)))
