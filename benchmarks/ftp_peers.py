"""The servers that `benchmarks.ftp_transfer` measures side by side, each a process of its own on the loopback address.

vsftpd and proftpd are taken from the system, or else from their Debian packages, unpacked into the directory of the
run: the two refuse to be installed beside each other.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.soap_peers.processes import Command

USER, PASSWORD = "partner", "benchmark"
SESSIONS = 1_000
"""More than any measurement opens, so that no limit is met."""


class Missing(Exception):
    """A program that is not there; its text says which."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One server."""

    name: str
    command: Command
    folder: str
    """Where clients upload to, as they name it."""
    place: Path
    """The same folder on the disk."""
    user: str = USER
    password: str = PASSWORD
    key: Path | None = field(default=None, kw_only=True)
    """The private key for SFTP."""


def describe_listbridge(directory: Path, port: int, sftp_port: int, key: Path | None) -> Peer:
    """Return this project's server, with the rules that a folder has by itself."""
    public = [str(key.with_suffix(".pub"))] if key is not None else []
    arguments = [sys.executable, "-m", "benchmarks.ftp_peers", "listbridge", str(directory), str(port), str(sftp_port)]
    place = directory / "data" / "homes" / "1" / "import" / "1"
    return Peer("listbridge", Command([*arguments, *public]), "import/1", place, key=key)


def describe_pyftpdlib(directory: Path, port: int) -> Peer:
    """Return pyftpdlib with nothing added."""
    place = _make_folder(directory)
    arguments = [sys.executable, "-m", "benchmarks.ftp_peers", "pyftpdlib", str(directory), str(port)]
    return Peer("pyftpdlib", Command(arguments), place.name, place)


def describe_vsftpd(directory: Path, port: int) -> Peer:
    """Return vsftpd for one user, who is anonymous: others would need accounts of the system.

    Raises:
        Missing: it is not there and cannot be got.
    """
    program, environment = _find_program("vsftpd", directory, "vsftpd")
    place = _make_folder(directory / "root")
    settings = {
        "listen": "YES",
        "listen_address": "127.0.0.1",
        "listen_port": port,
        "background": "NO",
        "anonymous_enable": "YES",
        "no_anon_password": "YES",
        "anon_root": place.parent,
        "anon_upload_enable": "YES",
        "anon_other_write_enable": "YES",
        "write_enable": "YES",
        "ftp_username": "daemon",  # must have a home that is there
        "secure_chroot_dir": _make_folder(directory / "empty", mode=0o755).parent,
        "seccomp_sandbox": "NO",
        "max_per_ip": 0,
        "max_clients": 0,
    }
    configuration = directory / "vsftpd.conf"
    configuration.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="ascii")
    command = Command([program, str(configuration)], environment)
    return Peer("vsftpd", command, place.name, place, "anonymous", "x")


def describe_proftpd(directory: Path, port: int) -> Peer:
    """Return ProFTPD with a file of users.

    Raises:
        Missing: it is not there and cannot be got.
    """
    libraries = ("libhashkit2", "libhiredis0.14", "libmemcached11", "libmemcachedutil2", "libpcre2-posix3")
    program, environment = _find_program("proftpd", directory, "proftpd-core", *libraries)
    place = _make_folder(directory / "root")
    users = directory / "users"
    hashed = subprocess.run(["openssl", "passwd", "-6", PASSWORD], check=True, capture_output=True, text=True).stdout
    users.write_text(f"{USER}:{hashed.strip()}:65534:65534::{place.parent}:/bin/false\n", encoding="ascii")
    users.chmod(0o600)
    configuration = directory / "proftpd.conf"
    configuration.write_text(
        f"""
        ServerType standalone
        DefaultAddress 127.0.0.1
        Port {port}
        User nobody
        Group nogroup
        UseReverseDNS off
        RequireValidShell off
        AuthOrder mod_auth_file.c
        AuthUserFile {users}
        DefaultRoot ~
        MaxInstances {SESSIONS}
        AllowOverwrite on
        WtmpLog off
        TransferLog none
        SystemLog {directory}/proftpd.log
        PidFile {directory}/proftpd.pid
        ScoreboardFile {directory}/scoreboard
        DelayTable none
        <IfModule mod_delay.c>
          DelayEngine off
        </IfModule>
        """,
        encoding="ascii",
    )
    return Peer("proftpd", Command([program, "-n", "-c", str(configuration)], environment), place.name, place)


