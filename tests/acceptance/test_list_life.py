"""The life of a list on the real server: made over the wire, filled by FTP, set up and deleted at the command line."""

from __future__ import annotations

import ftplib
import json
import re
import time
from io import BytesIO
from typing import Any

import pytest
from installations import Installation
from keyed_calls import MANAGE, SEND, Keyed
from web_server import Site

FILE = b"111;1\nanna@example.com;Anna\nbruno@example.com;Bruno\n"
DEADLINE_SECONDS = 60


def command(installation: Installation, *arguments: str) -> str:
    """Run a command that must work; return its output."""
    result = installation.run(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def imports(installation: Installation) -> Any:
    """Return the imports of the account."""
    return json.loads(command(installation, "import", "list", "--account", "7", "--json"))


def upload(installation: Installation, folder: str) -> str:
    """Put the file into a folder; return the server's answer."""
    host, port = installation.ftp.split(":")
    with ftplib.FTP() as ftp:
        ftp.connect(host, int(port), timeout=DEADLINE_SECONDS)
        ftp.login("p7", "secret")
        return ftp.storbinary(f"STOR {folder}/people.csv", BytesIO(FILE))


@pytest.fixture
def office(installation: Installation) -> Keyed:
    """A running server with account 7 and its FTP user p7."""
    command(installation, "migrate")
    command(installation, "account", "add", "7", "--password", "secret")
    command(installation, "ftp-user", "add", "p7", "--account", "7", "--password", "secret")
    page = installation.directory / "page.html"
    page.write_text("<p>Hello</p>")
    command(installation, "template", "add", "--account", "7", "--subject", "Default", "--html", str(page))
    command(installation, "list", "defaults", "--account", "7", "language=it", "default_prefix=0044")
    installation.serve()
    host, port = installation.http.split(":")
    return Keyed(Site(host, int(port)))


def test_a_list_from_its_making_to_its_end(installation: Installation, office: Keyed) -> None:
    key = office.log_in(user="a7", console=7)
    wanted = {"name": "News", "defaultSettings": "default", "copyTemplate": "true", "options": {"public": "1"}}
    made = office.call(MANAGE, "CreateList", accessKey=key, **wanted)
    assert made.findtext("list/listID") == "1"
    shown = json.loads(command(installation, "list", "show", "1", "--account", "7", "--json"))
    assert shown["guid"] == made.findtext("list/listGUID")
    chosen = {name: shown["settings"][name] for name in ("language", "default_prefix", "public")}
    assert chosen == {"language": "it", "default_prefix": "+44", "public": True}
    templates = office.call(SEND, "GetTemplates", accessKey=key, listID=1)
    assert templates.findtext("list/templates/template/subject") == "Default"

    assert upload(installation, "import/1").startswith("226")
    deadline = time.monotonic() + DEADLINE_SECONDS
    while [run["state"] for run in imports(installation)] != ["completed"]:
        assert time.monotonic() < deadline, "the file was not imported"
        time.sleep(0.1)

    command(installation, "list", "set", "1", "--account", "7", "color=#123456", "description=Once a week")
    assert "\ncolor=#123456\n" in command(installation, "list", "show", "1", "--account", "7")
    assert installation.run("list", "set", "1", "--account", "7", "color=red").returncode == 1

    assert office.code(MANAGE, "CreateGroup", accessKey=key, listID=1, groupName="Staff") == "0"
    assert re.search(
        r"^1 +Staff$", command(installation, "group", "list", "--account", "7", "--list", "1"), re.MULTILINE
    )
    command(installation, "list", "delete", "1", "--account", "7")
    assert office.code(MANAGE, "GetGroups", accessKey=key, listID=1) == "5"
    assert command(installation, "list", "list", "--account", "7") == "There are no lists.\n"
    with pytest.raises(ftplib.error_perm, match=r"^55"):
        upload(installation, "import/1")
    assert len(imports(installation)) == 1
