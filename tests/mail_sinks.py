"""Mail servers for tests that do on purpose what real ones do seldom: refuse, ask for patience, and break off."""

from __future__ import annotations

import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_PATH = re.compile(rb"<([^>]*)>")


@dataclass
class MailSink:
    """A server on a port of its own; a recipient's local part says what becomes of his mail.

    `refused…`: 550. `later<N>…`: 450 for the first N tries. `big…`: 552 after the content. `closing…`: 421.
    `cut…`: the connection ends in the content. `lost…`: it ends after the content, which the server has kept.
    A sender may be `unwanted…`: 550.
    """

    port: int
    pipelining: bool
    received: list[tuple[str, str, bytes]] = field(default_factory=list)
    """Envelope sender, recipient and content, with dots as they were before they were escaped."""
    connections: int = 0
    commands: list[bytes] = field(default_factory=list)
    tries: Counter[str] = field(default_factory=Counter)

    def recipients(self) -> Counter[str]:
        """Return how often each recipient has got something."""
        return Counter(recipient for _, recipient, _ in self.received)


class _Broken(Exception):
    """The connection is to end without a word."""


class _Session:
    def __init__(self, sink: MailSink, link: socket.socket) -> None:
        self._sink = sink
        self._link = link
        self._lines = link.makefile("rb")
        self._sender = ""
        self._recipient = ""

    def run(self) -> None:
        self._say(b"220 sink ESMTP")
        for line in self._lines:
            self._sink.commands.append(line.strip())
            verb = line[:4].upper()
            if verb == b"QUIT":
                self._say(b"221 bye")
                return
            self._answer(verb, line)

    def _answer(self, verb: bytes, line: bytes) -> None:
        if verb == b"EHLO":
            extra = [b"PIPELINING"] if self._sink.pipelining else []
            for item in (b"sink", *extra, b"SIZE 50000000"):
                self._say(b"250-" + item)
            self._say(b"250 SMTPUTF8")
        elif verb == b"MAIL":
            self._sender, self._recipient = self._path(line), ""
            wanted = not self._sender.startswith("unwanted")
            self._say(b"250 2.1.0 ok" if wanted else b"550 Not from you")
        elif verb == b"RCPT":
            self._answer_recipient(self._path(line))
        elif verb == b"DATA":
            self._take_content()
        else:
            self._sender = self._recipient = ""
            self._say(b"250 2.0.0 ok")

    def _answer_recipient(self, recipient: str) -> None:
        kind = recipient.split("@")[0]
        self._sink.tries[recipient] += 1
        later = re.match(r"later(\d+)", kind)
        if kind.startswith("refused"):
            self._say(b"550 5.1.1 No such user here")
        elif kind.startswith("closing"):
            self._say(b"421 4.3.2 Closing")
            raise _Broken
        elif later and self._sink.tries[recipient] <= int(later[1]):
            self._say(b"450 4.2.0 Greylisted, try again")
        else:
            self._recipient = recipient
            self._say(b"250 2.1.5 ok")

    def _take_content(self) -> None:
        if not self._recipient:
            self._say(b"503 5.5.1 No recipient")
            return
        self._say(b"354 go on")
        kind = self._recipient.split("@")[0]
        if kind.startswith("cut"):
            self._lines.readline()
            raise _Broken
        content = b"".join(self._content())
        if kind.startswith("big"):
            self._say(b"552 5.3.4 Too big")
            return
        self._sink.received.append((self._sender, self._recipient, content))
        if kind.startswith("lost"):
            raise _Broken
        self._say(b"250 2.0.0 kept")

    def _content(self) -> Iterator[bytes]:
        for line in self._lines:
            if line == b".\r\n":
                return
            yield line.removeprefix(b".")
        raise _Broken

    def _say(self, line: bytes) -> None:
        self._link.sendall(line + b"\r\n")

    def _path(self, line: bytes) -> str:
        found = _PATH.search(line)
        return found[1].decode() if found else ""


@contextmanager
def serve_mail(*, pipelining: bool = True) -> Iterator[MailSink]:
    """Run a server until the block ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        sink = MailSink(listener.getsockname()[1], pipelining)

        def talk(link: socket.socket) -> None:
            # Its answers are short, and none must wait for the acknowledgement of the one before.
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with link:
                try:
                    _Session(sink, link).run()
                except (_Broken, OSError):
                    return

        def accept() -> None:
            while True:
                try:
                    link, _ = listener.accept()
                except OSError:
                    return
                sink.connections += 1
                threading.Thread(target=talk, args=(link,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield sink
        listener.shutdown(socket.SHUT_RDWR)
