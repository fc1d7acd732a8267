"""Names and places of a home."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.profiles import Profile
from ftp_server.names import (
    Place,
    Refused,
    Role,
    check_folder,
    check_path,
    check_upload,
    explain_kept,
    is_protected,
    role_of,
)


@pytest.mark.parametrize(
    "path",
    ["a.csv", "/a.csv", "import/1/a.csv", "à.csv", "a b.csv", "..a", "a..", "a/../b", "x/..", "%2e%2e", "-"],
)
def test_accepts_plain_names(path: str) -> None:
    check_path(path, "/")


@pytest.mark.parametrize(
    ("path", "folder", "code"),
    [
        ("..", "/", "550"),
        ("../a", "/", "550"),
        ("a/../../b", "/", "550"),
        ("/..", "/import", "550"),
        ("../..", "/import", "550"),
        ("~", "/", "550"),
        ("~root/a", "/", "550"),
        ("~a.csv", "/", "550"),
        ("a\ufffdb", "/", "553"),
        ("a\\b", "/", "553"),
        ("a\x00b", "/", "553"),
        ("a\nb", "/", "553"),
        ("a\x7fb", "/", "553"),
        ("a\x85b", "/", "553"),
        ("a\u2028b", "/", "553"),
        ("x" * 201, "/", "553"),
        ("à" * 101, "/", "553"),
    ],
)
def test_refuses_names_that_mean_something_else(path: str, folder: str, code: str) -> None:
    with pytest.raises(Refused, match=f"^{code} "):
        check_path(path, folder)


@given(st.text(alphabet="ab./~\\\x00\n", max_size=20), st.sampled_from(["/", "/import", "/import/1"]))
def test_accepted_paths_stay_inside(path: str, folder: str) -> None:
    try:
        check_path(path, folder)
    except Refused:
        return
    home = "/homes/1"
    joined = path if path.startswith("/") else f"{folder}/{path}"
    assert Path(os.path.normpath(f"{home}/{joined}")).is_relative_to(home)


@pytest.mark.parametrize(
    ("folder", "name", "upload", "mkdir"),
    [
        ("", "", False, True),
        ("", "a.csv", True, True),
        ("notes", "a.csv", True, True),
        ("export", "a.csv", False, False),
        ("export/deep", "a.csv", False, False),
        ("import", "a.csv", False, True),
        ("import/1", "a.csv", True, True),
        ("import/1/sub", "a.csv", True, True),
        ("import/1/processed", "a.csv", False, False),
        ("import/1/failed", "a.csv", False, False),
        ("import/1/incomplete", "a.csv", False, False),
        ("import/1/sub/incomplete", "a.csv", False, False),
        ("import/1", "processed", False, False),
        ("notes", "processed", True, True),
    ],
)
def test_knows_where_files_and_folders_go(folder: str, name: str, upload: bool, mkdir: bool) -> None:
    for check, allowed in ((check_upload, upload), (check_folder, mkdir)):
        if allowed:
            check(Place(folder, name))
        else:
            with pytest.raises(Refused, match=r"^55\d "):
                check(Place(folder, name))


@pytest.mark.parametrize(
    ("folder", "name", "protected"),
    [
        ("", "", True),
        ("", "import", True),
        ("", "export", True),
        ("import", "1", True),
        ("import/1", "sub", False),
        ("import/1", "processed", True),
        ("import/1", "failed", True),
        ("import/1/sub", "incomplete", True),
        ("import/1/processed", "a.csv", False),
        ("", "notes", False),
        ("", "processed", False),
    ],
)
def test_protects_what_the_server_needs(folder: str, name: str, protected: bool) -> None:
    assert is_protected(Place(folder, name)) is protected


def test_places_paths() -> None:
    home = Path("/homes/1")
    assert Place.of(home, home) == Place("", "")
    assert Place.of(home, home / "a") == Place("", "a")
    assert Place.of(home, home / "import/1/a") == Place("import/1", "a")
    assert Place("import/1", "a").list_name == "1"
    assert Place("", "a").list_name == ""


@pytest.mark.parametrize(
    ("profile", "name", "role"),
    [
        (None, "a.csv", Role.PLAIN),
        (Profile(), "a.csv", Role.DATA),
        (Profile(), "a.csv.part", Role.PLAIN),
        (Profile(), ".a.csv", Role.PLAIN),
        (Profile(pattern="*.csv"), "a.txt", Role.PLAIN),
        (Profile(pattern="*.csv"), "A.CSV", Role.DATA),
        (Profile(), "a.csv.done", Role.DATA),
        (Profile(completeness="marker"), "a.csv.done", Role.MARKER),
        (Profile(completeness="marker"), ".done", Role.PLAIN),
        (Profile(completeness="marker", pattern="*.csv"), "a.csv.done", Role.MARKER),
        (Profile(completeness="marker", marker_suffix=".ok"), "a.csv.done", Role.DATA),
    ],
)
def test_tells_what_a_name_means(profile: Profile | None, name: str, role: Role) -> None:
    assert role_of(profile, name) is role
    assert bool(explain_kept(profile, name)) is (role is Role.PLAIN)
