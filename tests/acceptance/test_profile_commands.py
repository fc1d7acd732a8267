"""From a file nobody has seen before to its import, through the real command line."""

from __future__ import annotations

import re

from installations import Installation

CONTENT = "Kund;Mail;Födelsedag\nA-1;anna@example.com;31/12/1980\nA-2;bo@example.com;soon\n"
PROFILE = """
encoding = "cp1252"

[column_names]
Kund = "external"
Mail = "email"
"Födelsedag" = "10"

[[transforms.10]]
do = "date"
from = "dd/MM/yyyy"
"""


def test_profile_is_suggested_changed_set_and_used(installation: Installation) -> None:
    assert installation.run("init").returncode == 0
    (installation.directory / "people.csv").write_bytes(CONTENT.encode("cp1252"))
    (installation.directory / "p.toml").write_text(PROFILE, encoding="utf-8")
    suggested = installation.run("profile", "check", "people.csv", "--account", "1")
    assert 'encoding = "cp1252"' in suggested.stdout
    assert 'Mail = "email"' in suggested.stdout
    done = installation.run("profile", "set", "1", "import/1", "--from", "p.toml")
    assert done.returncode == 0, done.stderr
    imported = installation.run("import", "people.csv", "--account", "1", "--list", "1")
    assert imported.returncode == 0, imported.stderr
    assert re.search(r"^date +1$", imported.stdout, re.MULTILINE)
