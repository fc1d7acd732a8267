"""Clients of the SFTP door that guess, do not wait for an answer, or meet a server that fails."""

from __future__ import annotations

import asyncio
import ftplib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from argon2 import PasswordHasher
from asyncssh.constants import MSG_USERAUTH_REQUEST
from asyncssh.packet import Boolean, String
from ftp_doors import PASSWORD, USER, Office, wait_until
from sftp_doors import client, connect, open_sftp_office, run
from structlog.testing import capture_logs

from audience.ftp_users import FtpRights, set_rights
from db.tables import ftp_user
from ftp_server.accounts import LoginLimits
from ftp_server.sftp import MAX_PASSWORDS

DENIED = (asyncssh.Error, OSError)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    limits = LoginLimits(delay_seconds=0.2, failures=100, address_failures=3)
    with open_sftp_office(tmp_path, logins=limits) as office:
        with office.database.write() as connection:
            set_rights(connection, USER, FtpRights(max_sessions=1))
        yield office


def can_log_in(office: Office, **options: Any) -> bool:
    async def work() -> None:
        async with client(office, **options) as sftp:
            await sftp.listdir("/")

    try:
        run(work())
    except DENIED:
        return False
    return True


def make_passwords_slow(office: Office) -> None:
    with office.database.write() as connection:
        slow = PasswordHasher(time_cost=40, memory_cost=4096, parallelism=1).hash(PASSWORD)
        connection.execute(ftp_user.update().values(password_hash=slow))


class Impatient(asyncssh.SSHClient):
    """Does something else as soon as it has sent the first password."""

    def __init__(self, password: str, then: Callable[[asyncssh.SSHClientConnection], Awaitable[None]]) -> None:
        self.password = password
        self.then = then
        self.connection: asyncssh.SSHClientConnection | None = None
        self.tasks: list[asyncio.Task[None]] = []

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self.connection = conn

    def password_auth_requested(self) -> str | None:
        assert self.connection is not None
        if self.tasks:
            return None
        self.tasks.append(asyncio.get_running_loop().create_task(self._go_on()))
        return self.password

    async def _go_on(self) -> None:
        await asyncio.sleep(0.05)
        assert self.connection is not None
        await self.then(self.connection)


def be_impatient(
    office: Office, password: str, then: Callable[[asyncssh.SSHClientConnection], Awaitable[None]]
) -> None:
    async def work() -> None:
        made: list[Impatient] = []

        def make() -> Impatient:
            made.append(Impatient(password, then))
            return made[-1]

        with suppress(*DENIED):
            async with connect(office, client_factory=make, password=None, preferred_auth="password"):
                pass
        await asyncio.gather(*made[0].tasks)

    run(work())


def test_who_hangs_up_during_the_check_is_not_counted_as_inside(office: Office) -> None:
    make_passwords_slow(office)

    async def hang_up(connection: asyncssh.SSHClientConnection) -> None:
        connection.abort()

    be_impatient(office, PASSWORD, hang_up)
    # The first of these checks may overtake the one that nobody waits for.
    for _login in range(2):
        wait_until(lambda: can_log_in(office))


def test_attempts_nobody_waits_for_count(office: Office) -> None:
    async def guess(connection: asyncssh.SSHClientConnection) -> None:
        words = [String(USER), String("ssh-connection"), String("password"), Boolean(False)]
        for number in range(4 * MAX_PASSWORDS):
            with suppress(*DENIED):
                connection.send_packet(MSG_USERAUTH_REQUEST, *words, String(f"wrong {number}"))
            await asyncio.sleep(0.05)

    with capture_logs() as logs:
        be_impatient(office, "wrong", guess)
        office.halt()
    assert 1 <= len([line for line in logs if line["event"] in ("login_failed", "login_locked")]) <= MAX_PASSWORDS


def test_keys_that_are_not_the_users_count_once_for_each_connection(office: Office) -> None:
    keys = [asyncssh.generate_private_key("ssh-ed25519") for _number in range(4)]
    for _connection in range(4):
        wait_until(lambda: can_log_in(office, client_keys=keys))
    for _connection in range(2):
        assert not can_log_in(office, client_keys=keys, password=None)
    wait_until(lambda: can_log_in(office))
    assert not can_log_in(office, client_keys=keys, password=None)
    wait_until(lambda: not can_log_in(office))


def test_a_home_that_cannot_be_made_refuses_the_login_for_now(office: Office) -> None:
    export, put_away = office.home / "export", office.home / "other"
    export.rename(put_away)
    export.write_bytes(b"")
    for _attempt in range(4):
        with pytest.raises(ftplib.error_perm, match=r"530 .* at the moment"):
            office.client()
        assert not can_log_in(office)
    export.unlink()
    put_away.rename(export)
    wait_until(lambda: can_log_in(office))
    wait_until(lambda: _leaves(office))


def _leaves(office: Office) -> bool:
    try:
        office.client().quit()
    except ftplib.error_perm:
        return False
    return True
