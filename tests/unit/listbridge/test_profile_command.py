"""`listbridge profile`: set from files, shown, listed, removed and checked."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from command_results import Run

from audience.accounts import find_account
from db.engine import Database
from db.tables import remote_server, transfer
from exchange.profile_files import read_profile
from exchange.profiles import Profile
from jobs.feeds import Feed, find_feed

PROFILE = """
key = "external"
duplicates = "first"
[column_names]
Customer = "external"
[[transforms.1]]
do = "title"
[[transforms.5]]
do = "date"
from = "dd/MM/yyyy"
"""


@pytest.fixture
def database(customer: Run, tmp_path: Path) -> Any:
    """The database of the commands."""
    opened = Database(f"sqlite:///{tmp_path}/var/listbridge.db")
    yield opened
    opened.close()


def find(database: Database, folder: str) -> Feed | None:
    with database.read() as connection:
        return find_feed(connection, find_account(connection, 7).id, folder)


OPTIONS: list[tuple[list[str], dict[str, Any]]] = [
    (["--key", "mobile", "--unknown", "refuse"], {"key": "mobile", "unknown": "refuse"}),
    (["--duplicates", "refuse"], {"duplicates": "refuse"}),
    (
        ["--mode", "full", "--missing", "keep", "--max-missing", "2.5"],
        {"mode": "full", "missing": "keep", "max_missing_percent": 2.5},
    ),
    (["--match", "regex", "--pattern", r"a\d+\.csv"], {"match": "regex", "pattern": r"a\d+\.csv"}),
    (["--start-at", "03:00", "--expected-by", "02:30"], {"start_at": "03:00", "expected_by": "02:30"}),
    (
        ["--bundle", "n", "--place", "2", "--wait-until", "05:00"],
        {"bundle": "n", "bundle_place": 2, "wait_until": "05:00"},
    ),
    (["--scan-seconds", "0"], {"scan_seconds": 0.0}),
    (["--acknowledge", "mail", "--acknowledge", "table"], {"acknowledgements": ("mail", "table")}),
    (["--contact", "ops@example.com"], {"contact": "ops@example.com"}),
    (["--constant", "idList=2", "--constant", "5=a=b"], {"constants": {"list": "2", "5": "a=b"}}),
]


@pytest.mark.parametrize(("options", "expected"), OPTIONS)
def test_add_takes_the_options(options: list[str], expected: dict[str, Any], customer: Run, database: Database) -> None:
    result = customer("profile", "add", "--account", "7", "--folder", "import/1/x", *options)
    assert result.code == 0, result.err
    feed = find(database, "import/1/x")
    assert feed is not None
    assert {name: getattr(feed.profile, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--bundle", "n"], 2, "belong together"),
        (["--place", "1"], 2, "belong together"),
        (["--acknowledge", "mial"], 2, "did you mean mail?"),
        (["--constant", "5"], 2, "expected ROLE=VALUE"),
        (["--constant", "email=a@example.com"], 1, "constants.email: every row would be about the same person"),
        (["--max-missing", "101"], 2, "--max-missing"),
        (["--start-at", "7:30"], 1, "start_at: expected a time of day HH:MM"),
        (["--contact", "nobody"], 1, "contact: "),
        (["--match", "regex", "--pattern", "("], 1, "pattern: not a regular expression"),
        (["--mode", "full", "--status", "unsubscribed"], 1, "mode: "),
        (["--complete-when", "trailer", "--trailer", r"(?=x)(?P<rows>\d+)"], 2, "not a regular expression"),
        (["--complete-when", "trailer", "--trailer", "END"], 2, "is missing"),
        (["--acknowledge", "marker", "--complete-when", "marker", "--marker-suffix", ".ok"], 1, "marker_suffix: "),
        (["--columns", "1,2"], 1, "columns: none of them holds"),
    ],
)
def test_add_refuses(options: list[str], code: int, told: str, customer: Run, database: Database) -> None:
    result = customer("profile", "add", "--account", "7", "--folder", "import/1/x", *options)
    assert (result.code, told in result.err) == (code, True), result.err
    assert find(database, "import/1/x") is None


def test_profile_goes_from_a_file_to_a_folder_and_back(customer: Run, tmp_path: Path, database: Database) -> None:
    (tmp_path / "p.toml").write_text(PROFILE)
    assert customer("profile", "set", "7", "import/1/crm", "--from", "p.toml").code == 0
    feed = find(database, "import/1/crm")
    assert feed is not None
    assert feed.profile == read_profile(PROFILE)
    shown = customer("profile", "show", "7", "import/1/crm").out
    assert read_profile(shown) == feed.profile
    (tmp_path / "again.toml").write_text(shown)
    assert customer("profile", "set", "7", "import/1/again", "--from", "again.toml").code == 0
    again = find(database, "import/1/again")
    assert again is not None
    assert again.profile == feed.profile
    as_json = json.loads(customer("profile", "show", "7", "import/1/crm", "--json").out)
    assert Profile.from_dict(as_json) == feed.profile
    folders = [row["folder"] for row in json.loads(customer("profile", "list", "--account", "7", "--json").out)]
    assert folders == ["import/1", "import/1/again", "import/1/crm"]


def test_vendors_words_are_known_where_a_file_says_nothing(customer: Run, tmp_path: Path, database: Database) -> None:
    (tmp_path / "p.toml").write_text("")
    assert customer("profile", "set", "7", "import/1", "--from", "p.toml").code == 0
    feed = find(database, "import/1")
    assert feed is not None
    assert feed.profile.column_names["111"] == "email"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"max_mising_percent = 1", "max_mising_percent: it is not known; did you mean max_missing_percent?"),
        (b"\xff", "file: not TOML: it is not UTF-8"),
        (b"a", "file: not TOML"),
        (b"#" * (1 << 21), "file: it is larger than 1,048,576 bytes"),
        (b'transforms.5 = [{do = "uper"}]', "transforms.5: step 1: "),
    ],
)
def test_set_refuses_files(content: bytes, told: str, customer: Run, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_bytes(content)
    for arguments in (["set", "7", "import/1", "--from"], ["check", "p.toml", "--account", "7", "--profile"]):
        result = customer("profile", *arguments, "p.toml")
        assert result.code == 1
        assert result.err.startswith(f"listbridge: {told}")
        assert result.err.count("\n") == 1


def test_removed_profile_comes_back_with_a_new_one(customer: Run, database: Database) -> None:
    assert customer("profile", "remove", "7", "import/1", "--yes").code == 0
    assert find(database, "import/1") is None
    assert customer("profile", "list", "--account", "7").out == "There are no profiles.\n"
    for arguments in (["show", "7", "import/1"], ["remove", "7", "import/1", "--yes"]):
        assert "has no folder import/1 with a profile" in customer("profile", *arguments).err
    assert customer("profile", "add", "--account", "7", "--folder", "import/1").code == 0
    assert find(database, "import/1") is not None


def test_profile_in_use_stays(customer: Run, database: Database) -> None:
    feed = find(database, "import/1")
    assert feed is not None
    now = datetime.now(UTC)
    owned = {"id": 1, "account_id": feed.account_id, "created_at": now}
    server = {"name": "crm", "protocol": "sftp", "host": "crm.example.com", "port": 22, "user_name": "x"}
    fetch = {"remote_id": 1, "direction": "fetch", "folder": "out", "feed_id": feed.id, "settings": {}}
    with database.write() as connection:
        connection.execute(remote_server.insert().values(**owned, **server))
        connection.execute(transfer.insert().values(**owned, **fetch))
    assert "remove that first" in customer("profile", "remove", "7", "import/1", "--yes").err
    assert find(database, "import/1") is not None


TABLE = (
    "E-mail Address;First Name;Cognome;Cell;Shoe;idList\n"
    "anna@example.com;Anna;Bianchi;+39 333 1234567;x;1\n"
    "wrong;B;;12;;\n"
    "carla@example.com;\x1b[2J;D;;;9\n" + "".join(f"p{number}@example.com;;;;;\n" for number in range(20))
)


def test_check_suggests_and_shows_rows(customer: Run, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(TABLE)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "var").rglob("*")}
    printed = customer("profile", "check", "people.csv", "--account", "7")
    assert printed.code == 0, printed.err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "var").rglob("*") if path in before} == before
    assert '# Column 4, "Cell": mobile, by its name.' in printed.out
    assert '# Column 5, "Shoe": skipped, it was not recognised.' in printed.out
    assert "\nLine 3: refused\n" in printed.out
    assert "  ! email: " in printed.out
    assert "! control-character: " in printed.out
    assert "\x1b" not in printed.out
    assert printed.out.count("\nLine ") == 10
    suggestion = printed.out.partition("\n\n")[2].partition("\nLine ")[0]
    assert read_profile(suggestion).column_names["E-mail Address"] == "email"

    (tmp_path / "p.toml").write_text(suggestion)
    again = customer("profile", "check", "people.csv", "--account", "7", "--profile", "p.toml", "--json")
    told = json.loads(again.out)
    assert (told["suggested"], told["error"], len(told["rows"])) == (False, None, 10)
    assert told["rows"][0]["values"] == {
        "email": "anna@example.com",
        "mobile": "+39 333 1234567",
        "list": "1",
        "1": "Anna",
        "2": "Bianchi",
    }
    assert [problem["code"] for problem in told["rows"][1]["problems"]] == ["email"]


def test_check_under_the_profile_of_a_folder(customer: Run, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(PROFILE)
    (tmp_path / "c.csv").write_text(
        "Customer;email;1;5\n12;a@example.com;anna;31/02/2020\n;b@example.com;b;01/02/2020\n"
    )
    assert customer("profile", "set", "7", "import/1/crm", "--from", "p.toml").code == 0
    rows = json.loads(
        customer("profile", "check", "c.csv", "--account", "7", "--folder", "import/1/crm", "--json").out
    )["rows"]
    assert rows[0]["values"] == {"email": "a@example.com", "external": "12", "1": "Anna"}
    assert [(row["is_refused"], [problem["code"] for problem in row["problems"]]) for row in rows] == [
        (False, ["date"]),
        (True, ["no-key"]),
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "has no content"),
        (b"PK\x03\x04", "ZIP archive"),
        (b"\0\1\2" * 100, "no text"),
        (b"x" * 3_000_000, "No column holds"),
        (b";" * 2_000_000, "1,000 are allowed"),
        (b'"' * 100_000, "No column holds"),
        (b"a;b;c\n1;2;3\n", "No column holds"),
        ("email\n".encode("utf-32"), "UTF-32"),
    ],
    ids=range(8),
)
def test_check_of_hostile_files(content: bytes, told: str, customer: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    result = customer("profile", "check", "file", "--account", "7")
    assert result.code == 1
    assert result.err.startswith("listbridge: The file would be refused: ")
    assert told in result.err
    as_json = json.loads(customer("profile", "check", "file", "--account", "7", "--json").out)
    assert told in as_json["error"]["text"]


def test_check_reads_only_the_beginning_of_a_huge_file(customer: Run, tmp_path: Path) -> None:
    with (tmp_path / "huge.csv").open("wb") as stream:
        stream.write(b"email;1\n" + b"a@example.com;x\n" * 100_000)
        stream.truncate(4 << 30)
    assert customer("profile", "check", "huge.csv", "--account", "7").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["none.csv", "--account", "7"], 2, "does not exist"),
        (["f.csv", "--account", "9"], 1, "There is no account 9"),
        (["f.csv", "--account", "7", "--folder", "import/9"], 1, "There is no list 9"),
        (["f.csv", "--account", "7", "--folder", "import/1/none"], 1, "has no folder import/1/none with a profile"),
        (["f.csv", "--account", "7", "--folder", "export"], 1, "is not import/"),
        (["f.csv", "--account", "7", "--folder", "import/1", "--profile", "f.csv"], 2, "not both"),
    ],
)
def test_check_refuses(arguments: list[str], code: int, told: str, customer: Run, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("email\n")
    result = customer("profile", "check", *arguments)
    assert (result.code, told in result.err) == (code, True), result.err