def describe_openssh(directory: Path, port: int, key: Path) -> Peer:
    """Return OpenSSH's server with its sftp-server, for the user who runs this.

    Raises:
        Missing: it is not there.
    """
    program = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None or not Path("/usr/lib/openssh/sftp-server").exists():
        raise Missing("OpenSSH's server (apt install openssh-server)")
    place = _make_folder(directory)
    host_key = make_key(directory / "host")
    configuration = directory / "sshd_config"
    configuration.write_text(
        f"""
        ListenAddress 127.0.0.1
        Port {port}
        HostKey {host_key}
        AuthorizedKeysFile {key.with_suffix(".pub")}
        StrictModes no
        UsePAM no
        PermitRootLogin yes
        MaxStartups 100
        PidFile none
        Subsystem sftp /usr/lib/openssh/sftp-server
        """,
        encoding="ascii",
    )
    user = subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()
    return Peer("openssh", Command([program, "-D", "-e", "-f", str(configuration)]), str(place), place, user, key=key)


def make_key(path: Path) -> Path:
    """Make a pair of keys; return the private one, beside which the public one stands as `.pub`."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def _make_folder(parent: Path, mode: int = 0o777) -> Path:
    place = parent / "incoming"
    place.mkdir(parents=True, exist_ok=True)
    place.chmod(mode)
    parent.chmod(0o755)
    return place


def _find_program(name: str, directory: Path, *packages: str) -> tuple[str, dict[str, str]]:
    """Return a program of the system, or one unpacked from Debian packages, and the environment it needs."""
    program = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")
    if program is not None:
        return program, {}
    packed, unpacked = directory / "packages", directory / "unpacked"
    packed.mkdir(parents=True)
    try:
        subprocess.run(["apt-get", "-qq", "download", *packages], cwd=packed, check=True, capture_output=True)
        for package in packed.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(unpacked)], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing(f"{name} (apt install {packages[0]})") from error
    libraries = unpacked / "usr" / "lib" / f"{os.uname().machine}-linux-gnu"
    return str(unpacked / "usr" / "sbin" / name), {"LD_LIBRARY_PATH": str(libraries)}


def _serve_listbridge(directory: str, port: str, sftp_port: str, public_key: str = "") -> None:
    import asyncssh

    from audience.accounts import add_account
    from audience.ftp_users import add_ftp_user, add_key
    from db.engine import Database
    from db.migration import migrate
    from ftp_server.ftp import FtpOptions, run_ftp_server
    from ftp_server.sftp import SftpOptions
    from jobs.feeds import open_list
    from jobs.storage import Storage

    database, storage = Database(f"sqlite:///{directory}/listbridge.db"), Storage(Path(directory) / "data", reserve=0)
    migrate(database)
    storage.prepare()
    with database.write() as connection:
        account = add_account(connection, 1, password=PASSWORD)
        add_ftp_user(connection, account.id, USER, password=PASSWORD)
        open_list(connection, storage, account, "Newsletter", {})
        if public_key:
            key = asyncssh.read_public_key(public_key)
            add_key(connection, USER, key.export_public_key().decode(), key.get_fingerprint())
    options = FtpOptions(
        port=int(port),
        max_connections=SESSIONS,
        max_per_address=SESSIONS,
        connections_per_minute=1_000_000,
        sftp=SftpOptions(port=int(sftp_port)),
    )
    run_ftp_server(database, storage, options, threading.Event())


def _serve_pyftpdlib(directory: str, port: str) -> None:
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import FTPServer

    FTPHandler.authorizer = DummyAuthorizer()
    FTPHandler.authorizer.add_user(USER, PASSWORD, directory, perm="elradfmwMT")
    server = FTPServer(("127.0.0.1", int(port)), FTPHandler)
    server.max_cons = SESSIONS
    server.serve_forever()


_SERVE: dict[str, Callable[..., None]] = {"listbridge": _serve_listbridge, "pyftpdlib": _serve_pyftpdlib}

if __name__ == "__main__":
    _SERVE[sys.argv[1]](*sys.argv[2:])
