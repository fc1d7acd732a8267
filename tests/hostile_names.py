"""Names that try to lead out of a home, the same for every command of every door."""

from __future__ import annotations

import os
from pathlib import Path

from ftp_doors import Office

SECRET = "secret.txt"
CONTENT = b"not yours"

NAMES = [
    b"..",
    b"../",
    b"../..",
    b"../../..",
    b"../10",
    b"../10/secret.txt",
    b"/../10/secret.txt",
    b"../../homes/10/secret.txt",
    b"import/../../10/secret.txt",
    b"./../10/secret.txt",
    b"//../10/secret.txt",
    b"..//10//secret.txt",
    b".././10/secret.txt",
    b"import/1/../../../10/secret.txt",
    b"/import/1/../../../10/secret.txt",
    b"../../../../../../../../etc/passwd",
    b"/../../../../etc/passwd",
    b"..\\10\\secret.txt",
    b"..\\..\\..\\etc\\passwd",
    b"\\\\host\\share\\x",
    b"C:\\secret.txt",
    b"import\\1\\x",
    b"..%2f10%2fsecret.txt\\",
    b"%2e%2e/%2e%2e/../../../10/secret.txt",
    b"~/../10/secret.txt",
    b"~",
    b"~root",
    b"~root/.ssh/authorized_keys",
    b"~/x",
    b"a\x00b",
    b"secret.txt\x00.csv",
    b"../10/secret.txt\x00",
    b"a\nb",
    b"a\rb",
    b"a\tb",
    b"a\x1bb",
    b"a\x7fb",
    b"\xc0\xae\xc0\xae/10/secret.txt",
    b"\xc0\xae\xc0\xae\xc0\xaf10\xc0\xafsecret.txt",
    b"\xe0\x80\xae\xe0\x80\xae/10/secret.txt",
    b"\xf0\x80\x80\xae/10/secret.txt",
    b"a\xc2\x85b",
    b"a\xe2\x80\xa8b",
    b"x" * 201,
    b"x" * 255,
    b"x" * 256,
    b"x" * 1900,
    "à".encode() * 128,
    b"import/1/" + b"y" * 300,
    b"link/secret.txt",
    b"link",
    b"direct",
    b"import/link/secret.txt",
    b"/proc/self/environ",
    b"/etc/passwd",
    b"/secret.txt",
    b"nowhere/../../10/secret.txt",
    b"../1",
    b"../10/",
    b"/../10",
    b"import/../..",
    b"export/../../10/secret.txt",
    b"import/1/../../..",
    b"%2e%2e%2f10%2fsecret.txt/../..",
    b"a\xed\xa0\x80b",
]

REFUSED = [
    name for name in NAMES if b"/../" in name or name.startswith((b"..", b"~", b"link", b"a", b"\xc0", b"x" * 201))
]
"""Those that a file can never have."""


def set_traps(office: Office) -> None:
    """Make a neighbour whose number begins like the partner's, and links that lead to it."""
    neighbour = office.storage.prepare_home(10)
    (neighbour / SECRET).write_bytes(CONTENT)
    (office.home / "link").symlink_to(neighbour)
    (office.home / "direct").symlink_to(neighbour / SECRET)
    (office.home / "import" / "link").symlink_to(neighbour)


def snapshot(root: Path, *, without: Path) -> dict[str, tuple[int, float]]:
    found = {}
    for folder, folders, files in os.walk(root):
        if Path(folder) == without:
            folders.clear()
            continue
        for name in (*folders, *files):
            path = Path(folder) / name
            if path == without:
                continue
            found[str(path)] = (path.lstat().st_size if path.is_file() else 0, path.lstat().st_mtime)
    return found
