"""`listbridge remote` and `listbridge transfer`, from adding a server to its removal."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_results import Run
from partner_servers import sftp_partner


def test_a_server_and_a_transfer_are_managed(customer: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTBRIDGE_TRANSFER_ALLOWED_NETWORKS", "127.0.0.0/8")

    def run(*arguments: str, fails: str = "") -> str:
        done = customer(*arguments)
        assert done.code == (1 if fails else 0), done.err
        assert "secret word" not in done.out + done.err
        assert fails in done.err
        return done.out

    at = ("--account", "7")
    with sftp_partner(tmp_path / "partner") as partner:
        shown, port = str(partner.access.fingerprint), str(partner.access.port)
        (partner.folder("out") / "people.csv").write_bytes(b"email\nann@example.com\n")
        server = ("--protocol", "sftp", "--host", "127.0.0.1", "--port", port, "--user", "partner")
        run("remote", "add", "files", *at, *server, fails="A password is needed")
        monkeypatch.setenv("LISTBRIDGE_PASSWORD", "secret word")
        run("remote", "add", "files", *at, *server)
        run("remote", "add", "files", *at, *server, fails="already")
        run("remote", "add", "keyed", *at, *server, "--key", "none", fails="cannot be read")
        assert shown in run("remote", "probe", "files", *at, fails="The host key is not pinned.")
        run("remote", "set", "files", *at, "--fingerprint", shown, "--new-password")
        assert "people.csv" in run("remote", "probe", "files", *at, "--folder", "out")
        assert '"unusable": 0' in run("remote", "probe", "files", *at, "--json")
        run("remote", "probe", "files", *at, "--folder", "../x", fails="leads upwards")
        assert shown in run("remote", "show", "files", *at)
        assert '"password": "set"' in run("remote", "show", "files", *at, "--json")
        assert shown in run("remote", "list", *at)
        fetch = ("--fetch", "--from", "out", "--into", "import/1", "--quiet", "0")
        assert run("transfer", "add", *at, "--remote", "files", *fetch) == "1\n"
        run("transfer", "add", *at, "--remote", "other", *fetch, fails="no server")
        run("transfer", "add", *at, "--remote", "files", "--deliver", "9", fails="no export 9")
        assert run("transfer", "run", "1") == "1\n"
        run("remote", "set", "files", *at, "--port", "1")
        run("transfer", "run", "1", fails="A running server tries it again")
    assert "people.csv" in run("transfer", "show", "1")
    assert '"state": "completed"' in run("transfer", "show", "1", "--json")
    run("transfer", "set", "1", "--after", "delete", "--pattern", "*.csv")
    run("transfer", "set", "1", "--after", "burn", fails="none of keep")
    assert "import/1" in run("transfer", "list")
    run("remote", "remove", "files", *at, fails="Transfers use the server")
    run("transfer", "remove", "1")
    run("transfer", "run", "1", fails="There is no transfer 1.")
    run("remote", "remove", "files", *at)
    run("remote", "show", "files", *at, fails="no server")


@pytest.mark.parametrize(
    "arguments", [("--fetch", "--deliver", "1"), (), ("--fetch",)], ids=["both", "neither", "without a folder"]
)
def test_a_transfer_is_one_way(customer: Run, arguments: tuple[str, ...]) -> None:
    assert customer("transfer", "add", "--account", "7", "--remote", "x", *arguments).code == 2
