"""One bound SMPP 3.4 connection: writes requests, and reads answers and receipts in a thread of its own.

PDUs are made and read by smpplib; its client is not used, as it handles one request at a time and loses bytes of a
PDU that comes in pieces.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import structlog
from smpplib import consts, smpp
from smpplib.exceptions import UnknownCommandError

from delivery.handovers import GatewayUnavailable, Receipt
from delivery.smpp_receipts import read_receipt

log = structlog.get_logger()

HEADER = 16
MAX_PDU = 70_000
"""Bytes; the longest of the standard has a payload of 64 KiB."""
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
_TRY_AGAIN_LATER = 0x64
"""ESME_RX_T_APPN: a receipt that could not be kept comes again."""


class LinkBroken(Exception):
    """The connection has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmppOptions:
    """Where a message centre is, and how it is spoken to."""

    host: str
    port: int
    system_id: str
    password: str = field(repr=False)
    tls: bool = False
    system_type: str = ""
    window: int = 10
    """Requests that may wait for their answers at the same time."""
    enquire_seconds: float = 30.0
    """Of silence, after which the other side is asked whether it is there; after twice that it is not."""


@dataclass(frozen=True, slots=True)
class Answer:
    """To a submit_sm."""

    status: int
    """`command_status`; 0 is good."""
    message_id: str


class SmppLink:
    """A connection that is bound as a transceiver until it breaks; whoever finds it broken makes another one."""

    def __init__(self, options: SmppOptions, take: Callable[[Sequence[Receipt]], None]) -> None:
        """Connect and bind.

        Args:
            options: where to, and as whom.
            take: keeps receipts; called from the thread that reads.

        Raises:
            GatewayUnavailable: there is no connection, or the login is refused.
        """
        self._options = options
        self._take = take
        self._numbers = _Numbers()
        self._writing = threading.Lock()
        self._window = threading.BoundedSemaphore(options.window)
        self._waiting: dict[int, Future[Answer]] = {}
        self._broken = threading.Event()
        self._buffer = bytearray()
        self._socket = _connect(options)
        try:
            self._bind()
        except (OSError, struct.error, LinkBroken) as error:
            self._socket.close()
            raise GatewayUnavailable("The gateway does not answer to the login.") from error
        except GatewayUnavailable:
            self._socket.close()
            raise
        self._socket.settimeout(options.enquire_seconds)
        self._thread = threading.Thread(target=self._read, name="smpp", daemon=True)
        self._thread.start()

    def is_open(self) -> bool:
        """Return whether the connection has not ended."""
        return not self._broken.is_set()

    def submit(self, **fields: Any) -> Future[Answer]:
        """Write a submit_sm, as soon as the window has room; return what its answer will be.

        The answer is `LinkBroken` when the connection ends before it came: the message may have been sent then.

        Raises:
            LinkBroken: nothing of it was written.
        """
        if not self._window.acquire(timeout=ANSWER_SECONDS):
            self.close()
        if not self.is_open():
            raise LinkBroken
        pdu = smpp.make_pdu("submit_sm", client=self._numbers, **fields)
        answer: Future[Answer] = Future()
        self._waiting[pdu.sequence] = answer
        try:
            self._write(pdu)
        except OSError:
            self.close()
        if not self.is_open():
            # The reading thread may have gone through the waiting ones before this one was among them.
            self._give_up_waiting()
        return answer

    def close(self) -> None:
        """End the connection; whatever waits for an answer gets none."""
        if not self._broken.is_set():
            self._broken.set()
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
        self._give_up_waiting()

    def unbind(self) -> None:
        """Take leave and end the connection."""
        with suppress(OSError):
            self._write(smpp.make_pdu("unbind", client=self._numbers))
        self.close()

    def _bind(self) -> None:
        options = self._options
        request = smpp.make_pdu(
            "bind_transceiver",
            client=self._numbers,
            system_id=options.system_id,
            password=options.password,
            system_type=options.system_type,
        )
        self._write(request)
        for raw in self._receive_until_answered():
            pdu = _parse(raw)
            if pdu is not None and pdu.command == "bind_transceiver_resp":
                if pdu.status:
                    raise GatewayUnavailable(f"The gateway refuses the login: {describe_status(pdu.status)}.")
                return
            if pdu is not None and pdu.command == "generic_nack":
                raise GatewayUnavailable(f"The gateway refuses the login: {describe_status(pdu.status)}.")
        raise LinkBroken

    def _receive_until_answered(self) -> Iterator[bytes]:
        while received := self._socket.recv(65536):
            self._buffer += received
            yield from self._cut()

    def _read(self) -> None:
        silent = False
        try:
            # What came together with the answer to the login.
            self._handle(list(self._cut()))
            while self.is_open():
                try:
                    received = self._socket.recv(65536)
                except TimeoutError:
                    if silent:
                        break
                    silent = True
                    self._write(smpp.make_pdu("enquire_link", client=self._numbers))
                    continue
                if not received:
                    break
                silent = False
                self._buffer += received
                self._handle(list(self._cut()))
        except (OSError, LinkBroken):
            pass
        except Exception as error:
            log.error("smpp_link_failed", error=type(error).__name__)
        finally:
            self.close()

    def _cut(self) -> Iterator[bytes]:
        """Take the complete PDUs out of what was received."""
        while len(self._buffer) >= HEADER:
            (length,) = struct.unpack_from(">L", self._buffer)
            if not HEADER <= length <= MAX_PDU:
                raise LinkBroken
            if len(self._buffer) < length:
                return
            raw = bytes(self._buffer[:length])
            del self._buffer[:length]
            yield raw

    def _handle(self, raws: Sequence[bytes]) -> None:
        receipts: list[tuple[Any, Receipt | None]] = []
        for raw in raws:
            pdu = _parse(raw)
            if pdu is None:
                self._refuse(raw)
            elif pdu.command == "deliver_sm":
                receipts.append((pdu, read_receipt(pdu)))
            elif pdu.command in ("submit_sm_resp", "generic_nack"):
                self._resolve(pdu)
            elif pdu.command == "enquire_link":
                self._answer(pdu, "enquire_link_resp")
            elif pdu.command == "unbind":
                self._answer(pdu, "unbind_resp")
                raise LinkBroken
        if receipts:
            self._keep(receipts)

    def _keep(self, receipts: Sequence[tuple[Any, Receipt | None]]) -> None:
        """Acknowledge receipts once they are kept for good; what is none is acknowledged and forgotten."""
        status = 0
        try:
            self._take([receipt for _pdu, receipt in receipts if receipt is not None])
        except Exception as error:
            log.warning("receipts_not_kept", error=type(error).__name__)
            status = _TRY_AGAIN_LATER
        for pdu, receipt in receipts:
            self._answer(pdu, "deliver_sm_resp", status=status if receipt is not None else 0)

    def _resolve(self, pdu: Any) -> None:
        answer = self._waiting.pop(pdu.sequence, None)
        if answer is not None:
            message_id = getattr(pdu, "message_id", None) or b""
            answer.set_result(Answer(pdu.status, message_id.decode("ascii", "replace")))
            self._window.release()

    def _answer(self, pdu: Any, command: str, **fields: Any) -> None:
        response = smpp.make_pdu(command, client=self._numbers, **fields)
        response.sequence = pdu.sequence
        self._write(response)

    def _refuse(self, raw: bytes) -> None:
        log.warning("smpp_pdu_not_understood", length=len(raw))
        command, _status, sequence = struct.unpack_from(">LLL", raw, 4)
        # An answer is never answered.
        if not command & 0x80000000:
            refusal = smpp.make_pdu("generic_nack", client=self._numbers, status=consts.SMPP_ESME_RINVCMDID)
            refusal.sequence = sequence
            self._write(refusal)

    def _write(self, pdu: Any) -> None:
        with self._writing:
            self._socket.sendall(pdu.generate())

    def _give_up_waiting(self) -> None:
        while self._waiting:
            with suppress(KeyError):
                _sequence, answer = self._waiting.popitem()
                answer.set_exception(LinkBroken())
                self._window.release()


