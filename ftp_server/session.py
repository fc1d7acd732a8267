# ruff: noqa: N802  (pyftpdlib calls handlers by the name of their command)
"""The sessions of the FTP door: thin handlers of the commands that move files."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

from OpenSSL import SSL

from ftp_server.arrival import Ending
from ftp_server.commands import hash_range, parse_range, parse_time
from ftp_server.control import ControlConnection
from ftp_server.journal import Door
from ftp_server.names import Place, Refused, Role, check_folder, check_path, check_upload, is_protected
from ftp_server.quotas import check_quota, room_in_home
from ftp_server.records import Found, look_up
from ftp_server.transfer import ActiveConnector, PassiveListener, connection_of
from ftp_server.uploads import APPEND, Destination, Upload, ending_of, find_destination, find_partial
from jobs.feeds import IMPORT_FOLDER

_MEASURED_EVERY = 4 * 1024 * 1024
"""Bytes of an upload after which the home is measured again."""

_DURING_UPLOAD = frozenset(("ABOR", "STAT", "NOOP", "QUIT"))


@dataclass(frozen=True, slots=True)
class Survey:
    """What is found out before an upload."""

    found: Found
    refusal: str | None
    """Why the home takes no more files."""
    room: int | None
    """Bytes that the home still takes; None: without limit."""


class Session(ControlConnection):
    """One client."""

    passive_dtp = PassiveListener
    active_dtp = ActiveConnector

    _restart_position: int
    _rnfr: str | None
    _in_dtp_queue: tuple[Upload, str] | None

    def __init__(self, conn: socket.socket, server: Any, ioloop: Any = None) -> None:
        """Take over an accepted connection."""
        self._upload: Upload | None = None
        self._watched: Upload | None = None
        self._quiet: Any = None
        self._announced: int | None = None
        self._room: int | None = None
        self._measured_at = 0
        self._then = ""
        super().__init__(conn, server, ioloop)

    # pyftpdlib's transfer type: always binary, since a file must stay what its sender has, byte for byte.
    @property
    def _current_type(self) -> str:
        return "i"

    @_current_type.setter
    def _current_type(self, _type: str) -> None:
        pass

    def before_command(self, command: str, argument: str) -> None:
        """Judge the upload before, and protect the one that is going on."""
        try:
            super().before_command(command, argument)
        except Refused:
            self._refuse_data()
            raise
        self._tell_watched(command, argument)
        if self._upload is not None and command not in _DURING_UPLOAD:
            if self._in_dtp_queue is None:
                raise Refused("450 Wait for the end of the transfer, or abort it.")
            self.cancel_upload()

    # Uploads

    def ftp_ALLO(self, line: str) -> None:
        """Take note of the size of the next upload (RFC 959, 4.1.3)."""
        size = line.split(" ")[0]
        if size.isascii() and size.isdigit() and len(size) < 19:
            self._announced = int(size)
            self.respond("200 The upload that follows must have this size.")
        else:
            self.respond("501 ALLO takes a number of bytes.")

    def ftp_STOR(self, file: str, mode: str = "w") -> None:
        """Receive a file; APPE comes here too."""
        offset = APPEND if "a" in mode else self._restart_position or None
        self._restart_position = 0
        self._begin_upload(Path(file), offset, "")

    def ftp_STOU(self, line: str) -> None:
        """Receive a file under a name that no other has (RFC 1123, 4.1.2.9)."""
        if self._restart_position:
            raise Refused("450 Can't STOU while REST request is pending.")
        check_path(line, self.fs.cwd)
        wanted = Path(self.fs.ftp2fs(line or "upload"))
        name = f"{wanted.stem}-{token_hex(4)}{wanted.suffix}"
        if not self.fs.validpath(str(wanted)):
            raise Refused("550 There is no such folder.")
        self._begin_upload(wanted.with_name(name), None, f"FILE: {name}")

    def _begin_upload(self, target: Path, offset: int | None, text: str) -> None:
        announced, self._announced = self._announced, None
        place = self._place(target)
        try:
            check_upload(place)
        except Refused:
            self._refuse_data()
            raise
        job = partial(self._survey, place, announced)
        self.defer(job, lambda survey: self._try_upload(target, survey, announced, offset, text))

    def _survey(self, place: Place, announced: int | None) -> Survey:
        """Find out, in a thread, all that is to be known before an upload."""
        user, storage = self.login, self.door.storage
        if user is None:
            raise Refused("530 Log in with USER and PASS first.")
        found = look_up(self.door.database, storage, user.account.id, place.folder)
        return Survey(found, check_quota(storage, user, announced or 0), room_in_home(storage, user))

    def _find(self, place: Place, then: Callable[[Found], None]) -> None:
        assert self.login is not None
        account = self.login.account
        self.defer(partial(look_up, self.door.database, self.door.storage, account.id, place.folder), then)

    def _try_upload(self, target: Path, survey: Survey, announced: int | None, offset: int | None, text: str) -> None:
        try:
            if survey.refusal is not None:
                raise Refused(f"552 {survey.refusal}")
            upload = self._open_upload(target, survey.found, announced, offset)
        except Refused:
            self._refuse_data()
            raise
        self._room, self._measured_at = survey.room, 0
        self._receive(upload, text)

    def has_room_for(self, upload: Upload) -> bool:
        """Tell whether the home may hold what has come of an upload; it is measured again now and then."""
        if self._room is None:
            return True
        if upload.received - self._measured_at >= _MEASURED_EVERY and self.login is not None:
            self._measured_at = upload.received
            job = partial(room_in_home, self.door.storage, self.login)
            then = partial(self._measured, upload, upload.received)
            self.door.bridge.submit(self.door.pool, job, then)
        return upload.received <= self._room

    def _measured(self, upload: Upload, received: int, future: Future[int | None]) -> None:
        left = future.result() if future.exception() is None else None
        if left is not None and self._upload is upload:
            self._room = received + left

    def _open_upload(self, target: Path, found: Found, announced: int | None, offset: int | None) -> Upload:
        destination = self._destination(target, found)
        feed = destination.feed
        if not found.has_room:
            raise Refused("452 Not enough space.")
        if destination.role is Role.DATA and feed and feed.profile.completeness == "size" and announced is None:
            raise Refused("550 Announce the size with ALLO first.")
        upload = Upload(self.door.storage, destination, announced)
        try:
            if offset is not None and self.door.desk.is_watched(target):
                raise Refused("450 The file is being judged; try again later.")
            upload.open(offset)
        except OSError as error:
            full = ending_of(error) is Ending.DISK_FULL
            raise Refused("452 Not enough space." if full else "451 The file could not be stored.") from error
        return upload

    def _receive(self, upload: Upload, text: str) -> None:
        self._upload = upload
        connection = connection_of(self)
        if connection is None:
            self._in_dtp_queue = (upload, "STOR")
            self.reply(f"150 {text or 'File status okay. About to open data connection.'}")
        else:
            connection.file_obj = upload
            connection.enable_receiving("i", "STOR")
            self.reply(f"125 {text or 'Data connection already open. Transfer starting.'}")

    def cancel_upload(self) -> None:
        """Drop an upload whose data connection never came."""
        if self._upload is not None and self._in_dtp_queue is not None:
            upload, self._upload, self._in_dtp_queue = self._upload, None, None
            upload.discard()

    def data_ended(self, upload: Upload, ending: Ending) -> None:
        """The data connection of an upload is closed; commands wait until it is judged."""
        if ending is Ending.END and self.visit is not None:
            self.visit.count_file(sent=False)
        if not self._closed:
            self.pause()
        self.door.desk.end(upload, Ending.QUIT if self._then.startswith("QUIT") else ending, self)

    def is_alive(self) -> bool:
        """Tell whether the client still holds the control connection; commands that wait are a sign of life."""
        if self._closed:
            return False
        if self._waiting or self._then:
            return True
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except (BlockingIOError, SSL.WantReadError):
            return True
        except (OSError, SSL.Error):
            return False

    def answer(self, reply: str) -> None:
        """Reply to a transfer and go on, first with the command that interrupted it."""
        self._upload = None
        if self._closed:
            return
        if not self._waiting:
            # A client that hangs up without reading the reply may have sent QUIT, which a reset would take away.
            self.handle_read()
        then, self._then = self._then, ""
        if self._closed:
            return
        self.respond(reply)
        if then == "QUIT":
            self._waiting.appendleft(b"QUIT")
        elif then == "ABOR":
            self.respond("226 ABOR command successful.")
        self.resume()

    def ftp_ABOR(self, line: str) -> None:
        """Abort a transfer; what came of an upload is put aside."""
        connection = connection_of(self)
        if connection is not None and connection.upload is not None:
            self._then = "ABOR"
            connection.end(Ending.ABORTED)
        else:
            self.cancel_upload()
            super().ftp_ABOR(line)

    def ftp_QUIT(self, line: str) -> None:
        """End the session, after the reply to an upload that goes on (RFC 959, 4.1.1)."""
        connection = connection_of(self)
        if connection is not None and connection.upload is not None:
            connection.drain()
            if connection.upload is not None:
                self._then = "QUIT"
                self.pause()
                return
        if self._busy:
            self._waiting.append(b"QUIT")
            return
        self._refuse_data()
        super().ftp_QUIT(line)

    def _refuse_data(self) -> None:
        """Close a data connection that waits for a command, and forget a command that waits for one."""
        connection = connection_of(self)
        if connection is not None:
            connection.close_unused()
        self.cancel_upload()

    # Watching over an upload that the rule "connection" has still to judge

    def watch(self, upload: Upload) -> None:
        """Report what the client does next."""
        if self._closed:
            self.door.desk.decide(upload, upload.arrival.control_lost())
            return
        feed = upload.destination.feed
        assert feed is not None
        self._watched = upload
        self._quiet = self.ioloop.call_later(feed.profile.quiet_seconds, self.end_quiet)

    def end_quiet(self) -> None:
        """Decide without a further command, by whether the connection is alive."""
        upload = self._unwatch()
        if upload is not None:
            self.door.desk.decide(upload, upload.arrival.quiet_passed(self.is_alive()))

    def _tell_watched(self, cmd: str, arg: str) -> None:
        if self._watched is None:
            return
        path = str(self._watched.path)
        if (cmd in ("RNFR", "DELE") and self.fs.ftp2fs(arg) == path) or (cmd == "RNTO" and self._rnfr == path):
            # Its name was a temporary one after all, or its sender wants it back: RNTO or the removal decides.
            self._hush()
            return
        upload = self._unwatch()
        if upload is not None:
            self.door.desk.decide(upload, upload.arrival.commanded(cmd))

    def _unwatch(self) -> Upload | None:
        upload, self._watched = self._watched, None
        self._hush()
        return upload

    def _hush(self) -> None:
        if self._quiet is not None and not self._quiet.cancelled:
            self._quiet.cancel()

    def close(self) -> None:
        """End the session; what it was doing is judged without it."""
        if self._closed:
            return
        if self._in_dtp_queue is not None:
            self.cancel_upload()
        super().close()
        upload = self._unwatch()
        if upload is not None:
            self.door.desk.decide(upload, upload.arrival.control_lost())

    # Names

    def _place(self, path: Path) -> Place:
        return Place.of(Path(self.fs.root), path)

    def _destination(self, target: Path, found: Found) -> Destination:
        assert self.login is not None
        return find_destination(self.login.account, self._place(target), target, found, self._door_name)

    @property
    def _door_name(self) -> Door:
        return "ftps" if self.encrypted else "ftp"

    def ftp_SIZE(self, path: str) -> None:
        """Tell the size of a file, also of an incomplete one that an upload to this name would continue."""
        found = find_partial(Path(path))
        self.respond(f"213 {found.stat().st_size}" if found else "550 There is no such file.")

    def ftp_XSHA256(self, line: str) -> None:
        """Tell the SHA-256 of a file or a part of it: `XSHA256 path [start [end]]`, bytes counted from 0."""
        name, start, end = parse_range(line)
        check_path(name, self.fs.cwd)
        path = Path(self.fs.ftp2fs(name))
        if not self.fs.validpath(str(path)) or not path.is_file():
            raise Refused("550 There is no such file.")
        self.defer(partial(hash_range, path, start, end), lambda digest: self.reply(f"250 {digest.upper()}"))

    def ftp_MFMT(self, path: str, timeval: str) -> None:
        """Set when a file was last changed (draft-somers-ftp-mfxx-04); its content and its verdict stay as they are."""
        at = parse_time(timeval)
        check_upload(self._place(Path(path)))
        if not Path(path).is_file():
            raise Refused("550 There is no such file.")
        os.utime(path, (at.timestamp(), at.timestamp()))
        self.respond(f"213 Modify={at:%Y%m%d%H%M%S}; {self.fs.fs2ftp(path)}")

    def ftp_MKD(self, path: str) -> None:
        """Make a folder, though not one that looks like a list's and is none."""
        place = self._place(Path(path))
        check_folder(place)
        if place.folder == IMPORT_FOLDER:
            inside = Place(f"{IMPORT_FOLDER}/{place.name}", "")
            self._find(inside, lambda found: self._make_list_folder(place, found, path))
        else:
            super().ftp_MKD(path)

    def _make_list_folder(self, place: Place, found: Found, path: str) -> None:
        if not found.list_known:
            raise Refused(f"550 There is no list {place.name} in this account; make the list first.")
        super().ftp_MKD(path)
        self.resume()

    def ftp_RMD(self, path: str) -> None:
        """Remove an empty folder, unless the server needs it."""
        if is_protected(self._place(Path(path))):
            raise Refused("550 This folder belongs to the server.")
        super().ftp_RMD(path)

    def ftp_DELE(self, path: str) -> None:
        """Remove a file; if its upload was not judged yet, it never will be."""
        if not Path(path).is_dir():
            self._unwatch_path(path)
        super().ftp_DELE(path)

    def _unwatch_path(self, path: str) -> None:
        self.door.desk.forget(Path(path))
        if self._watched is not None and str(self._watched.path) == path:
            self._unwatch()

    def ftp_RNFR(self, path: str) -> None:
        """Choose the file or folder to rename."""
        place = self._place(Path(path))
        if is_protected(place) or (Path(path).is_dir() and place.in_import):
            raise Refused("550 This folder cannot be renamed.")
        super().ftp_RNFR(path)

    def ftp_RNTO(self, path: str) -> None:
        """Rename; a final name in a list's folder means that the file is complete."""
        source, self._rnfr = self._rnfr, None
        if not source:
            raise Refused("503 Bad sequence of commands: use RNFR first.")
        target, place = Path(path), self._place(Path(path))
        check_upload(place)
        if Path(source).is_dir():
            self._rename_folder(Path(source), target, place)
        else:
            self._find(place, lambda found: self._rename_file(Path(source), target, found))

    def _rename_folder(self, source: Path, target: Path, place: Place) -> None:
        if place.in_import:
            raise Refused("550 Folders cannot be moved to where files are imported.")
        self._rnfr = str(source)
        super().ftp_RNTO(str(target))

    def _rename_file(self, source: Path, target: Path, found: Found) -> None:
        assert self.login is not None
        destination = self._destination(target, found)
        if not source.is_file():
            raise Refused("550 The file to rename is gone.")
        if self._watched is not None and self._watched.path == source:
            self._unwatch()
        self.door.desk.rename(self.login.account, source, destination, self.reply)
