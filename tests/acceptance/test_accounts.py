"""An operator opens, closes and guards an account while its callers are at every door."""

from __future__ import annotations

import ftplib
import urllib.parse
import urllib.request

from installations import Installation, stop

CANARY = "Canary-7f3a"


def call(installation: Installation, page: str, **parameters: str) -> str:
    query = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"http://{installation.http}/frontend/{page}.aspx?{query}", timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def activate(installation: Installation, password: str, service: str = "FrontEnd") -> str:
    text = call(installation, "WSActivation", usr="a1", pwd=password, nl_url="a.example.com", ws_name=service)
    return text.partition("<ReturnCode>")[2].partition("<")[0]


def check(installation: Installation) -> str:
    return call(installation, "Xmlchksubscriber", List="1", Email="ada@example.com")


def ftp_answer(installation: Installation) -> str:
    host, _, port = installation.ftp.partition(":")
    with ftplib.FTP() as ftp:
        ftp.connect(host, int(port), timeout=30)
        try:
            return ftp.login("partner", CANARY)
        except ftplib.error_perm as refusal:
            return str(refusal)


def test_an_operator_guards_an_account(installation: Installation) -> None:
    def run(*arguments: str) -> None:
        result = installation.run(*arguments, LISTBRIDGE_PASSWORD=CANARY)
        assert result.returncode == 0, result.stderr

    run("migrate")
    run("account", "add", "1")
    run("list", "add", "--account", "1", "--name", "News")
    run("ftp-user", "add", "partner", "--account", "1")
    (installation.directory / "listbridge.toml").write_text('log_level = "debug"\n')
    server = installation.serve()

    assert check(installation) == "1"
    run("account", "service", "1", "pages", "--restrict", "--deactivate")
    assert check(installation) == "-1011"
    assert activate(installation, "wrong") == "-1002"
    assert activate(installation, CANARY) == "0"
    assert check(installation) == "1"
    run("account", "deny", "1", "pages", "127.0.0.0/8")
    run("account", "forget-address", "1", "pages", "127.0.0.1")
    assert check(installation) == "-1011"
    assert activate(installation, CANARY) == "-1012"
    run("account", "service", "1", "import", "--disable")
    assert activate(installation, CANARY, "WSMailUpImport") == "-1006"

    run("account", "set-state", "1", "suspended")
    assert activate(installation, CANARY) == "-1003"
    assert ftp_answer(installation).startswith("530")
    run("account", "set-state", "1", "active")
    assert ftp_answer(installation).startswith("230")
    installation.run("account", "password", "1", LISTBRIDGE_PASSWORD="other")
    assert activate(installation, CANARY) == "-1002"
    assert activate(installation, "other") == "-1012"

    code, output = stop(server)
    assert code == 0
    assert "wsactivation" in output
    # Passwords in the address of a page are in no log, however much is logged.
    assert CANARY not in output and "usr=" not in output