class _Numbers:
    """Numbers requests, in the way that smpplib asks for them."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self.sequence = 0

    def next_sequence(self) -> int:
        self.sequence = next(self._numbers) & 0x7FFFFFFF or next(self._numbers) & 0x7FFFFFFF
        return self.sequence


def describe_status(status: int) -> str:
    """Return a `command_status` for people and logs: its number in hexadecimal, and its name where it has one."""
    return f"0x{status:02x} {consts.DESCRIPTIONS.get(status, '')}".strip()


def _connect(options: SmppOptions) -> socket.socket:
    try:
        plain = socket.create_connection((options.host, options.port), CONNECT_SECONDS)
    except OSError as error:
        raise GatewayUnavailable("The connection was not accepted.") from error
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not options.tls:
        return plain
    try:
        return ssl.create_default_context().wrap_socket(plain, server_hostname=options.host)
    except OSError as error:
        plain.close()
        raise GatewayUnavailable("TLS could not be agreed upon, or the certificate is not accepted.") from error


def _parse(raw: bytes) -> Any:
    """Return a PDU, or None when it cannot be read."""
    try:
        return smpp.parse_pdu(raw, client=_Numbers(), allow_unknown_opt_params=True)
    except (struct.error, UnknownCommandError, KeyError, ValueError, IndexError, AttributeError, TypeError):
        return None
