"""Folders whose files send, and SMTP users, through the real command line."""

from __future__ import annotations

import json

from installations import Installation


def test_folders_and_users_are_made_listed_and_taken_away(installation: Installation) -> None:
    def run(*arguments: str) -> str:
        done = installation.run(*arguments)
        return done.stdout if done.returncode == 0 else done.stderr

    assert installation.run("init").returncode == 0
    unknown = run("feed", "enable", "1", "import_zip", "--smtp-user", "s1_1")
    assert unknown == "listbridge: There is no SMTP user s1_1.\n"
    assert (
        run("smtp-user", "add", "s1_1", "--account", "1", "--password", "x") == "SMTP user s1_1 of account 1 added.\n"
    )
    both = ("--engines", "massive,transactional", "--smtp-user", "s1_1", "--quiet-seconds", "5")
    assert run("feed", "enable", "1", "import_zip", *both) == "Files in import_zip of account 1 are sent.\n"
    row = {"folder": "import_zip", "kind": "parcel", "engines": "massive,transactional", "smtp_user": "s1_1"}
    row |= {"enabled": True, "quiet_seconds": 5.0}
    assert json.loads(run("feed", "list", "1", "--json")) == [row]
    assert run("feed", "disable", "1", "import_zip").startswith("Nothing is taken in")
    assert run("smtp-user", "set-password", "s1_1", "--password", "y") == "New password for SMTP user s1_1.\n"
    assert [user["name"] for user in json.loads(run("smtp-user", "list", "--json"))] == ["s1_1"]
    assert run("smtp-user", "remove", "s1_1") == "SMTP user s1_1 removed.\n"
