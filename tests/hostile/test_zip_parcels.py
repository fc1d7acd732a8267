"""Packed files made to harm: each is refused with its code, or imported as what it is, and nothing gets onto the disk.

What each damaged byte of an archive does is in `tests/unit/exchange/test_zip_parcel.py`.
"""

from __future__ import annotations

import io
import shutil
import stat
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from csv_corpus import Audience, open_audience

from exchange.errors import FileRefused
from exchange.profiles import Profile
from exchange.zip_parcel import open_member
from jobs.import_results import ImportResult

CSV = b"email;1\na@example.com;Ann\n"
MANY = b"email;1\n" + b"".join(b"p%d@example.com;%d\n" % (number, number * 7919) for number in range(200))


@pytest.fixture(scope="module")
def audience(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audience]:
    directory = tmp_path_factory.mktemp("parcels")
    shutil.copyfile(sqlite_template, directory / "listbridge.db")
    with open_audience(f"sqlite:///{directory}/listbridge.db", directory) as audience:
        yield audience


def pack(
    *members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED, comment: bytes = b""
) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.comment = comment
        for name, content in members:
            archive.writestr(name, content, method)
    return out.getvalue()


def patch(archive: bytes, signature: bytes, offset: int, form: str, value: int) -> bytes:
    """Overwrite a value of the first record with this signature (APPNOTE 4.3)."""
    changed = bytearray(archive)
    struct.pack_into(form, changed, archive.index(signature) + offset, value)
    return bytes(changed)


def deliver(audience: Audience, directory: Path, content: bytes) -> ImportResult:
    """Import an archive; nothing but the archive itself may be in the directory afterwards."""
    audience.clear()
    result = audience.import_bytes(content, Profile(), directory / "people.zip")
    assert [path.name for path in directory.iterdir()] == ["people.zip"]
    return result


SLIPS = [
    "../people.csv",
    "../../../../../../etc/passwd",
    "a/../../people.csv",
    "a/b/../../../people.csv",
    "..",
    "a/..",
    "/people.csv",
    "//server/share/people.csv",
    "/etc/cron.d/people",
    "C:/people.csv",
    "C:people.csv",
    "c:\\people.csv",
    "..\\people.csv",
    "a\\..\\..\\people.csv",
    "\\\\server\\share\\people.csv",
    "\\people.csv",
    "a/..\\people.csv",
    "people.csv\n",
    "peo\rple.csv",
    "people\x1b[2J.csv",
    "people\x01.csv",
]


@pytest.mark.parametrize("name", SLIPS, ids=range(len(SLIPS)))
def test_names_that_lead_elsewhere(audience: Audience, tmp_path: Path, name: str) -> None:
    for members in ([(name, CSV)], [("people.csv", CSV), (name, b"")]):
        result = deliver(audience, tmp_path, pack(*members))
        assert (result.state, result.error_code) == ("failed", "zip-path")
    assert audience.people() == []


@pytest.mark.parametrize(
    "name",
    [
        "people.csv",
        "a/b/c/people.csv",
        "...csv",
        "a..b.csv",
        "~/people.csv",
        "~root",
        "$(id).csv",
        "%2e%2e/x.csv",
        "città.csv",
        "CON",
    ],
)
def test_names_that_only_look_odd(audience: Audience, tmp_path: Path, name: str) -> None:
    assert deliver(audience, tmp_path, pack((name, CSV))).counters["new"] == 1


def test_a_link_is_no_link_here(audience: Audience, tmp_path: Path) -> None:
    link = zipfile.ZipInfo("people.csv")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    # What a link points to is its content, and that is a header nobody knows.
    result = deliver(audience, tmp_path, pack((link, b"/etc/passwd")))
    assert (result.state, result.error_code) == ("failed", "unknown-column")


