"""Several rows of a file about one person, in any spelling: the agreed one counts, and an unsubscription always does.

A model of a few lines says what the import has to do; chunks are made small, so that rows meet within them and
across their borders.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from csv_corpus import Audience, open_audience
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from exchange.profiles import Duplicates, Profile
from jobs import imports

SPELLINGS = {
    "ann@example.com": "ann@example.com",
    " ANN@Example.COM ": "ann@example.com",
    "bob@münchen.example": "bob@münchen.example",
    "BOB@xn--mnchen-3ya.EXAMPLE": "bob@münchen.example",
    "bob@mu\u0308nchen.example": "bob@münchen.example",
    "zoë@example.com": "zoë@example.com",
    "ZOË@EXAMPLE.com": "zoë@example.com",
    "zoe\u0308@example.com": "zoë@example.com",
    "ann+tag@example.com": "ann+tag@example.com",
}
KNOWN = {"ann@example.com": "subscribed", "bob@münchen.example": "unsubscribed"}


class Line(NamedTuple):
    """A row of the file."""

    spelling: str
    name: str
    city: str
    wish: str


def expect(rule: Duplicates, lines: list[Line]) -> tuple[dict[str, tuple[dict[str, str], str]], list[int]]:
    """Say who is there afterwards, with fields and status, and which lines of the file are left out."""
    people = {who: ({"1": "old", "3": "old"}, status) for who, status in KNOWN.items()}
    met, left_out = set(), []
    for number, line in enumerate(lines, 2):
        who = SPELLINGS[line.spelling]
        if rule != "last" and who in met and line.wish != "0":
            left_out.append(number)
            continue
        met.add(who)
        fields, status = people.get(who, ({}, "subscribed"))
        given = {number: cell for number, cell in (("1", line.name), ("3", line.city)) if cell}
        people[who] = (fields | given, "unsubscribed" if line.wish == "0" else status)
    return people, left_out


LINES = st.builds(
    Line,
    spelling=st.sampled_from(sorted(SPELLINGS)),
    name=st.sampled_from(["", "x", "y"]),
    city=st.sampled_from(["", "Rome", "Milan"]),
    wish=st.sampled_from(["1", "1", "", "0"]),
)
FILES: dict[str, Any] = {
    "rule": st.sampled_from(["last", "first", "refuse"]),
    "lines": st.lists(LINES, min_size=1, max_size=9),
    "chunk": st.sampled_from([1, 2, 3, 2_500]),
}


@pytest.fixture
def audience(database_url: str, tmp_path: Path) -> Iterator[Audience]:
    with open_audience(database_url, tmp_path) as audience:
        yield audience


def check(audience: Audience, directory: Path, rule: Duplicates, lines: list[Line], chunk: int) -> None:
    """Import a file of these rows and compare everybody with what the model says."""
    audience.clear()
    audience.add_people(
        [
            {"email": who, "fields": {"1": "old", "3": "old"}, "statuses": {"1:email": status}}
            for who, status in KNOWN.items()
        ]
    )
    content = "\n".join(["email;1;3;status", *(";".join(line) for line in lines), ""]).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imports, "CHUNK_ROWS", chunk)
        patch.setattr(imports, "SQLITE_CHUNK_ROWS", chunk)
        result = audience.import_bytes(content, Profile(duplicates=rule), directory / "people.csv")
    people, left_out = expect(rule, lines)
    assert {
        person["email"]: (person["fields"], person["statuses"]["1:email"]) for person in _filled(audience)
    } == people
    assert [(line, code) for line, code, _ in audience.errors(result.id)] == [(line, "duplicate") for line in left_out]
    kind = "refused" if rule == "refuse" else "noted"
    assert result.counters[kind] == ({"duplicate": len(left_out)} if left_out else {})
    assert result.counters["total"] == len(lines)


def _filled(audience: Audience) -> list[dict[str, Any]]:
    return [{"fields": {}, **person} for person in audience.people()]


ANN = "ann@example.com"


@example(
    rule="first", lines=[Line(ANN, "x", "", "1"), Line(ANN, "y", "Rome", "0"), Line(ANN, "", "Milan", "1")], chunk=1
)
@example(rule="refuse", lines=[Line(name, "x", "", "") for name in SPELLINGS], chunk=2)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(**FILES)
def test_the_agreed_row_counts(
    audience: Audience, tmp_path: Path, rule: Duplicates, lines: list[Line], chunk: int
) -> None:
    check(audience, tmp_path, rule, lines, chunk)


@pytest.mark.torture
@settings(max_examples=3_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(**FILES)
def test_the_agreed_row_counts_at_length(
    audience: Audience, tmp_path: Path, rule: Duplicates, lines: list[Line], chunk: int
) -> None:
    check(audience, tmp_path, rule, lines, chunk)
