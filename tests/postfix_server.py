"""A Postfix of a test's own: its own configuration, queue and port, beside whatever the machine runs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

POSTFIX = shutil.which("postfix", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
REQUIRED = os.environ.get("CI") == "true"

_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def require_postfix() -> None:
    """Skip the test where there is no Postfix, or nobody is root; fail where it must be there."""
    if POSTFIX is None or os.geteuid() != 0:
        problem = "Postfix is not installed (apt-get install postfix), or the tests do not run as root."
        if REQUIRED:
            pytest.fail(problem)
        pytest.skip(problem)


def find_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def run_postfix(*, relay_to: int, policy: int | None = None, **settings: str) -> Iterator[int]:
    """Run Postfix until the block ends; gives its port.

    Args:
        relay_to: port of the server of this machine that it brings everything to.
        policy: port of a policy service that is asked about each recipient (SMTPD_POLICY_README).
        settings: further ones of main.cf.
    """
    # Not in the folder of the test, which nobody else may enter: its programs run as another user.
    with tempfile.TemporaryDirectory(prefix="listbridge-postfix-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield from _run(folder, relay_to, policy, settings)


def _run(folder: Path, relay_to: int, policy: int | None, settings: dict[str, str]) -> Iterator[int]:
    port = find_port()
    etc, queue, data = (folder / name for name in ("etc", "queue", "data"))
    for path in (etc, queue, data):
        path.mkdir()
    shutil.chown(data, "postfix")
    restrictions = ["permit_mynetworks", "reject"]
    if policy is not None:
        restrictions.insert(0, f"check_policy_service inet:127.0.0.1:{policy}")
    given = {
        "compatibility_level": "3.6",
        "queue_directory": str(queue),
        "data_directory": str(data),
        "maillog_file": "/dev/stdout",
        "myhostname": "relay.example.net",
        "mydestination": "",
        "inet_interfaces": "127.0.0.1",
        "mynetworks": "127.0.0.0/8",
        "relayhost": f"[127.0.0.1]:{relay_to}",
        "smtpd_recipient_restrictions": ", ".join(restrictions),
        "smtpd_tls_security_level": "none",
        "message_size_limit": "60000000",
        "default_process_limit": "20",
    }
    (etc / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in (given | settings).items()))
    (etc / "master.cf").write_text(_MASTER.format(port=port))
    log = (folder / "log").open("wb")
    command = [str(POSTFIX), "-c", str(etc), "start-fg"]
    process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        _wait_for(port, process, folder / "log")
        yield port
    finally:
        subprocess.run([str(POSTFIX), "-c", str(etc), "stop"], capture_output=True, check=False, timeout=60)
        process.wait(60)
        log.close()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
                if link.recv(3) == b"220":
                    return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"Postfix did not start:\n{log.read_text()}")
