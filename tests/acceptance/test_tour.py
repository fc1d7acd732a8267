"""The main job, from the first command to the partner's export, as people and programs do it."""

from __future__ import annotations

import ftplib
import io
import json
import re
import time
import urllib.parse
import urllib.request

from installations import Installation

DEADLINE = 60.0
LISTING_KEYS = {
    "import": {"id", "account", "list", "source", "file", "state", "total", "new", "existing", "refused", "created_at"},
    "export": {"id", "account", "type", "period", "at", "folder", "last_state", "last_rows", "last_file"},
    "jobs": {"kind", "id", "account", "file", "state", "rows", "created_at", "finished_at"},
}


def call(installation: Installation, page: str, **parameters: str) -> str:
    query = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"http://{installation.http}/frontend/{page}.aspx?{query}", timeout=30) as answer:
        text: str = answer.read().decode()
    return text.strip()


def log_in(installation: Installation, credentials: dict[str, str]) -> ftplib.FTP:
    host, _, port = installation.ftp.partition(":")
    ftp = ftplib.FTP()
    ftp.connect(host, int(port), timeout=30)
    ftp.login(credentials["FTP user"], credentials["FTP password"])
    return ftp


def list_names(ftp: ftplib.FTP, folder: str) -> list[str]:
    """Return the names in a folder that may not have been made yet."""
    try:
        return ftp.nlst(folder)
    except ftplib.error_perm:
        return []


def upload(ftp: ftplib.FTP, folder: str, name: str, content: str) -> None:
    """Put a file into a folder and wait until it was processed."""
    ftp.storbinary(f"STOR {folder}/{name}", io.BytesIO(content.encode()))
    deadline = time.monotonic() + DEADLINE
    while not any(found.endswith(f"{name}.result.json") for found in list_names(ftp, f"{folder}/processed")):
        assert time.monotonic() < deadline, "the file was not processed"
        time.sleep(0.1)


def check_listings(installation: Installation) -> None:
    for listing, keys in LISTING_KEYS.items():
        rows = json.loads(installation.run(listing, "list", "--json").stdout)
        assert rows
        assert all(keys <= set(row) for row in rows)


def test_demo(installation: Installation) -> None:
    result = installation.run("demo")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Everything went as it should." in result.stdout
    assert result.stderr == ""


def test_the_demo_account_takes_files_and_gives_exports(installation: Installation) -> None:
    printed = installation.run("init").stdout
    credentials = dict(re.findall(r"^(\S+(?: \S+)*?)  +(.*)$", printed, re.MULTILINE))
    installation.serve()
    ftp = log_in(installation, credentials)
    upload(ftp, credentials["import folder"], "daily.csv", "email;1\neva@example.com;Eva\nfilippo@example.com;F\n")

    caller = {"List": "1", "ListGuid": credentials["list GUID"], "Email": "eva@example.com"}
    assert call(installation, "XMLUNSUBSCRIBE", **caller) == "0"
    assert call(installation, "xmlchksubscriber", **caller) == "3"

    export_id = installation.run("export", "add", "--account", "1", "--type", "unsubscribers").stdout.strip()
    name = installation.run("export", "run", export_id).stdout.strip()
    content = io.BytesIO()
    ftp.retrbinary(f"RETR {name}", content.write)
    ftp.quit()
    lines = content.getvalue().decode().splitlines()
    assert lines[0].startswith("email;Phone Number;idList;OptOut_Date")
    assert [line.split(";")[0] for line in lines[1:]] == ["eva@example.com"]

    check_listings(installation)
    healthy = installation.run("doctor")
    assert healthy.returncode == 0, healthy.stdout
    assert "not running" not in healthy.stdout
    again = installation.run("init")
    assert (again.returncode, "set up already" in again.stdout) == (0, True)
    assert credentials["API password"] not in again.stdout


def test_import_tells_its_progress_in_a_pipe(installation: Installation) -> None:
    installation.run("init")
    path = installation.directory / "many.csv"
    path.write_text("email\n" + "".join(f"person{number}@example.com\n" for number in range(120_000)))
    result = installation.run("import", str(path), "--account", "1", "--list", "1")
    assert result.returncode == 0, result.stderr
    assert "100,000 rows" in result.stderr
    assert re.search(r"^total +120000$", result.stdout, re.MULTILINE)
