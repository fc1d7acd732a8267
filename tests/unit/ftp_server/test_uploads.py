"""Files on their way in, without a network."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from audience.accounts import Account
from ftp_server.arrival import Ending
from ftp_server.names import Place, Refused
from ftp_server.uploads import (
    APPEND,
    CONTINUABLE_SECONDS,
    Destination,
    Upload,
    ending_of,
    find_partial,
    put_aside,
)
from jobs.storage import Storage


@pytest.fixture
def target(storage: Storage) -> Path:
    return storage.prepare_home(1, "notes") / "notes" / "a.txt"


def open_upload(storage: Storage, target: Path, offset: int | None = None) -> Upload:
    account = Account(1, 1, "One", "UTC", "active")
    upload = Upload(storage, Destination(account, Place("notes", target.name), target, None), None)
    upload.open(offset)
    return upload


def receiving(storage: Storage) -> list[str]:
    return sorted(path.suffix for path in storage.receiving.iterdir())


def test_hides_a_file_until_it_is_published(storage: Storage, target: Path) -> None:
    upload = open_upload(storage, target)
    upload.write(b"one")
    assert not target.exists()
    assert receiving(storage) == ["", ".json"]
    assert upload.close(Ending.END) is Ending.END
    upload.publish()
    assert target.read_bytes() == b"one"
    assert receiving(storage) == [".json"]


def test_continues_a_file_that_was_put_aside(storage: Storage, target: Path) -> None:
    first = open_upload(storage, target)
    first.write(b"onetwo")
    first.close(Ending.RESET)
    first.put_aside()
    second = open_upload(storage, target, offset=3)
    second.write(b"THREE")
    assert (second.size, second.received) == (8, 5)
    second.close(Ending.END)
    second.publish()
    assert target.read_bytes() == b"oneTHREE"
    assert not list((target.parent / "incomplete").iterdir())


def test_keeps_what_was_continued_when_it_is_cut_again(storage: Storage, target: Path) -> None:
    target.write_bytes(b"one")
    upload = open_upload(storage, target, APPEND)
    upload.write(b"two")
    upload.discard()
    assert (target.parent / "incomplete" / "a.txt").read_bytes() == b"onetwo"
    assert receiving(storage) == []
    again = open_upload(storage, target, APPEND)
    again.close(Ending.RESET)
    again.put_aside()
    assert (target.parent / "incomplete" / "a.txt").stat().st_nlink == 1


def test_refuses_to_continue_what_is_not_there_or_in_use(storage: Storage, target: Path) -> None:
    with pytest.raises(Refused, match=r"^554 "):
        open_upload(storage, target, offset=1)
    target.write_bytes(b"one")
    with pytest.raises(Refused, match=r"^554 "):
        open_upload(storage, target, offset=4)
    (storage.imports / "link").hardlink_to(target)
    with pytest.raises(Refused, match=r"^550 "):
        open_upload(storage, target, offset=1)
    assert target.read_bytes() == b"one"
    assert receiving(storage) == []


def test_appends_to_nothing_as_to_an_empty_file(storage: Storage, target: Path) -> None:
    upload = open_upload(storage, target, APPEND)
    assert upload.size == 0
    upload.discard()


def test_does_not_continue_what_is_old(target: Path) -> None:
    aside = target.parent / "incomplete" / "a.txt"
    aside.parent.mkdir()
    aside.write_bytes(b"yesterday")
    assert find_partial(target) == aside
    old = time.time() - CONTINUABLE_SECONDS - 1
    os.utime(aside, (old, old))
    assert find_partial(target) is None


def test_keeps_the_name_for_the_newest_file_put_aside(target: Path) -> None:
    for content in (b"first", b"second", b"third"):
        target.write_bytes(content)
        put_aside(target, target)
    aside = target.parent / "incomplete"
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == {
        "a.txt": b"third",
        "a-1.txt": b"first",
        "a-2.txt": b"second",
    }


def test_stops_when_the_reserve_is_reached(storage: Storage, target: Path) -> None:
    greedy = Storage(storage.root, reserve=1 << 60)
    upload = open_upload(greedy, target)
    block = bytes(1 << 20)
    with pytest.raises(OSError) as caught:
        for _block in range(17):
            upload.write(block)
    assert ending_of(caught.value) is Ending.DISK_FULL
    assert ending_of(OSError(errno.EIO, "")) is Ending.DISK_FAILED
    upload.discard()
    assert receiving(storage) == []
