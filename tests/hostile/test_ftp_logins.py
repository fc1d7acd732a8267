"""Guessing passwords: delays, locks, and answers that tell nothing."""

from __future__ import annotations

import ftplib
from collections.abc import Iterator
from pathlib import Path

import pytest
from ftp_doors import DEADLINE, PASSWORD, USER, Office, open_temporary_office, wait_until
from sqlalchemy import text
from structlog.testing import capture_logs

from ftp_server.accounts import LoginLimits

REFUSED = "530 Authentication failed."


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_temporary_office(tmp_path_factory.mktemp("ftp")) as office:
        yield office


def connect(office: Office) -> ftplib.FTP:
    client = ftplib.FTP()
    client.connect(*office.address, timeout=DEADLINE)
    return client


def log_in(office: Office, user: str, password: str) -> str:
    with connect(office) as client:
        client.putcmd(f"USER {user}")
        client.getmultiline()
        client.putcmd(f"PASS {password}")
        return client.getmultiline()


def test_a_lock_looks_like_a_wrong_password_and_ends(tmp_path: Path) -> None:
    limits = LoginLimits(delay_seconds=0.001, lockout_seconds=1.5)
    with open_temporary_office(tmp_path, logins=limits) as office:
        replies = [log_in(office, USER, f"wrong {number}") for number in range(5)]
        replies.append(log_in(office, USER, PASSWORD))
        assert set(replies) == {REFUSED}
        wait_until(lambda: log_in(office, USER, PASSWORD).startswith("230 "))


@pytest.mark.parametrize("user", ["nobody", "", "x" * 500, "a\x00b", "à", "' OR 1=1 --", "anonymous"])
def test_unknown_users_get_the_same_answer(office: Office, user: str) -> None:
    if user:
        assert log_in(office, user, PASSWORD) == REFUSED


def test_a_lock_of_one_user_leaves_others_alone(office: Office) -> None:
    for number in range(6):
        log_in(office, "somebody", f"wrong {number}")
    assert log_in(office, USER, PASSWORD).startswith("230 ")


def test_a_session_is_closed_after_three_failures(office: Office) -> None:
    client = connect(office)
    for _attempt in range(3):
        client.putcmd("USER nobody")
        client.getmultiline()
        client.putcmd("PASS wrong")
        assert client.getmultiline() == REFUSED
    with pytest.raises((EOFError, OSError)):
        client.voidcmd("NOOP")
    client.close()


def test_commands_wait_while_a_password_is_checked(office: Office) -> None:
    client = connect(office)
    assert client.sock is not None
    client.sock.sendall(f"USER {USER}\r\nPASS {PASSWORD}\r\nPWD\r\nCWD import\r\nPWD\r\n".encode())
    replies = [client.getmultiline()[:3] for _reply in range(5)]
    assert replies == ["331", "230", "257", "250", "257"]
    client.quit()


def test_nothing_but_logging_in_works_before(office: Office) -> None:
    with connect(office) as client:
        for command in ("PWD", "LIST", "STOR x", "PASV", "MKD x", "STAT /", "SIZE x", "ALLO 1", "RNTO x"):
            client.putcmd(command)
            assert client.getmultiline().startswith("530 ")
        client.putcmd("PASS x")
        assert client.getmultiline().startswith("503 ")


def test_others_are_served_while_a_failure_waits(tmp_path: Path) -> None:
    with open_temporary_office(tmp_path, logins=LoginLimits(delay_seconds=3600)) as office:
        waiting = connect(office)
        waiting.putcmd("USER nobody")
        waiting.getmultiline()
        waiting.putcmd("PASS wrong")
        with office.client() as client:
            assert client.pwd() == "/"
        waiting.close()


def test_who_does_not_log_in_is_sent_away(tmp_path: Path) -> None:
    with open_temporary_office(tmp_path, login_seconds=0.2) as office:
        client = connect(office)
        assert client.getmultiline().startswith("421 ")
        client.close()


def test_only_names_of_users_are_logged(tmp_path: Path) -> None:
    with open_temporary_office(tmp_path) as office, capture_logs() as logs:
        assert log_in(office, "my secret password", "x") == REFUSED
        assert log_in(office, USER, "my secret password") == REFUSED
        assert log_in(office, f"{USER}{'x' * 100}", "my secret password") == REFUSED
    assert [event["user"] for event in logs if event["event"] == "login_failed"] == [None, USER, None]
    assert "secret" not in str(logs)


def test_a_database_that_fails_is_logged_by_its_kind_alone(tmp_path: Path) -> None:
    with open_temporary_office(tmp_path) as office:
        with office.database.write() as connection:
            connection.execute(text("ALTER TABLE ftp_user RENAME TO gone"))
        with capture_logs() as logs:
            assert log_in(office, USER, PASSWORD) == REFUSED
    assert [event["error"] for event in logs if event["event"] == "login_not_checked"] == ["OperationalError"]
    assert USER not in str(logs)