def bomb(size: int, told: int | None = None) -> bytes:
    """Return an archive of so many zeros, made without holding them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block, checksum, body = bytes(1 << 20), 0, io.BytesIO()
    for _ in range(size >> 20):
        body.write(packer.compress(block))
        checksum = zlib.crc32(block, checksum)
    body.write(packer.flush())
    packed, told = body.getvalue(), size if told is None else told
    name = b"people.csv"
    sizes = struct.pack("<LLL", checksum, len(packed), told)
    local = b"PK\x03\x04" + struct.pack("<HHHHH", 20, 0, 8, 0, 33) + sizes + struct.pack("<HH", len(name), 0) + name
    entry = b"PK\x01\x02" + struct.pack("<HHHHHH", 20, 20, 0, 8, 0, 33) + sizes
    entry += struct.pack("<HHHHHLL", len(name), 0, 0, 0, 0, 0, 0) + name
    start = len(local) + len(packed)
    end = b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, 1, 1, len(entry), start, 0)
    return local + packed + entry + end


@pytest.mark.parametrize(
    ("size", "told", "code"),
    [
        (64 << 20, None, "zip-bomb"),
        # Told to be small, it is read no further than that.
        (64 << 20, 1 << 20, "zip-damaged"),
        (64 << 20, 0, "zip-damaged"),
        (1 << 20, 9 << 20, "zip-damaged"),
        (1 << 20, 0xFFFFFFFE, "zip-bomb"),
    ],
)
def test_bombs_go_off_nowhere(size: int, told: int | None, code: str) -> None:
    content = bomb(size, told)
    assert len(content) * 900 < size
    tracemalloc.start()
    with pytest.raises(FileRefused) as refusal:
        open_member(io.BytesIO(content), "people.zip")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refusal.value.code == code
    assert peak < 8 << 20


def test_many_members(audience: Audience, tmp_path: Path) -> None:
    # One local entry, and 100,000 in the directory that all point to it: an archive that grows by itself.
    single = pack(("p", CSV))
    start = single.index(b"PK\x01\x02")
    entry, count = single[start : single.index(b"PK\x05\x06")], 100_000
    directory = entry * count
    zip64 = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(directory), start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, start + len(directory), 1)
    end = struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    result = deliver(audience, tmp_path, single[:start] + directory + zip64 + locator + end)
    assert (result.state, result.error_code) == ("failed", "zip-members")


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ([("a.csv", CSV), ("b.csv", CSV)], "zip-members"),
        ([("a.csv", CSV), ("README.txt", b"read me")], "zip-members"),
        ([("a/", b""), ("b/", b"")], "zip-members"),
        ([("a.zip", pack(("a.csv", CSV)))], "zip-nested"),
        ([("a.csv", pack(("a.csv", CSV)))], "zip-nested"),
        ([("a.csv.gz", b"\x1f\x8b\x08" + bytes(20))], "zip-nested"),
        ([("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(20))], "zip-nested"),
        ([("a.bz2", b"BZh91AY&SY" + bytes(20))], "zip-nested"),
        ([("a.xz", b"\xfd7zXZ\x00" + bytes(20))], "zip-nested"),
        ([("a.zst", b"\x28\xb5\x2f\xfd" + bytes(20))], "zip-nested"),
        ([("a.csv", b"")], "empty-file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_contents(
    audience: Audience, tmp_path: Path, members: list[tuple[str | zipfile.ZipInfo, bytes]], code: str
) -> None:
    result = deliver(audience, tmp_path, pack(*members))
    assert (result.state, result.error_code) == ("failed", code)


GOOD = pack(("people.csv", MANY))
ENTRY, LOCAL = b"PK\x01\x02", b"PK\x03\x04"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (patch(GOOD, ENTRY, 8, "<H", 0x1), "zip-encrypted"),
        (patch(GOOD, ENTRY, 8, "<H", 0x41), "zip-encrypted"),
        (patch(patch(GOOD, ENTRY, 8, "<H", 0x1), ENTRY, 10, "<H", 99), "zip-encrypted"),
        (patch(GOOD, ENTRY, 16, "<L", 1), "zip-damaged"),
        (patch(GOOD, ENTRY, 10, "<H", 9), "zip-damaged"),
        (patch(GOOD, ENTRY, 10, "<H", 93), "zip-damaged"),
        (patch(GOOD, LOCAL, 26, "<H", 3), "zip-damaged"),
        (pack(("people.csv", MANY), method=zipfile.ZIP_BZIP2), "zip-damaged"),
        (pack(("people.csv", MANY), method=zipfile.ZIP_LZMA), "zip-damaged"),
        # Something in front, as in an archive that unpacks itself, is no archive here.
        (b"MZ" + bytes(100) + GOOD, "zip-damaged"),
        (GOOD + bytes(100_000), "zip-damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damaged_archives(audience: Audience, tmp_path: Path, content: bytes, code: str) -> None:
    result = deliver(audience, tmp_path, content)
    assert (result.state, result.error_code) == ("failed", code)
    assert audience.people() == []


def test_cut_archives() -> None:
    for length in range(4, len(GOOD) - 1, 7):
        with pytest.raises(FileRefused) as refusal:
            open_member(io.BytesIO(GOOD[:length]), "people.zip")
        assert refusal.value.code == "zip-damaged", length


def streamed() -> bytes:
    """Return an archive as it is written to a pipe: sizes come behind the member."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError

    out = Pipe()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("people.csv", MANY)
    return out.getvalue()


def large_form() -> bytes:
    out = io.BytesIO()
    with (
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("people.csv", "w", force_zip64=True) as member,
    ):
        member.write(MANY)
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        streamed(),
        large_form(),
        pack(("people.csv", MANY), method=zipfile.ZIP_STORED),
        pack(("people.csv", MANY), comment=b"x" * 60_000),
        GOOD + b"trailing bytes",
        pack(("people.csv", b"\xef\xbb\xbf" + MANY)),
        pack(("people.csv", MANY.decode().encode("utf-16"))),
        pack(("__MACOSX/._people.csv", b"x"), ("people.csv", MANY), (".DS_Store", b"x")),
    ],
    ids=range(9),
)
def test_good_archives_of_every_kind(audience: Audience, tmp_path: Path, content: bytes) -> None:
    result = deliver(audience, tmp_path, content)
    assert (result.state, result.counters["new"]) == ("completed", 200)
