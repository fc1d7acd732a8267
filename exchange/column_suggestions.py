"""What the columns of a file seem to mean: guessed from their names and from what stands in them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from exchange.date_patterns import compile_date_reader
from exchange.profiles import ROLES

_SYNONYMS: tuple[frozenset[str], ...] = tuple(
    frozenset(words.split())
    for words in (
        "email mail emailaddress mailaddress address emailaddr indirizzoemail postaelettronica epost",
        "mobile mobilenumber mobilephone phone phonenumber cell cellphone cellulare msisdn sms mobil",
        "prefix countrycode dialcode prefisso internationalprefix",
        "external externalid id customerid clientid memberid personid customernumber kundnr",
        "list listid listnumber lista",
        "group groupid groupnumber gruppo",
        "groupname segment nomegruppo",
        "status state optin subscribed stato",
        "firstname name givenname nome first fornamn vorname prenom",
        "lastname surname familyname cognome last efternamn nachname nom",
        "company organisation organization azienda foretag firma",
        "city town citta ort stad ville",
        "province state provincia county",
        "zip zipcode postcode postalcode cap plz",
        "region regione",
        "country paese land nation",
        "street streetaddress indirizzo via",
        "fax faxnumber",
        "telephone tel landline telefono",
        "birthday birthdate dateofbirth dob datanascita datadinascita",
    )
)
"""Words for the same thing, as `_simplify` makes them; the first of some are roles."""

_ROLE_NAMES = {role.replace("_", ""): role for role in ROLES}
_LIKE = 0.82
_SHARE = 0.8
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+")
_PHONE = re.compile(r"[+(]{0,2}[0-9][0-9 ()./-]{6,24}")
_DATES = ("yyyy-MM-dd", "dd/MM/yyyy", "MM/dd/yyyy", "dd.MM.yyyy", "dd-MM-yyyy", "yyyyMMdd", "yyyy/MM/dd", "dd/MM/yy")


@dataclass(frozen=True, slots=True)
class Known:
    """What columns of an account can mean."""

    names: Mapping[str, str]
    """Header cells that are understood already, in lower case, and what each means."""
    fields: Mapping[int, str]
    """Names of the fields by number."""
    lists: Collection[int]
    """Numbers of the lists."""


def has_header(first: Sequence[str], rows: Sequence[Sequence[str]], known: Known) -> bool:
    """Tell whether the first record names columns: it says nothing that only a person's data say."""
    cells = [cell.strip() for cell in first]
    if any(_EMAIL.fullmatch(cell) for cell in cells):
        return False
    if any(known.names.get(cell.lower()) for cell in cells):
        return True
    if any(_looks_like_data(cell) for cell in cells):
        return False
    return bool(rows)


def suggest_by_names(
    first: Sequence[str], rows: Sequence[Sequence[str]], known: Known
) -> tuple[dict[str, str], list[str]]:
    """Guess what the header cells mean that are not understood.

    Returns:
        What they stand for, by cell (nothing for those to skip), and remarks for people.
    """
    cells = [cell.strip() for cell in first]
    names = _Names(known)
    taken = {known.names[cell.lower()] for cell in cells if cell.lower() in known.names}
    meanings: dict[str, str] = {}
    remarks = []
    for position, cell in enumerate(cells):
        if cell.lower() in known.names or cell in meanings:
            continue
        meaning, why = names.guess(cell), "by its name"
        if not meaning or meaning in taken:
            meaning, why = suggest_by_content([row[position] for row in rows if position < len(row)], known)
        meanings[cell] = meaning if meaning not in taken else ""
        taken.add(meaning)
        remarks.append(f"Column {position + 1}, {_shorten(cell)}: {_describe(meanings[cell], why, known)}")
    return meanings, remarks


