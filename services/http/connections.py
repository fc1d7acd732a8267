"""The TCP connections of this process as Linux knows them: a WSGI request does not say by which one it came."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

_DESCRIPTORS = Path("/proc/self/fd")
_TCP_INFO = struct.Struct("<44xI4xI64xQQ")
"""last_data_sent and last_data_recv, milliseconds ago, bytes_acked and bytes_received of linux/tcp.h's `tcp_info`."""
_SYN = 1
"""What bytes_acked counts for the opening of a connection."""
_MAPPED = "::ffff:"


@dataclass(frozen=True, slots=True)
class Connection:
    """What the kernel knows about a connection from a caller; times are those of `time.monotonic`."""

    inode: int
    address: str
    received: int
    received_at: float
    sent_at: float
    sent_any: bool
    handle: socket.socket

    def is_answered(self) -> bool:
        """Tell whether the last to send was this side; when both sent within a tick of the kernel's clock, it was."""
        return self.sent_at > self.received_at or (self.sent_any and self.sent_at == self.received_at)

    def stop_reading(self) -> None:
        """Let a blocked read end as if the caller had sent his last; what is sent still arrives."""
        try:
            self.handle.shutdown(socket.SHUT_RD)
        except OSError:
            # The caller was faster.
            return


def can_see_connections() -> bool:
    """Tell whether this system has what this module needs; only Linux has."""
    return hasattr(socket, "TCP_INFO") and _DESCRIPTORS.is_dir()


def plain_address(address: str) -> str:
    """Return an IP address without the wrappings of an IPv4 address on an IPv6 socket, and of a zone."""
    return address.lower().removeprefix(_MAPPED).partition("%")[0]


@contextmanager
def open_connections(addresses: Collection[str]) -> Iterator[list[Connection]]:
    """Give the connections that callers of these addresses have made to ports where this process listens.

    The connections are kept from being closed while the block runs, so that it acts on no other one by mistake.
    """
    with ExitStack() as opened:
        handles = [opened.enter_context(handle) for handle in _open_sockets()]
        listening = {_local_port(handle) for handle in handles if _listens(handle)}
        now = time.monotonic()
        found = (_describe(handle, now) for handle in handles if _local_port(handle) in listening)
        yield [connection for connection in found if connection is not None and connection.address in addresses]


def _open_sockets() -> Iterator[socket.socket]:
    for name in [path.name for path in _DESCRIPTORS.iterdir()]:
        try:
            copy = os.dup(int(name))
        except OSError:
            continue
        try:
            handle = socket.socket(fileno=copy)
        except OSError:
            os.close(copy)
            continue
        if handle.family in (socket.AF_INET, socket.AF_INET6) and handle.type == socket.SOCK_STREAM:
            yield handle
        else:
            handle.close()


def _listens(handle: socket.socket) -> bool:
    return bool(handle.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _local_port(handle: socket.socket) -> int:
    return int(handle.getsockname()[1])


def _describe(handle: socket.socket, now: float) -> Connection | None:
    try:
        address = plain_address(handle.getpeername()[0])
        info = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        sent_ago, received_ago, acknowledged, received = _TCP_INFO.unpack(info)
    except (OSError, struct.error):
        # It listens, it has been closed, or the kernel is older than these figures.
        return None
    return Connection(
        inode=os.fstat(handle.fileno()).st_ino,
        address=address,
        received=received,
        received_at=now - received_ago / 1000,
        sent_at=now - sent_ago / 1000,
        sent_any=acknowledged > _SYN,
        handle=handle,
    )
