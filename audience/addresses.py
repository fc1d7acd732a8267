"""One spelling per person: normalises e-mail addresses and mobile numbers.

Nearly all addresses are plain ASCII and pass one regular expression; the others take the slow and exact way.
"""

from __future__ import annotations

import re
from functools import lru_cache

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from audience.errors import InvalidAddress

MAX_EMAIL = 254

_LABEL = r"(?!xn--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_PLAIN_EMAIL = re.compile(
    rf"(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+(?!xn--)[a-z][a-z0-9-]{{0,61}}[a-z0-9]"
)
_PUNCTUATION = str.maketrans("", "", " -./()\u00a0")
_INTERNATIONAL = re.compile(r"\+[1-9]\d{5,14}")

is_plain_email = _PLAIN_EMAIL.fullmatch
"""Match an address that is already normalised; None means that `normalise_email` must look closer."""


def normalise_email(address: str) -> str:
    """Return the one spelling under which an address is kept: trimmed, lower case, the domain in Unicode.

    Raises:
        InvalidAddress: it is not an address (RFC 5321, 6531; no quoted local parts, no address literals).
    """
    lowered = address.strip().lower()
    if len(lowered) <= MAX_EMAIL and _PLAIN_EMAIL.fullmatch(lowered):
        return lowered
    try:
        return validate_email(lowered, check_deliverability=False, strict=True).normalized.lower()
    except (EmailNotValidError, UnicodeError):
        raise InvalidAddress("The e-mail address is not well-formed.") from None


def normalise_mobile(number: str, default_prefix: str) -> str:
    """Return a mobile number as `+` and digits (E.164).

    Args:
        number: as typed; `+` or `00` in front mark an international prefix.
        default_prefix: of the list, such as `+39`, for numbers without one.

    Raises:
        InvalidAddress: it is not a telephone number.
    """
    if _INTERNATIONAL.fullmatch(number) and number.isascii():
        return number
    digits = number.translate(_PUNCTUATION)
    if digits.startswith("00"):
        digits = "+" + digits[2:]
    # Old clients write the prefix as +001 for +1.
    if digits.startswith("+0"):
        digits = "+" + digits[1:].lstrip("0")
    if not digits.startswith("+"):
        digits = _complete(digits, default_prefix)
    if not digits.isascii() or not _INTERNATIONAL.fullmatch(digits):
        raise InvalidAddress("The mobile number is not well-formed.")
    return digits


def _complete(digits: str, default_prefix: str) -> str:
    # Whether a leading zero belongs to the number differs between countries; and some write the international
    # prefix with nothing in front of it.
    try:
        national = phonenumbers.parse(digits, _region(default_prefix))
    except phonenumbers.NumberParseException:
        raise InvalidAddress("The mobile number is not well-formed.") from None
    if not phonenumbers.is_valid_number(national) and _is_international(f"+{digits}"):
        return f"+{digits}"
    return phonenumbers.format_number(national, phonenumbers.PhoneNumberFormat.E164)


def _is_international(number: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return False


@lru_cache(maxsize=256)
def _region(prefix: str) -> str | None:
    code = prefix.lstrip("+0")
    return phonenumbers.region_code_for_country_code(int(code)) if code.isdigit() else None
