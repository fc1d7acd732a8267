"""Uploads that end in every way over every door, at random bytes: those that are whole are imported, and once."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from ftp_doors import Office, wait_until
from sftp_doors import open_sftp_office
from upload_endings import Cut, KilledClients, Way, ways

IN_THE_SUITE = 3
IN_THE_TORTURE = 200
LONGEST = 40_000


@pytest.fixture(scope="module")
def killed() -> Iterator[KilledClients]:
    clients = KilledClients()
    yield clients
    clients.close()


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_sftp_office(tmp_path_factory.mktemp("doors"), connections_per_minute=10**6) as office:
        yield office


@pytest.mark.parametrize("count", [IN_THE_SUITE, pytest.param(IN_THE_TORTURE, marks=pytest.mark.torture)])
@pytest.mark.parametrize("door", ["ftp", "ftps", "sftp", "scp"])
def test_no_cut_file_is_imported_and_every_whole_one_once(
    office: Office, killed: KilledClients, door: str, count: int
) -> None:
    generator = random.Random(f"{door}{count}")
    chosen = [way for way in ways(killed) if way.door == door]
    assert len(chosen) == 11
    for way in chosen:
        check(office.with_list(), way, count, generator)


def check(office: Office, way: Way, count: int, generator: random.Random) -> None:
    whole = {}
    contents = {}
    for number in range(count):
        name = f"{number}.csv"
        content = b"email\n" + f"{number}@example.com\n".encode() * generator.randint(2, LONGEST // 15)
        cut = Cut(office, name, content, generator.randint(1, len(content) - 1))
        said = way.end(cut)
        contents[name] = content
        whole[name] = said if way.whole is None else way.whole
        wait_until(office.is_idle)
    imported = office.imports()
    assert [(name, content == contents[name]) for name, content in imported] == [(name, True) for name, _ in imported]
    names = [name for name, _content in imported]
    assert len(set(names)) == len(names)
    assert {name for name in whole if whole[name]} <= set(names)
    if way.whole is not None:
        assert {name for name in whole if whole[name]} == set(names)
