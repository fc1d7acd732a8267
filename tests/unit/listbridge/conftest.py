"""The command line, called inside the test process, on a data directory of its own."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from command_results import Result, Run

from audience.ftp_users import add_ftp_user
from db.engine import Database
from db.migration import migrate
from jobs.storage import Storage
from listbridge.cli import main
from listbridge.customers import open_account, open_customer_list

PASSWORD = "secret"


@pytest.fixture
def restored_process() -> Iterator[None]:
    """Put logging, and the mask of new files, back into the state before the test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    mask = os.umask(0o077)
    os.umask(mask)
    yield
    os.umask(mask)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file and no variable but those that a test makes."""
    for name in list(os.environ):
        if name.startswith("LISTBRIDGE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(
    clean_environment: None,
    restored_process: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Call the command line."""

    def run_command(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["listbridge", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        code = left.value.code
        return Result(code if isinstance(code, int) else 0, printed.out, printed.err)

    return run_command


@pytest.fixture(scope="session")
def customer_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with account 7, its list 1 and its FTP user p7, all with the password "secret"."""
    directory = tmp_path_factory.mktemp("customer")
    storage = Storage(directory)
    storage.prepare()
    database = Database(f"sqlite:///{directory}/listbridge.db")
    migrate(database)
    with database.write() as connection:
        account = open_account(connection, storage, 7, password=PASSWORD, name="", time_zone="Europe/Rome")
        open_customer_list(connection, storage, account, "News")
        add_ftp_user(connection, account.id, "p7", password=PASSWORD)
    database.close()
    return directory


@pytest.fixture
def customer(run: Run, customer_data: Path, tmp_path: Path) -> Run:
    """Call the command line on a copy of that directory."""
    shutil.copytree(customer_data, tmp_path / "var")
    return run
