"""What the less common commands of FTP mean: times and ranges in their arguments, and hashing."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path

from ftp_server.names import Refused

_QUOTED = re.compile(r'"((?:[^"]|"")+)"((?: \d{1,18}){0,2})')
_PLAIN = re.compile(r"(.+?)((?: \d{1,18}){0,2})")
_BLOCK = 1024 * 1024


def parse_range(line: str) -> tuple[str, int, int | None]:
    """Return the path, the first byte and the byte after the last one (None: to the end) that XSHA256 names.

    A path that ends with a number stands in quotation marks, inside which such a mark is doubled.

    Raises:
        Refused: 501.
    """
    quoted = _QUOTED.fullmatch(line)
    found = quoted or _PLAIN.fullmatch(line)
    if found is None:
        raise Refused('501 The syntax is: XSHA256 "path" [start [end]].')
    path = found[1].replace('""', '"') if quoted else found[1]
    numbers = [int(number) for number in found[2].split()]
    return path, numbers[0] if numbers else 0, numbers[1] if len(numbers) > 1 else None


def parse_time(text: str) -> datetime:
    """Return the instant that `YYYYMMDDHHMMSS[.sss]` names, in UTC (RFC 3659 section 2.3); fractions do not count.

    Raises:
        Refused: 501.
    """
    digits, _point, fraction = text.partition(".")
    try:
        if not (len(digits) == 14 and digits.isascii() and digits.isdigit() and (not fraction or fraction.isdigit())):
            raise ValueError
        return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        raise Refused("501 The time is written YYYYMMDDHHMMSS.") from None


def hash_range(path: Path, start: int, end: int | None) -> str:
    """Return the SHA-256 of some bytes of a file in hexadecimal digits. Slow; not for the FTP loop.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        left = end - start if end is not None else None
        while left is None or left > 0:
            block = file.read(_BLOCK if left is None else min(_BLOCK, left))
            if not block:
                break
            digest.update(block)
            left = None if left is None else left - len(block)
    return digest.hexdigest()
