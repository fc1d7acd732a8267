"""The corpus of CSV files, each imported for real: every one has the result that is written beside it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from csv_corpus import (
    CORPUS,
    EXPECTED_SUFFIX,
    Audience,
    Sample,
    add_trailer,
    complete,
    open_audience,
    read_corpus,
    repair,
    sort_people,
)

from jobs.import_results import ImportResult
from jobs.outcomes import ERRORS_SUFFIX

SAMPLES = read_corpus()


@pytest.fixture(scope="module")
def audience(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audience]:
    directory = tmp_path_factory.mktemp("corpus")
    shutil.copyfile(sqlite_template, directory / "listbridge.db")
    with open_audience(f"sqlite:///{directory}/listbridge.db", directory) as audience:
        yield audience


def check(audience: Audience, sample: Sample, directory: Path) -> None:
    """Import a copy of a file and compare everything with what is expected."""
    expected = sample.expected
    audience.clear()
    audience.add_people(expected.get("before", []))
    result = audience.import_bytes(sample.path.read_bytes(), sample.profile, directory / sample.path.name)
    if "error" in expected:
        assert (result.state, result.error_code) == ("failed", expected["error"])
        assert audience.people() == sort_people([complete(person) for person in expected.get("before", [])])
        return
    assert (result.state, result.error_code) == ("completed", None)
    assert counted(result) == wanted(expected)
    assert [(line, code) for line, code, _ in audience.errors(result.id)] == listed(expected)
    assert audience.people() == sort_people([complete(person) for person in expected["people"]])


def check_return(audience: Audience, sample: Sample, directory: Path) -> None:
    """Send the refused rows of a file that was just imported again: as they are, and repaired."""
    errors = directory / (sample.path.name + ERRORS_SUFFIX)
    codes = [code for _, code in listed(sample.expected)]
    assert errors.exists() == bool(codes)
    if not codes:
        return
    content, profile = errors.read_bytes(), sample.profile
    audience.clear()
    result = audience.import_bytes(add_trailer(content, profile, len(codes)), profile, directory / "again.csv")
    returned = [code for _, code, _ in audience.errors(result.id)]
    # A quotation mark that was never closed is closed when its row comes back, and then the row is wrong otherwise.
    assert [a for a, b in zip(returned, codes, strict=True) if b != "quote"] == [b for b in codes if b != "quote"]
    audience.clear()
    mended = add_trailer(repair(content, profile), profile, len(codes))
    result = audience.import_bytes(mended, profile, directory / "repaired.csv")
    assert counted(result) == {"total": len(codes), "new": len(codes)}


def counted(result: ImportResult) -> dict[str, Any]:
    """Return the counters that an expectation speaks of, those at nought left out."""
    spoken = ("total", "new", "existing", "updated", "unsubscribed", "left_unsubscribed", "mobile_in_use")
    counters = {name: result.counters[name] for name in (*spoken, "refused", "noted")}
    return {name: count for name, count in counters.items() if count}


def wanted(expected: dict[str, Any]) -> dict[str, Any]:
    counters = dict(expected["counters"])
    for kind in ("refused", "noted"):
        if rows := expected.get(kind):
            counters[kind] = dict(Counter(rows.values()))
    return {name: count for name, count in counters.items() if count}


def listed(expected: dict[str, Any]) -> list[tuple[int, str]]:
    rows = {**expected.get("refused", {}), **expected.get("noted", {})}
    return sorted((int(line), code) for line, code in rows.items())


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample.name for sample in SAMPLES])
def test_sample(audience: Audience, sample: Sample, tmp_path: Path) -> None:
    check(audience, sample, tmp_path)
    if "error" not in sample.expected:
        check_return(audience, sample, tmp_path)


@pytest.mark.postgresql
def test_a_tenth_on_postgresql(postgresql_url: str, tmp_path: Path) -> None:
    with open_audience(postgresql_url, tmp_path) as audience:
        for sample in SAMPLES[::10]:
            check(audience, sample, tmp_path)


def test_the_corpus_is_whole() -> None:
    told = {path for path in CORPUS.rglob("*") if path.is_file() and path.name != "README.md"}
    files = {sample.path for sample in SAMPLES}
    assert told == files | {path.with_name(path.name + EXPECTED_SUFFIX) for path in files}
    assert len(files) >= 200
