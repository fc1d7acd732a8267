"""Measures SOAP calls beside other servers with the same contract, then a real operation with its database.

    python -m benchmarks.soap_calls [--seconds 5] [--rounds 3] [--only ours,node,...] [--skip-real]

Every server, with all of its processes, is pinned to one core and wrk, with 8 connections, to another. First
each server's answers are checked and it is warmed up; then all are measured in turn, round by round. Shown are
medians, and medians of each round's ratios: of requests per second, and of requests per second of processor time,
which say the same when the machine has nothing else to do and are the fairer figures when it has.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median

from benchmarks.soap_lists import measure_lists
from benchmarks.soap_peers.load import Figures, send_load
from benchmarks.soap_peers.messages import PATH, check_server, name_call, rows_call
from benchmarks.soap_peers.peers import OURS, PEERS, Build, Peer, build_ours
from benchmarks.soap_peers.processes import Server, free_port, run_server

CLIENTS = 8
SERVER_CORE, LOAD_CORE = 0, 1
SCALE_GOAL = 1.6
CALLS = {"Name": name_call(), "ListRows": rows_call()}

Key = tuple[str, str]
"""Names of a server and a call."""
Results = dict[Key, list[Figures]]
Rates = Mapping[Key, Sequence[float]]
"""The figures of the rounds, in order."""


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5, help="of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(peer.name for peer in PEERS), help="servers, parted by commas")
    parser.add_argument("--skip-real", action="store_true", help="leave out the operation with a database")
    options = parser.parse_args()
    if shutil.which("wrk") is None or shutil.which("taskset") is None:
        raise SystemExit("wrk and taskset are needed: apt install wrk util-linux")
    peers = _select(options.only.split(","))
    with tempfile.TemporaryDirectory(prefix="listbridge-benchmark-") as directory:
        _compare_peers(peers, Path(directory), options.seconds, options.rounds)
        if OURS in peers:
            _measure_scaling(Path(directory), options.seconds, options.rounds)
        if not options.skip_real:
            measure_lists(Path(directory), options.seconds, options.rounds)


def _select(names: Sequence[str]) -> list[Peer]:
    unknown = set(names) - {peer.name for peer in PEERS}
    if unknown:
        raise SystemExit(f"Unknown servers: {', '.join(sorted(unknown))}.")
    selected = []
    for peer in PEERS:
        missing = peer.missing()
        if peer.name in names and missing:
            print(f"{peer.title} is left out: {', '.join(missing)} not found; {peer.install}")
        elif peer.name in names:
            selected.append(peer)
    return selected


def _compare_peers(peers: Sequence[Peer], directory: Path, seconds: int, rounds: int) -> None:
    with ExitStack() as stack:
        servers = {peer.name: _start(stack, peer.build, directory / peer.name, SERVER_CORE) for peer in peers}
        results = _measure(servers, seconds, rounds, LOAD_CORE)
        memory = {name: server.memory() for name, server in servers.items()}
    _print_table("requests per second of processor time", peers, _rates(results, "rate_per_core"), memory)
    _print_table("requests per second", peers, _rates(results, "rate"), memory)


def _start(stack: ExitStack, build: Build, folder: Path, core: int | None = None) -> Server:
    """Start a server and check its answers."""
    folder.mkdir()
    port = free_port()
    try:
        server = stack.enter_context(run_server(build(folder, port), port, folder / "log", core))
        check_server(port)
    except (RuntimeError, ValueError) as error:
        raise SystemExit(f"{folder.name}: {error}") from error
    return server


def _measure(servers: Mapping[str, Server], seconds: int, rounds: int, core: int | None = None) -> Results:
    """Warm every server up for twice the time, then measure all in turn."""
    results: Results = defaultdict(list)
    for number in range(rounds + 1):
        for (name, server), (call, message) in product(servers.items(), CALLS.items()):
            duration = seconds if number else 2 * seconds
            figures = send_load(server, PATH, message, seconds=duration, clients=CLIENTS, core=core)
            if number:
                results[name, call].append(figures)
    return results


def _print_table(title: str, peers: Iterable[Peer], rates: Rates, memory: Mapping[str, float]) -> None:
    heading = f"{'Name':>8} {'ours ÷':>7} {'goal':>5} {'ListRows':>9} {'ours ÷':>7} {'goal':>5} {'MB':>5}"
    print(f"\n{title + ', one core':46} {heading}")
    for peer in peers:
        print(f"{peer.title:46}", end="")
        for call, goal, width in zip(CALLS, peer.goals, (9, 10), strict=True):
            ratio = _ratio(rates, (OURS.name, call), (peer.name, call)) if peer is not OURS else None
            print(f"{median(rates[peer.name, call]):{width},.0f}", end="")
            print(f" {f'{ratio:.2f}' if ratio else '':>7} {f'{goal:g}' if goal else '':>5}", end="")
        print(f"{memory[peer.name]:6.0f}", flush=True)


def _rates(results: Results, figure: str) -> Rates:
    return {key: [getattr(figures, figure) for figures in runs] for key, runs in results.items()}


def _ratio(rates: Rates, dividend: Key, divisor: Key) -> float | None:
    """Return the median of the rounds' ratios: what slows the machine for a while slows both sides of one."""
    if dividend not in rates:
        return None
    return median(one / other for one, other in zip(rates[dividend], rates[divisor], strict=True))


def _measure_scaling(directory: Path, seconds: int, rounds: int) -> None:
    with ExitStack() as stack:
        servers = {
            str(workers): _start(stack, partial(build_ours, workers=workers), directory / f"ours-{workers}")
            for workers in (1, 2)
        }
        results = _measure(servers, seconds, rounds)
    rates, cores = _rates(results, "rate"), len(os.sched_getaffinity(0))
    print("\nours with 1 and 2 workers, not pinned; wrk, with one thread, shares the cores with them")
    for call in CALLS:
        one, two = median(rates["1", call]), median(rates["2", call])
        share = median(figures.load_share for figures in results["2", call])
        print(
            f"{call:46}{one:9,.0f} {two:9,.0f} requests per second: {_ratio(rates, ('2', call), ('1', call)):.2f} times"
            f" (goal {SCALE_GOAL}); wrk took {share:.0%} of one of {cores} cores"
        )


if __name__ == "__main__":
    main()