def suggest_by_positions(rows: Sequence[Sequence[str]], known: Known) -> tuple[tuple[str, ...], list[str]]:
    """Guess what the columns of a file without header mean, as many as its first row has; empty ones are skipped."""
    columns: list[str] = []
    remarks = []
    for position in range(len(rows[0])):
        meaning, why = suggest_by_content([row[position] for row in rows if position < len(row)], known)
        columns.append(meaning if meaning not in columns else "")
        remarks.append(f"Column {position + 1}: {_describe(columns[-1], why, known)}")
    return tuple(columns), remarks


def suggest_by_content(values: Sequence[str], known: Known) -> tuple[str, str]:
    """Return what a column seems to hold (nothing: no telling), and why."""
    given = [value.strip() for value in values if value.strip()]
    if not given:
        return "", "it is empty"
    if _share(_EMAIL.fullmatch(value) is not None for value in given) >= _SHARE:
        return "email", "it holds e-mail addresses"
    for pattern in _DATES:
        if _share(_is_date(value, pattern) for value in given) >= _SHARE:
            return "", f"it holds dates {pattern}; give the number of their field"
    numbers = {str(number) for number in known.lists}
    if len(given) > 1 and numbers.issuperset(given):
        return "list", "it holds numbers of lists"
    if _share(_is_phone(value) for value in given) >= _SHARE:
        return "mobile", "it holds phone numbers"
    return "", "it was not recognised"


class _Names:
    """The names that columns of an account go by; what is costly about each is done once for all cells."""

    def __init__(self, known: Known) -> None:
        own = {_simplify(name): str(number) for number, name in known.fields.items()} | _ROLE_NAMES
        synonyms = {word: target for words in _SYNONYMS if (target := _find_target(words, own)) for word in words}
        self._targets = synonyms | own
        # The matcher keeps what it has found out about its second text.
        self._matchers = [(SequenceMatcher(None, "", name), target) for name, target in self._targets.items() if name]

    def guess(self, cell: str) -> str:
        """Return the role or field number whose name is most like a header cell, nothing when none is."""
        wanted = _simplify(cell)
        if not wanted:
            return ""
        if wanted in self._targets:
            return self._targets[wanted]
        return max(self._rate(wanted), default=(0.0, ""))[1]

    def _rate(self, wanted: str) -> Iterator[tuple[float, str]]:
        """Yield how much the names are like a text, and what they mean, as far as they are like it at all."""
        for matcher, target in self._matchers:
            matcher.set_seq1(wanted)
            # Upper bounds, each cheaper than the next.
            if matcher.real_quick_ratio() >= _LIKE and matcher.quick_ratio() >= _LIKE:
                ratio = matcher.ratio()
                if ratio >= _LIKE:
                    yield ratio, target


def _find_target(words: Collection[str], targets: Mapping[str, str]) -> str:
    """Return what one of the words means, nothing when none does."""
    return next((target for name, target in targets.items() if name in words), "")


def _simplify(name: str) -> str:
    """Return the letters and digits of a name, without accents and case."""
    plain = unicodedata.normalize("NFKD", name[:100]).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]", "", plain)


def _looks_like_data(cell: str) -> bool:
    return cell.isdigit() or _is_phone(cell) or any(_is_date(cell, pattern) for pattern in _DATES)


def _is_phone(value: str) -> bool:
    return _PHONE.fullmatch(value) is not None and 8 <= sum(map(str.isdigit, value)) <= 15


def _is_date(value: str, pattern: str) -> bool:
    try:
        _READERS[pattern](value)
    except ValueError:
        return False
    return True


def _share(found: Iterable[bool]) -> float:
    marks = list(found)
    return sum(marks) / len(marks)


def _describe(meaning: str, why: str, known: Known) -> str:
    if not meaning:
        return f"skipped, {why}."
    called = f"field {meaning} ({known.fields.get(int(meaning), '')})" if meaning.isdigit() else meaning
    return f"{called}, {why}."


def _shorten(cell: str) -> str:
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in cell[:40])
    return f'"{shown}{"…" if len(cell) > 40 else ""}"'


_READERS = {pattern: compile_date_reader(pattern) for pattern in _DATES}
