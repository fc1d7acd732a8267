"""What each command does, prints and leaves behind."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from command_results import Run

from audience.accounts import find_account, find_api_login
from audience.ftp_users import find_ftp_user
from audience.lists import fields_of
from audience.passwords import verify_password
from db.engine import Database
from jobs.exports import exports_of
from jobs.feeds import find_feed

FILE = "111;1;2\nanna@example.com;Anna;Rossi\nno address;Bruno;Bianchi\ncarla@example.com;Carla;Verdi\n"


@pytest.fixture
def database(tmp_path: Path) -> Any:
    database = Database(f"sqlite:///{tmp_path}/var/listbridge.db")
    yield database
    database.close()


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    path = tmp_path / "customers.csv"
    path.write_text(FILE)
    return path


def test_without_a_command_help_is_shown(run: Run) -> None:
    result = run()
    assert result.code == 2
    assert "Usage: listbridge" in result.out + result.err


def test_version(run: Run) -> None:
    assert re.fullmatch(r"listbridge \d+\.\d+\.\d+\n", run("version").out)


def test_commands_need_the_tables(run: Run) -> None:
    result = run("import", "list")
    assert result.code == 1
    assert result.err == (
        "listbridge: The database has not the tables of this version; run `listbridge migrate` first.\n"
    )


def test_an_unreachable_database_is_told_in_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTBRIDGE_DATABASE_URL", "postgresql+psycopg://user:secret@127.0.0.1:1/none")
    for command in (("migrate",), ("jobs", "list")):
        result = run(*command)
        assert result.code == 1
        assert result.err.startswith("listbridge: The database cannot be used: ")
        assert result.err.count("\n") == 1
        assert "secret" not in result.err


def test_an_unusable_data_directory_is_told(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LISTBRIDGE_DATA_DIR", str(tmp_path / "file" / "data"))
    monkeypatch.setenv("LISTBRIDGE_DATABASE_URL", f"sqlite:///{tmp_path}/x.db")
    result = run("migrate")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "cannot be used: Not a directory" in result.err


def test_a_wrong_setting_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTBRIDGE_WORKER", "2")
    result = run("jobs", "list")
    assert result.code == 1
    assert result.err == (
        "listbridge: The environment variable LISTBRIDGE_WORKER is not known. "
        "The nearest known one is LISTBRIDGE_WORKERS.\n"
    )


def test_init_makes_one_demo_account_once(run: Run, database: Database) -> None:
    first, second = run("init"), run("init")
    assert (first.code, second.code) == (0, 0)
    shown = dict(re.findall(r"^(\S+(?: \S+)*?)  +(.*)$", first.out, re.MULTILINE))
    with database.read() as connection:
        api, ftp = find_api_login(connection, shown["API user"]), find_ftp_user(connection, shown["FTP user"])
        assert api is not None
        assert ftp is not None
        assert verify_password(api.password_hash, shown["API password"])
        assert verify_password(ftp.password_hash, shown["FTP password"])
        exports = exports_of(connection, api.account.id)
    assert [(export.at, export.settings.period) for export in exports] == [("02:30", "previous-day")]
    assert "set up already" in second.out
    assert shown["API password"] not in second.out


def test_only_the_servers_own_user_can_read_its_files(run: Run, tmp_path: Path) -> None:
    assert run("init").code == 0
    made = [tmp_path / "var", *(tmp_path / "var").rglob("*")]
    assert [str(path) for path in made if path.stat().st_mode & 0o077] == []


def test_init_leaves_a_server_with_accounts_alone(customer: Run, database: Database) -> None:
    assert "set up already" in customer("init").out
    with database.read() as connection:
        assert find_api_login(connection, "a1") is None


def test_account_add(customer: Run, database: Database, tmp_path: Path) -> None:
    options = ("--password", "secret", "--name", "Shop", "--time-zone", "Europe/Berlin")
    assert customer("account", "add", "8", *options).out == "Account 8 added with the users m8 and a8.\n"
    with database.read() as connection:
        account = find_account(connection, 8)
        assert (account.name, account.time_zone) == ("Shop", "Europe/Berlin")
        assert fields_of(connection, account.id)[1] == "nome"
        for user in ("m8", "a8"):
            login = find_api_login(connection, user)
            assert login is not None
            assert verify_password(login.password_hash, "secret")
    assert (tmp_path / "var/homes/8/export").is_dir()
    assert customer("account", "add", "7", "--password", "x").err == "listbridge: Account 7 exists already.\n"
    assert customer("account", "add", "0", "--password", "x").code == 1
    assert "is not a time zone" in customer("account", "add", "8", "--password", "x", "--time-zone", "Mars").err


@pytest.mark.parametrize("given", ["option", "variable", "file"])
def test_a_password_can_come_from_three_places(
    given: str, customer: Run, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("from file\n")
    if given != "option":
        monkeypatch.setenv("LISTBRIDGE_PASSWORD", "from variable")
    if given == "file":
        monkeypatch.setenv("LISTBRIDGE_PASSWORD_FILE", str(tmp_path / "password"))
    options = ["--password", "from option"] if given == "option" else []
    assert customer("account", "add", "8", *options).code == 0
    with database.read() as connection:
        login = find_api_login(connection, "a8")
    assert login is not None
    assert verify_password(login.password_hash, f"from {given}")


def test_a_password_is_needed(customer: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "A password is needed" in customer("ftp-user", "add", "x", "--account", "7").err
    assert "A password is needed" in customer("ftp-user", "add", "x", "--account", "7", "--password", "").err
    monkeypatch.setenv("LISTBRIDGE_PASSWORD_FILE", "/nowhere")
    assert "the file /nowhere cannot be read" in customer("ftp-user", "add", "x", "--account", "7").err


def test_list_add_prints_number_and_guid(customer: Run, tmp_path: Path) -> None:
    result = customer("list", "add", "--account", "7", "--name", "Second")
    assert re.fullmatch(r"2 [0-9a-f-]{36}\n", result.out)
    assert (tmp_path / "var/homes/7/import/2").is_dir()
    assert customer("list", "add", "--account", "9", "--name", "x").err == "listbridge: There is no account 9.\n"
    assert customer("list", "add", "--account", "7", "--name", "<").code == 1


def test_field_set(customer: Run, database: Database) -> None:
    assert customer("field", "set", "--account", "7", "1", "First name").code == 0
    with database.read() as connection:
        assert fields_of(connection, find_account(connection, 7).id)[1] == "First name"


def test_ftp_user_add(customer: Run, database: Database) -> None:
    assert customer("ftp-user", "add", "p8", "--account", "7", "--password", "x").code == 0
    with database.read() as connection:
        login = find_ftp_user(connection, "p8")
    assert login is not None
    assert login.account.number == 7
    assert "exists already" in customer("ftp-user", "add", "p7", "--account", "7", "--password", "x").err


PROFILES: list[tuple[list[str], dict[str, Any]]] = [
    ([], {"separator": None, "encoding": "utf-8", "status": "subscribed", "completeness": "connection"}),
    (["--separator", ";"], {"separator": ";"}),
    (["--separator", "tab"], {"separator": "\t"}),
    (["--separator", "\\t"], {"separator": "\t"}),
    (["--quote", "'"], {"quote": "'"}),
    (["--encoding", "cp1252"], {"encoding": "cp1252"}),
    (["--columns", "111, 1,,idList,status"], {"columns": ("email", "1", "", "list", "status"), "header": False}),
    (["--channels", "sms"], {"channels": "sms"}),
    (["--status", "unsubscribed"], {"status": "unsubscribed"}),
    (
        ["--status", "column", "--subscribed-value", "y", "--unsubscribed-value", "n"],
        {"status": "column", "subscribed_value": "y", "unsubscribed_value": "n"},
    ),
    (["--confirm", "--change-pending"], {"confirm": True, "change_pending": True, "resubscribe": False}),
    (["--resubscribe"], {"resubscribe": True}),
    (["--empty", "clear"], {"empty_values": "clear"}),
    (["--groups", "3, 4", "--replace-groups"], {"groups": (3, 4), "replace_groups": True}),
    (["--pattern", "daily*.csv"], {"pattern": "daily*.csv"}),
    (["--complete-when", "marker", "--marker-suffix", ".ok"], {"completeness": "marker", "marker_suffix": ".ok"}),
    (["--complete-when", "trailer", "--trailer", "(?P<rows>[0-9]+)"], {"trailer": "(?P<rows>[0-9]+)"}),
    (["--quiet-seconds", "0.5"], {"quiet_seconds": 0.5}),
]


@pytest.mark.parametrize(("options", "expected"), PROFILES)
def test_profile_add(options: list[str], expected: dict[str, Any], customer: Run, database: Database) -> None:
    assert customer("profile", "add", "--account", "7", "--folder", "import/1/x", *options).code == 0
    with database.read() as connection:
        feed = find_feed(connection, find_account(connection, 7).id, "import/1/x")
    assert feed is not None
    assert {name: getattr(feed.profile, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--folder", "import/9"], 1, "There is no list 9"),
        (["--folder", "export"], 1, "'export' is not import/<list number>"),
        (["--folder", "import/1", "--separator", ""], 2, "expected one character"),
        (["--folder", "import/1", "--separator", ";;"], 2, "expected one character"),
        (["--folder", "import/1", "--quote", "\n"], 2, "expected one character"),
        (["--folder", "import/1", "--encoding", "ebcdic"], 2, "'ebcdic' is not one of"),
        (["--folder", "import/1", "--groups", "1,x"], 2, "whole numbers"),
        (["--folder", "import/1", "--marker-suffix", "/x"], 2, "end of a file name"),
        (["--folder", "import/1", "--trailer", "("], 2, "not a regular expression"),
        (["--folder", "import/1", "--trailer", "END"], 2, "(?P<rows>…) is missing"),
        (["--folder", "import/1", "--quiet-seconds", "0"], 2, "0.1"),
    ],
)
def test_profile_add_refuses(options: list[str], code: int, told: str, customer: Run) -> None:
    result = customer("profile", "add", "--account", "7", *options)
    assert result.code == code
    assert told in result.err


def test_import_prints_counters_and_reasons(customer: Run, csv_file: Path) -> None:
    result = customer("import", str(csv_file), "--account", "7", "--list", "1")
    assert result.code == 0, result.err
    for line in (r"state +completed", r"total +3", r"new +2", r"refused +1", r"email +1"):
        assert re.search(rf"^{line}$", result.out, re.MULTILINE), line
    errors = csv_file.with_name("customers.csv.errors.csv").read_text()
    assert "no address;Bruno;Bianchi" in errors


def test_import_takes_options_before_the_file(customer: Run, csv_file: Path) -> None:
    assert customer("import", "--account", "7", "--list", "1", "--dry-run", str(csv_file)).code == 0
    assert customer("import", "--list=1", "--account=7", str(csv_file)).code == 0


def test_a_file_named_like_a_command_can_be_imported(customer: Run, csv_file: Path) -> None:
    csv_file.rename(csv_file.with_name("list"))
    assert "completed" in customer("import", "./list", "--account", "7", "--list", "1").out


def test_dry_run_keeps_nothing(customer: Run, csv_file: Path) -> None:
    arguments = ("import", str(csv_file), "--account", "7", "--list", "1")
    dry = customer(*arguments, "--dry-run")
    assert "Dry run: nothing was kept." in dry.out
    assert re.search(r"^new +2$", customer(*arguments).out, re.MULTILINE)


def test_import_with_the_profile_of_a_folder(customer: Run, csv_file: Path) -> None:
    csv_file.write_text("x@example.com|1\n")
    options = ("--separator", "|", "--columns", "email,1")
    assert customer("profile", "add", "--account", "7", "--folder", "import/1/bare", *options).code == 0
    arguments = ("import", str(csv_file), "--account", "7", "--list", "1", "--profile")
    assert "completed" in customer(*arguments, "import/1/bare").out
    assert customer(*arguments, "import/1/none").err == "listbridge: Account 7 has no folder import/1/none.\n"
    assert "is not import/<list number>" in customer(*arguments, "nonsense").err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["missing.csv", "--account", "7", "--list", "1"], 2, "does not exist"),
        (["customers.csv", "--account", "7"], 2, "Missing option '--list'"),
        (["customers.csv", "--account", "7", "--list", "9"], 1, "There is no list 9"),
        (["customers.csv", "--account", "9", "--list", "1"], 1, "There is no account 9"),
        (["show", "99"], 1, "There is no import 99"),
    ],
)
def test_import_refuses(arguments: list[str], code: int, told: str, customer: Run, csv_file: Path) -> None:
    result = customer("import", *arguments)
    assert result.code == code
    assert told in result.err


def test_a_refused_file_is_an_error(customer: Run, csv_file: Path) -> None:
    csv_file.write_text("colour\nred\n")
    result = customer("import", str(csv_file), "--account", "7", "--list", "1")
    assert result.code == 1
    assert re.search(r"^state +failed$", result.out, re.MULTILINE)
    assert result.err.startswith("listbridge: The file was refused: ")


def test_import_group_has_help(run: Run) -> None:
    assert "FILE" in run("import", "--help").out
    assert "Usage: listbridge import FILE [OPTIONS]\n" in run("import", "FILE", "--help").out
    assert "Usage: listbridge import list" in run("import", "list", "--help").out


def test_listings_of_nothing(customer: Run) -> None:
    assert customer("import", "list").out == "There are no imports.\n"
    assert customer("export", "list").out == "There are no exports.\n"
    assert customer("jobs", "list").out == "There are no jobs.\n"
    for listing in ("import", "export", "jobs"):
        assert json.loads(customer(listing, "list", "--json").out) == []


def test_listings(customer: Run, csv_file: Path) -> None:
    assert customer("import", str(csv_file), "--account", "7", "--list", "1").code == 0
    export_id = customer("export", "add", "--account", "7", "--type", "unsubscribers").out.strip()
    name = customer("export", "run", export_id).out.strip()
    assert re.fullmatch(r"export/unsubscribers_\d{14}\.csv", name)

    (imported,) = json.loads(customer("import", "list", "--json").out)
    assert (imported["account"], imported["state"], imported["refused"]) == (7, "completed", 1)
    shown = json.loads(customer("import", "show", str(imported["id"]), "--json").out)
    assert shown["counters"]["refused"] == {"email": 1}
    (exported,) = json.loads(customer("export", "list", "--json").out)
    assert exported["last_state"] == "completed"
    assert f"export/{exported['last_file']}" == name
    jobs = json.loads(customer("jobs", "list", "--json").out)
    assert [job["kind"] for job in jobs] == ["export", "import"]
    assert len(json.loads(customer("jobs", "list", "--json", "--limit", "1").out)) == 1

    assert customer("import", "list", "--account", "7").out.count("\n") == 2
    assert customer("export", "list", "--account", "7").out.count("\n") == 2
    assert "completed" in customer("import", "show", str(imported["id"])).out
    assert "There is no account 9" in customer("import", "list", "--account", "9").err


EXPORTS: list[tuple[list[str], dict[str, Any]]] = [
    ([], {"lists": None, "exclude_lists": (), "reasons": None, "exclude_reasons": (), "period": "full"}),
    (["--lists", "1"], {"lists": (1,)}),
    (["--exclude-lists", "1"], {"exclude_lists": (1,)}),
    (["--period", "previous-day"], {"period": "previous-day"}),
    (["--reasons", "2,32,80,01"], {"reasons": (2, 32, 80, 1)}),
    (["--exclude-reasons", "2"], {"exclude_reasons": (2,)}),
    (
        ["--columns", "email,OptOut_Date,reason_type,5"],
        {"columns": ("email", "unsubscribed_at", "reason_type", "field:5")},
    ),
    (["--name-pattern", "out.csv", "--folder", "export/crm"], {"name_pattern": "out.csv", "folder": "export/crm"}),
]
DIALECTS: list[tuple[list[str], dict[str, Any]]] = [
    ([], {"separator": ";", "quote": '"', "encoding": "utf-8", "header": True, "time_zone": "Europe/Rome"}),
    (["--separator", "tab", "--quote", "'"], {"separator": "\t", "quote": "'"}),
    (["--encoding", "cp1252", "--no-header", "--defuse-formulas"], {"encoding": "cp1252", "header": False}),
    (["--date-format", "yyyyMMdd"], {"date_format": "yyyyMMdd"}),
]


@pytest.mark.parametrize(
    ("options", "expected", "in_dialect"),
    [*((*case, False) for case in EXPORTS), *((*case, True) for case in DIALECTS)],
)
def test_export_add(
    options: list[str], expected: dict[str, Any], in_dialect: bool, customer: Run, database: Database
) -> None:
    result = customer("export", "add", "--account", "7", "--type", "unsubscribers", "--at", "02:30", *options)
    assert (result.code, result.out) == (0, "1\n"), result.err
    with database.read() as connection:
        (export,) = exports_of(connection, find_account(connection, 7).id)
    assert export.at == "02:30"
    found = export.settings.csv if in_dialect else export.settings
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    "options",
    [
        ["--lists", "9"],
        ["--lists", "x"],
        ["--reasons", "3"],
        ["--columns", "colour"],
        ["--at", "25:00"],
        ["--separator", "x"],
        ["--encoding", "ebcdic"],
        ["--date-format", "nonsense%"],
        ["--name-pattern", "../x"],
        ["--folder", "import"],
        ["--period", "weekly"],
    ],
)
def test_export_add_refuses(options: list[str], customer: Run) -> None:
    result = customer("export", "add", "--account", "7", "--type", "unsubscribers", *options)
    assert result.code in (1, 2)
    assert result.err
    assert "Traceback" not in result.err


def test_export_run_refuses_an_unknown_one(customer: Run) -> None:
    assert customer("export", "run", "9").err == "listbridge: There is no export 9.\n"


def test_doctor(customer: Run, database: Database) -> None:
    healthy = customer("doctor")
    assert healthy.code == 0, healthy.out
    assert "note   scheduler: not running" in healthy.out
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO group_member (recipient_id, group_id) VALUES (1, 1)")
    ill = customer("doctor")
    assert ill.code == 1
    assert "wrong  orphans: 0 in subscription, 1 in group_member" in ill.out


def test_doctor_before_the_setup(run: Run) -> None:
    result = run("doctor")
    assert result.code == 1
    assert "wrong" in result.out


def test_doctor_with_a_damaged_database(customer: Run, tmp_path: Path) -> None:
    path = tmp_path / "var/listbridge.db"
    for leftover in path.parent.glob("listbridge.db-*"):
        leftover.unlink()
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 12] = b"\xff" * (4096 * 9)
    path.write_bytes(content)
    result = customer("doctor")
    assert result.code == 1
    assert "wrong  integrity" in result.out
