"""The server of all roles, before it starts any of them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from listbridge import supervisor
from listbridge.errors import CommandError
from listbridge.settings import Address, Settings


@pytest.mark.parametrize("door", ["http", "ftp", "ftps_implicit", "sftp"])
def test_a_door_that_is_taken_is_named(door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The log of a process is set up for good, and this one has further tests.
    monkeypatch.setattr(supervisor, "configure_logging", lambda _settings, _role: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = {"http": Address("127.0.0.1", 0), "ftp": Address("127.0.0.1", 0)}
        doors = {**free, door: Address("127.0.0.1", taken.getsockname()[1])}
        settings = Settings(data_dir=tmp_path / "data", **doors)  # type: ignore[arg-type]
        with pytest.raises(CommandError, match=rf"is in use.*setting {door}\)"):
            supervisor.serve(settings, lambda: None)
    assert not (tmp_path / "data").exists()
