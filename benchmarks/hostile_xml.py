"""Measures what each hostile SOAP request costs: time, memory, and what honest callers notice of it.

    python -m benchmarks.hostile_xml [--seconds N] [--only WORD]

Time and memory come from a fresh process for each request, which hands it to the application; the 99th percentile comes
from a running server, where an honest caller is timed while one attacker sends the request over and over.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import io
import logging
import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import quantiles
from typing import Any

import structlog

from audience.accounts import add_account
from audience.lists import add_list
from db.engine import Database
from db.migration import migrate
from jobs.storage import Storage
from services.http.application import HttpOptions, create_application

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from hostile.xml.attacks import (
    COUNTS,
    DOCUMENT_TYPES,
    LENGTHS,
    LISTS,
    NAMESPACE,
    PATH,
    REFERENCES,
    Attack,
    Expected,
    envelope,
)
from hostile.xml.disguises import DISGUISES
from hostile.xml.large_attacks import LARGE_ATTACKS
from web_server import Site, serve_with_granian

MOST_MILLISECONDS, MOST_MEGABYTES, MOST_RATIO = 100, 20, 3
WORTH_SENDING = 2.0
"""Processor milliseconds below which a request is not worth an attacker's while."""
PASSWORD = "benchmark"  # noqa: S105 - of an account that is made for this
ROUNDS = 3
LEAST_CALLS = 20
HONEST = envelope(
    LISTS,
    header=f'<Authentication xmlns="{NAMESPACE}"><User>a1</User><Password>{PASSWORD}</Password></Authentication>',
)

HONEST_CALL = Attack("an-honest-call", lambda: HONEST, Expected(200))
ATTACKS = (HONEST_CALL, *DOCUMENT_TYPES, *REFERENCES, *COUNTS, *LENGTHS, *LARGE_ATTACKS, *DISGUISES)

_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request took: processor milliseconds, the least of some rounds; megabytes at the peak of the first."""

    status: int
    milliseconds: float
    megabytes: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3, help="of load with and without an attacker")
    parser.add_argument("--only", default="", help="a word in the names of the attacks")
    arguments = parser.parse_args()
    attacks = [one for one in ATTACKS if arguments.only in one.name]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as folder:
        _prepare(Path(folder))
        _print_costs(Path(folder), attacks, arguments.seconds)


def _print_costs(folder: Path, attacks: list[Attack], seconds: float) -> None:
    print(f"{'request':32} {'sent kB':>8} {'status':>6} {'ms':>7} {'MB':>6} {'p99 ms':>7} {'idle':>6} {'ratio':>6}")
    missed = []
    with _serve(folder) as site:
        _time_honest(site, 0)
        for attack in attacks:
            cost = _measure_apart(folder, attack)
            line = f"{attack.name:32} {len(attack.build()) / 1000:8,.0f} {cost.status:6}"
            line += f" {cost.milliseconds:7.1f} {cost.megabytes:6.1f}"
            ratio = 0.0
            if cost.milliseconds >= WORTH_SENDING:
                idle = _time_honest(site, seconds)
                with _attacker(site, attack):
                    attacked = _time_honest(site, seconds)
                ratio = attacked / idle
                line += f" {attacked:7.1f} {idle:6.1f} {ratio:6.1f}"
            if cost.milliseconds > MOST_MILLISECONDS or cost.megabytes > MOST_MEGABYTES or ratio > MOST_RATIO:
                missed.append(attack.name)
            print(line, flush=True)
    marks = f"{MOST_MILLISECONDS} ms, {MOST_MEGABYTES} MB, ratio {MOST_RATIO}"
    print(f"\nmarks: {marks}; missed by {', '.join(missed) or 'none'}")


@contextmanager
def _serve(folder: Path) -> Iterator[Site]:
    """Run the server, whose log goes nowhere."""
    output = os.dup(1)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    with serve_with_granian(Database(_url(folder)), Storage(folder, reserve=0)) as (site, _):
        os.dup2(output, 1)
        os.close(output)
        yield site


def _url(folder: Path) -> str:
    return f"sqlite:///{folder}/listbridge.db"


def _prepare(folder: Path) -> None:
    database = Database(_url(folder))
    migrate(database)
    Storage(folder, reserve=0).prepare()
    with database.write() as connection:
        add_list(connection, add_account(connection, 1, password=PASSWORD).id, "News")
    database.close()


def _measure_apart(folder: Path, attack: Attack) -> Cost:
    with _FORK.Pool(1) as pool:
        return pool.apply(_measure, (folder, attack.name))


def _measure(folder: Path, name: str) -> Cost:
    application = create_application(Database(_url(folder)), Storage(folder, reserve=0), HttpOptions())
    attack = _find(name)
    content = attack.build()
    # Both kinds of answer, so that everything is loaded.
    for warm in (HONEST, b"<"):
        _post(application, HONEST_CALL, warm)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _memory("VmRSS")
    times = []
    for number in range(ROUNDS):
        started = time.process_time()
        status = _post(application, attack, content)
        times.append(time.process_time() - started)
        if number == 0:
            peak = _memory("VmHWM") - before
    return Cost(status, min(times) * 1000, peak)


def _find(name: str) -> Attack:
    # The requests are not sent between processes, since what builds them cannot be.
    return next(one for one in ATTACKS if one.name == name)


def _memory(name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def _post(application: Any, attack: Attack, content: bytes) -> int:
    statuses: list[str] = []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": attack.path,
        "CONTENT_TYPE": attack.content_type,
        "CONTENT_LENGTH": str(len(content)),
        "REMOTE_ADDR": "192.0.2.1",
        "wsgi.input": io.BytesIO(content),
        **{f"HTTP_{key.upper().replace('-', '_')}": value for key, value in attack.headers.items()},
    }
    list(application(environ, lambda status, _headers, _error=None: statuses.append(status)))
    return int(statuses[-1][:3])


def _time_honest(site: Site, seconds: float) -> float:
    """Return the 99th percentile of an honest caller's times in milliseconds."""
    times = []
    end = time.monotonic() + seconds
    with closing(HTTPConnection(site.host, site.port, timeout=60)) as connection:
        while (started := time.monotonic()) < end or len(times) < LEAST_CALLS:
            connection.request("POST", PATH, HONEST, {"Content-Type": "text/xml; charset=utf-8"})
            connection.getresponse().read()
            times.append(time.monotonic() - started)
    return quantiles(times, n=100)[98] * 1000


@contextmanager
def _attacker(site: Site, attack: Attack) -> Iterator[None]:
    process = _FORK.Process(target=_attack, args=(site, attack.name), daemon=True)
    process.start()
    time.sleep(1)
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _attack(site: Site, name: str) -> None:
    attack = _find(name)
    content = attack.build()
    while True:
        with closing(HTTPConnection(site.host, site.port, timeout=60)) as connection:
            # What is refused before it was all sent is answered on the spot.
            with suppress(OSError):
                connection.request("POST", attack.path, content, attack.all_headers())
            with suppress(OSError, HTTPException):
                connection.getresponse().read()


if __name__ == "__main__":
    main()
