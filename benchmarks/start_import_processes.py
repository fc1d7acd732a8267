"""Times an import by recipient XML beside one of the same rows by CSV, on SQLite and PostgreSQL.

    python -m benchmarks.start_import_processes [--rows N] [--databases sqlite,postgresql] [--rounds N]

Every row has an e-mail address, a mobile number and 8 fields; everybody is new and gets the same 2 groups. The XML is
sent to `StartImportProcesses` as programs send it; its time is that of the call, which reads the whole document before
it answers, and of the import. The time of the CSV file is that of its copy to the spool and of the import. They take
turns, each in an empty database, by a process of its own whose peak memory is taken.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.import_rows import find_account_and_list, open_server, peak_memory, write_file
from benchmarks.soap_peers.messages import wrap_call
from db.engine import Database
from db.leases import name_owner
from exchange.profiles import Profile
from jobs.import_results import import_result
from jobs.imports import import_file, run_next_import
from jobs.storage import Storage
from listbridge.logging import configure_logging
from listbridge.settings import Settings
from services.http.application import HttpOptions, create_application

GOAL = 1.3
GROUPS = (1, 2)
DOORS = ("csv", "xml")
PATH = "/Services/WSMailUpImport.asmx"
NAMESPACE = "http://ws.mailupnet.it/"
OPERATION = "StartImportProcesses"
_FLAGS = ("asPending", "ConfirmEmail", "asOptOut", "forceOptIn", "replaceGroups")


def main() -> None:
    """Run the benchmark and print rows per second of both doors and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is taken")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _import_in_child(*options.child)
        return
    with tempfile.TemporaryDirectory(prefix="listbridge-benchmark-") as directory:
        files = _write_files(Path(directory), options.rows)
        sizes = ", ".join(f"{file.stat().st_size / 1e6:.0f} MB of {door}" for door, file in files.items())
        print(f"{options.rows:,} rows: {sizes}; median of {options.rounds}\n")
        print(
            f"{'':12} {'csv rows/s':>11} {'xml rows/s':>11} {'csv ÷ xml':>10} {'goal':>6} {'csv MB':>7} {'xml MB':>7}"
        )
        for kind in options.databases.split(","):
            _measure(kind, Path(directory), files, options.rows, options.rounds)


def _write_files(directory: Path, rows: int) -> dict[str, Path]:
    """Write the same rows as a CSV file and as the envelope of a call."""
    source = write_file(directory / "source.csv", rows, "new")
    files = {"csv": directory / "rows.csv", "xml": directory / "call.xml"}
    before, after = _wrap()
    with (
        source.open(encoding="utf-8") as lines,
        files["csv"].open("w", encoding="utf-8") as csv,
        files["xml"].open("w", encoding="utf-8") as xml,
    ):
        xml.write(before + escape("<subscribers>"))
        for position, line in enumerate(lines):
            # Groups are given for all rows at once, since the XML cannot name them.
            email, mobile, _groups, *fields = line.rstrip("\n").split(";")
            csv.write(";".join((email, mobile, *fields)) + "\n")
            if position:
                xml.write(escape(_subscriber(email, mobile, fields)))
        xml.write(escape("</subscribers>") + after)
    return files


def _wrap() -> tuple[str, str]:
    """Return what stands before and after the document in the envelope."""
    flags = "".join(f"<{name}>false</{name}>" for name in _FLAGS)
    groups = ",".join(map(str, GROUPS))
    content = (
        f"<listsIDs>1</listsIDs><listsGUIDs></listsGUIDs><xmlDoc>?</xmlDoc><groupsIDs>{groups}</groupsIDs>"
        f"<importType>3</importType><mobileInputType>1</mobileInputType>{flags}"
    )
    envelope = wrap_call(NAMESPACE, OPERATION, content, "benchmark").decode()
    before, _, after = envelope.partition("?</xmlDoc>")
    return before, f"</xmlDoc>{after}"


def _subscriber(email: str, mobile: str, fields: list[str]) -> str:
    values = "".join(f"<campo{number}>{escape(value)}</campo{number}>" for number, value in enumerate(fields, 1))
    return f'<subscriber email="{email}" Prefix="" Number="{mobile}" Name="">{values}</subscriber>'


def _measure(kind: str, directory: Path, files: dict[str, Path], rows: int, rounds: int) -> None:
    seconds: dict[str, list[float]] = {door: [] for door in DOORS}
    peaks = dict.fromkeys(DOORS, 0.0)
    with open_server(kind, directory) as urls:
        for turn in range(rounds):
            for door in DOORS if turn % 2 == 0 else DOORS[::-1]:
                taken, peak = _import(urls(f"{door}{turn}"), files[door], directory)
                seconds[door].append(taken)
                peaks[door] = max(peaks[door], peak)
    csv, xml = (median(seconds[door]) for door in DOORS)
    memory = " ".join(f"{peaks[door]:7.0f}" for door in DOORS)
    print(f"{kind:12} {rows / csv:11,.0f} {rows / xml:11,.0f} {xml / csv:10.2f} {f'≤ {GOAL}':>6} {memory}", flush=True)


def _import(url: str, file: Path, directory: Path) -> tuple[float, float]:
    """Import in a process of its own; return seconds and peak memory in MB."""
    command = [sys.executable, "-m", "benchmarks.start_import_processes", "--child", url, str(file)]
    output = subprocess.run([*command, str(directory / "data")], check=True, capture_output=True, text=True).stdout
    seconds, memory = json.loads(output.splitlines()[-1])
    return seconds, memory


def _import_in_child(url: str, file: str, data: str) -> None:
    database, storage = Database(url), Storage(Path(data), reserve=0)
    storage.prepare()
    configure_logging(Settings(data_dir=Path(data)), "web")
    act = _import_csv if file.endswith(".csv") else _import_xml
    seconds = act(database, storage, Path(file))
    with database.read() as connection:
        result = import_result(connection, 1)
    if result.state != "completed" or result.counters["refused"] or not result.counters["total"]:
        raise SystemExit(f"the import did not go well: {result}")
    print(json.dumps([seconds, peak_memory()]))


def _import_csv(database: Database, storage: Storage, path: Path) -> float:
    account, mailing = find_account_and_list(database)
    began = time.perf_counter()
    import_file(
        database,
        storage,
        name_owner(),
        account=account,
        mailing=mailing,
        path=path,
        profile=Profile(groups=GROUPS),
    )
    return time.perf_counter() - began


def _import_xml(database: Database, storage: Storage, path: Path) -> float:
    application: Any = create_application(database, storage, HttpOptions())
    with path.open("rb") as envelope:
        environ = _environ(envelope, path.stat().st_size)
        began = time.perf_counter()
        answer = b"".join(application(environ, lambda *_: lambda _: None)).decode()
        if "&lt;processID&gt;1&lt;" not in answer:
            raise SystemExit(f"the call did not go well: {answer}")
        run_next_import(database, storage, name_owner())
        return time.perf_counter() - began


def _environ(envelope: io.BufferedReader, size: int) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": PATH,
        "CONTENT_TYPE": "text/xml; charset=utf-8",
        "CONTENT_LENGTH": str(size),
        "HTTP_SOAPACTION": f'"{NAMESPACE}{OPERATION}"',
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.input": envelope,
    }


if __name__ == "__main__":
    main()
