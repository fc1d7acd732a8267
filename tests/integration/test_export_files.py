"""The files of a run: archives, manifests, one file per list, files without rows; and both ways to write rows."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import random
import sys
import zipfile
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from export_world import World, day, make_world
from sqlalchemy import event

from audience.selections import Selection
from audience.status_rules import Status
from audience.unsubscribed import select_unsubscribed
from db import streaming
from db.engine import Database
from exchange.date_patterns import compile_date_pattern
from exchange.export_csv import CsvFormat, CsvWriter
from jobs.export_settings import SPLIT_PATTERN
from jobs.housekeeping import remove_export_leftovers
from jobs.storage import Storage

BARE = {"columns": ("email",), "csv": CsvFormat(header=False), "name_pattern": "{type}.csv"}
SPLIT = {**BARE, "split_by_list": True, "name_pattern": "{type}-{list}.csv"}


@pytest.fixture
def world(database: Database, storage: Storage) -> World:
    made = make_world(database, storage, lists=3)
    with database.write() as connection:
        for number, (name, list_number) in enumerate((("anna", 1), ("bruno", 1), ("carla", 3))):
            person = made.add_person(connection, email=f"{name}@example.com")
            at = day(2) + timedelta(minutes=number)
            left = {"status": Status.UNSUBSCRIBED, "unsubscribed_at": at, "changed_at": at}
            made.subscribe(connection, person, list_number, **left)
    return made


def run(world: World, **settings: Any) -> dict[str, bytes]:
    run_id = world.request(world.add_export("unsubscribers", **settings))
    world.work()
    assert list(world.storage.exports.iterdir()) == []
    return world.files_of(run_id)


def test_files_of_a_run(world: World) -> None:
    ab, c = b"anna@example.com\r\nbruno@example.com\r\n", b"carla@example.com\r\n"
    assert run(world, **SPLIT) == {"unsubscribers-1.csv": ab, "unsubscribers-2.csv": b"", "unsubscribers-3.csv": c}
    few = {**SPLIT, "folder": "export/few", "empty": "skip", "exclude_lists": (3,)}
    assert run(world, **few) == {"unsubscribers-1.csv": ab}
    assert run(world, **{**few, "lists": (2,), "manifest": True}) == {}
    assert run(world, **{**BARE, "folder": "export/none", "lists": (2,), "empty": "skip"}) == {}
    ((name, content),) = run(world, **{**BARE, "folder": "export/zip", "zip": True}).items()
    assert name == "unsubscribers.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert [(one.filename, archive.read(one)) for one in archive.infolist()] == [("unsubscribers.csv", ab + c)]


def test_manifests_tell_of_all_files(world: World) -> None:
    folder = world.storage.prepare_home(7) / "export"
    # Taken by the partner's own files.
    for name in ("unsubscribers-3.csv", "unsubscribers-all.csv.json"):
        (folder / name).write_text("own")
    files = run(world, **SPLIT, manifest=True)
    names = ["unsubscribers-1.csv", "unsubscribers-2.csv", "unsubscribers-3-1.csv"]
    assert list(files) == [*names, "unsubscribers-all.csv.sha256", "unsubscribers-all.csv-1.json"]
    digests = [hashlib.sha256(files[name]).hexdigest() for name in names]
    sums = "".join(f"{digest}  {name}\n" for digest, name in zip(digests, names, strict=True))
    assert files["unsubscribers-all.csv.sha256"].decode() == sums
    told = json.loads(files["unsubscribers-all.csv-1.json"])
    assert (told["rows"], told["bytes"]) == (3, sum(len(files[name]) for name in names))
    assert [(one["name"], one["list"], one["rows"]) for one in told["files"]] == [
        (names[0], 1, 2), (names[1], 2, 0), (names[2], 3, 1),
    ]  # fmt: skip


STEPS = frozenset({"open", "os.rename", "os.link", "os.remove"})


def die_at_step(url: str, world: World, last: int) -> None:
    steps = itertools.count(1)

    def step(*_event: object) -> None:
        if next(steps) == last:
            os._exit(9)

    world.database = Database(url)
    with world.database.read():
        pass
    event.listen(world.database.engine, "commit", step)
    sys.addaudithook(lambda name, _arguments: step() if name in STEPS else None)
    world.work()
    os._exit(0)


def test_a_death_at_any_step_gives_the_set_once(database: Database, database_url: str, world: World) -> None:
    # The short form looks at some steps, another time at others.
    for step in sorted(random.sample(range(1, 60), 8)):
        folder = f"export/{step}"
        export_id = world.add_export("unsubscribers", **{**SPLIT, "manifest": True, "folder": folder})
        run_id = world.request(export_id)
        database.close()
        child = os.fork()
        if child == 0:
            try:
                die_at_step(database_url, world, step)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in (0, 9)
        home = world.storage.home(7) / folder
        seen = {path.name for path in home.iterdir()} if home.exists() else set()
        if "unsubscribers-all.csv.json" in seen:
            assert len(seen) == 5
        world.work()
        assert world.files_of(run_id).keys() == {path.name for path in home.iterdir()}
        assert len(world.files_of(run_id)) == 5
        remove_export_leftovers(database, world.storage)
        assert list(world.storage.exports.iterdir()) == []


def test_facts_of_an_attempt_before_do_not_count(world: World) -> None:
    for number, settings in enumerate(({**BARE, "lists": (2,), "empty": "skip", "manifest": True}, BARE)):
        run_id = world.request(world.add_export("unsubscribers", **{**settings, "folder": f"export/{number}"}))
        fact = {"list": None, "rows": 1, "size": 1, "sha256": "0" * 64}
        (world.storage.exports / f"{run_id}.facts").write_text(json.dumps([fact]))
        world.work()
        assert list(world.files_of(run_id)) == ([], ["unsubscribers.csv"])[number]


def test_a_split_needs_the_list_in_the_name(world: World) -> None:
    with pytest.raises(ValueError, match=r"the file name needs \{list\}"):
        world.add_export("unsubscribers", split_by_list=True)
    world.add_export("unsubscribers", split_by_list=True, name_pattern=SPLIT_PATTERN)


CELLS = (
    "",
    " ",
    "a;b",
    'c"d',
    "it's",
    "e\nf",
    "g\rh",
    "i\r\nj",
    "=1+1",
    "+39",
    "-1",
    "@x",
    "\tx",
    "\\.",
    "é€→",
    "a,b|c",
)


@pytest.mark.parametrize("defuse_formulas", [False, True])
def test_both_ways_give_the_same_bytes(database: Database, storage: Storage, defuse_formulas: bool) -> None:
    world = make_world(database, storage, 8, lists=1)
    chance = random.Random(5)
    with database.write() as connection:
        for number in range(60):
            fields = {str(n): chance.choice(CELLS) for n in range(1, 4)}
            person = world.add_person(connection, email=f"p{number}@example.com", fields=fields)
            at = day(1) + timedelta(days=chance.randrange(300), seconds=chance.randrange(86400), microseconds=7)
            left = {"status": Status.UNSUBSCRIBED, "unsubscribed_at": at, "subscribed_at": None}
            world.subscribe(connection, person, 1, **left)
    columns = ("field:1", "unsubscribed_at", "subscribed_at", "field:2", "list", "message", "field:3")
    for separator, quote, encoding, zone in (
        (";", '"', "utf-8", "Europe/Rome"), (",", "'", "cp1252", "Asia/Kolkata"), ("\t", '"', "utf-8-sig", "UTC"),
    ):  # fmt: skip
        csv_format = CsvFormat(
            separator=separator, quote=quote, encoding=encoding, time_zone=zone, defuse_formulas=defuse_formulas,
            date_format='yyyy-MM-dd"T"HH:mm:ss\'%',
        )  # fmt: skip
        selected = select_unsubscribed(Selection(account_id=world.account.id), columns)
        query = streaming.shape_text(selected, csv_format.defused)
        contents = [write(database, query, csv_format, copy=copy) for copy in (False, True)]
        assert contents[0] == contents[1]
        if not defuse_formulas:
            continue
        assert "\n=1+1" not in contents[0].decode(encoding)


def write(database: Database, query: Any, csv_format: CsvFormat, *, copy: bool) -> bytes:
    out = io.BytesIO()
    writer = CsvWriter(out, csv_format, streaming.date_positions(query))
    with database.read() as connection:
        streaming.begin_reading(connection)
        can_copy = streaming.can_copy(connection, query, csv_format.time_zone)
        assert can_copy == (not database.is_sqlite)
        if copy and can_copy:
            form = compile_date_pattern(csv_format.date_format)
            line_format = streaming.LineFormat(
                separator=csv_format.separator,
                quote=csv_format.quote,
                date_format=form,
                time_zone=csv_format.time_zone,
            )
            for lines in streaming.copy_lines(connection, query, line_format):
                writer.write_lines(lines)
        else:
            for rows in streaming.read_batches(connection, query):
                writer.write_batch(rows)
    writer.close()
    assert writer.rows == 60
    return out.getvalue()


def test_who_stops_a_copy_early_can_go_on(database: Database, world: World) -> None:
    query = select_unsubscribed(Selection(account_id=world.account.id), ("email", "list"))
    line_format = streaming.LineFormat(separator=";", quote='"', date_format="%Y", time_zone="UTC")
    if database.is_sqlite:
        pytest.skip("there is no COPY")
    with (
        pytest.raises(KeyError),
        database.read() as connection,
        closing(streaming.copy_lines(connection, query, line_format)) as lines,
    ):
        raise KeyError(next(lines))
    with database.read() as connection:
        assert connection.execute(query).all()
