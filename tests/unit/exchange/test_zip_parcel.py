"""ZIP archives: the one member, and every refusal."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.csv_reader import CsvRows
from exchange.errors import FileRefused
from exchange.profiles import Profile
from exchange.zip_parcel import SIZE_MOST, open_member

CSV = b"email;1\na@example.com;Ann\n"


def pack(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def patch_directory(archive: bytes, offset: int, form: str, value: int) -> bytes:
    """Overwrite a value of the first directory entry (APPNOTE 4.3.12)."""
    changed = bytearray(archive)
    struct.pack_into(form, changed, archive.index(b"PK\x01\x02") + offset, value)
    return bytes(changed)


GOOD = pack(("contacts.csv", CSV))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("name", ["contacts.zip", "contacts.csv"])
def test_member_is_read_again_and_again(method: int, name: str) -> None:
    stream = io.BytesIO(pack(("folder/", b""), ("folder/contacts.csv", CSV * 10_000), method=method))
    content = open_member(stream, name)
    assert content.read() == CSV * 10_000
    content.seek(3)
    assert content.read(5) == CSV[3:8]
    content.seek(0)
    assert content.read() == CSV * 10_000
    content.close()
    assert stream.closed


def test_other_files_are_passed_on_from_their_start() -> None:
    stream = io.BytesIO(CSV)
    stream.seek(5)
    assert open_member(stream, "contacts.csv") is stream
    assert stream.tell() == 0


def test_what_other_systems_add_is_ignored() -> None:
    archive = pack(("a/", b""), ("__MACOSX/._a.csv", b"x"), ("a/.DS_Store", b"x"), ("a/a.csv", CSV))
    assert open_member(io.BytesIO(archive), "a.zip").read() == CSV


def test_backslashes_separate_folders_too() -> None:
    archive = pack(("a\\", b""), ("__MACOSX\\._a.csv", b"x"), ("a\\a.csv", CSV))
    assert open_member(io.BytesIO(archive), "a.zip").read() == CSV


def test_rows_are_read_from_an_archive() -> None:
    source = CsvRows(lambda: open_member(io.BytesIO(GOOD), "a.zip"), Profile(), {"name": "1"})
    [batch] = source.batches(10)
    assert [row.email for row in batch.rows] == ["a@example.com"]
    assert list(source.batches(10, 1)) == []


@pytest.mark.parametrize(
    ("archive", "code"),
    [
        (CSV, "zip-damaged"),
        (b"", "zip-damaged"),
        (GOOD[:-30], "zip-damaged"),
        (GOOD[:40], "zip-damaged"),
        (GOOD[:45] + b"\xff\xff" + GOOD[47:], "zip-damaged"),
        (patch_directory(GOOD, 6, "<H", 99), "zip-damaged"),
        (patch_directory(GOOD, 8, "<H", 0x1), "zip-encrypted"),
        (patch_directory(GOOD, 8, "<H", 0x20), "zip-damaged"),
        (patch_directory(GOOD, 8, "<H", 0x40), "zip-damaged"),
        (patch_directory(GOOD, 10, "<H", zipfile.ZIP_LZMA), "zip-damaged"),
        (patch_directory(GOOD, 10, "<H", zipfile.ZIP_STORED), "zip-damaged"),
        (patch_directory(GOOD, 16, "<L", 1), "zip-damaged"),
        (patch_directory(GOOD, 20, "<L", 1 << 30), "zip-damaged"),
        (patch_directory(GOOD, 24, "<L", 5), "zip-damaged"),
        (patch_directory(GOOD, 24, "<L", 500), "zip-damaged"),
        (patch_directory(GOOD, 24, "<L", SIZE_MOST + 1), "zip-bomb"),
        (patch_directory(GOOD, 24, "<L", 11 << 20), "zip-bomb"),
        (patch_directory(GOOD, 42, "<L", 5), "zip-damaged"),
        (patch_directory(GOOD, 42, "<L", 1 << 31), "zip-damaged"),
        (pack(("a.csv", bytes(11 << 20))), "zip-bomb"),
        (pack(), "zip-members"),
        (pack(("a/", b"")), "zip-members"),
        (pack(("a.csv", CSV), ("b.csv", CSV)), "zip-members"),
        (
            pack(*((f"{number:0200}.csv", b"") for number in range(5000)), method=zipfile.ZIP_STORED),
            "zip-members",
        ),
        (pack(("../a.csv", CSV)), "zip-path"),
        (pack(("a/../../b.csv", CSV)), "zip-path"),
        (pack(("..", CSV)), "zip-path"),
        (pack(("/etc/a.csv", CSV)), "zip-path"),
        (pack(("C:/a.csv", CSV)), "zip-path"),
        (pack(("c:a.csv", CSV)), "zip-path"),
        (pack(("..\\a.csv", CSV)), "zip-path"),
        (pack(("a\\..\\..\\b.csv", CSV)), "zip-path"),
        (pack(("a/..\\../b.csv", CSV)), "zip-path"),
        (pack(("\\etc\\a.csv", CSV)), "zip-path"),
        (pack(("\\\\server\\a.csv", CSV)), "zip-path"),
        (pack(("C:\\a.csv", CSV)), "zip-path"),
        (pack(("a\nb.csv", CSV)), "zip-path"),
        (GOOD.replace(b"contacts.csv", b"cont\0cts.csv"), "zip-path"),
        (pack(("a.csv", CSV), ("../b/", b"")), "zip-path"),
        (pack(("a.zip", GOOD)), "zip-nested"),
        (pack(("a.csv", b"\x1f\x8b\x08")), "zip-nested"),
        (pack(("a.csv", b"Rar!\x1a\x07\x00")), "zip-nested"),
    ],
    # The bytes of an archive have the time in them, and ids must be the same in every process.
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_archive_is_refused(archive: bytes, code: str) -> None:
    stream = io.BytesIO(archive)
    with pytest.raises(FileRefused) as refusal:
        open_member(stream, "contacts.zip")
    assert refusal.value.code == code
    assert stream.closed


def test_large_member_that_packs_normally_is_no_bomb() -> None:
    content = b"".join(b"%d@example.com;%d\n" % (number, number * 7919) for number in range(420_000))
    archive = pack(("a.csv", content))
    assert len(content) > 11 << 20
    assert open_member(io.BytesIO(archive), "a.zip").read(20) == content[:20]


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_any_changed_byte_gives_the_content_or_a_refusal(position: int, value: int) -> None:
    archive = bytearray(GOOD)
    archive[position] = value
    try:
        content = open_member(io.BytesIO(bytes(archive)), "contacts.csv").read()
    except FileRefused:
        return
    assert content == CSV or position < 4
