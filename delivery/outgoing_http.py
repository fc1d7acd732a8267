"""Requests to addresses that customers chose, kept away from the networks that this machine alone can reach.

The host is resolved here, once for each connection; the connection goes to one of the addresses that were looked at,
so that a name server cannot answer differently a moment later. Certificates are checked against the name.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import httpcore2
import httpx2

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Sequence[str]]
"""Gives the addresses of a host, as text; raises OSError when there are none."""

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 15.0
MAX_ANSWER = 65536
"""Bytes of an answer's body that are read."""
SHOWN_ANSWER = 500
MAX_REDIRECTS = 3

_REDIRECTS = (301, 302, 303, 307, 308)
_KEEPING_METHOD = (307, 308)

# Registries of special-purpose addresses (RFC 6890 and its successors), multicast, and the address at which Azure's
# machines find their metadata, which is a public one; those of the other clouds lie in networks named here.
_PRIVATE_4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "168.63.129.16/32",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")
_PRIVATE_6 = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20")))
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")


class RequestFailed(Exception):
    """There was no answer; the text says why and holds no secret."""


class TargetRefused(RequestFailed):
    """The address is one that requests must not go to."""


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """One request, complete."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    text: str
    """The beginning of the body, without characters that cannot be printed."""
    content: bytes = field(default=b"", repr=False)
    """The whole body, when it was asked to be kept."""
    content_type: str = ""
    """As the header has it."""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host as the machine's own resolver gives them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: Address) -> bool:
    """Tell whether an address is one of the internet's, with IPv4 addresses inside IPv6 ones seen as what they are."""
    address = _unwrap(address)
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _PRIVATE_4)
    return address in _GLOBAL_6 and not any(address in network for network in _PRIVATE_6)


def _unwrap(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for: mapped, 6to4 (RFC 3056), NAT64 (RFC 6052)."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    translated = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _TRANSLATED else None
    return address.ipv4_mapped or address.sixtofour or translated or address


class TargetCheck:
    """Looks hosts up and tells which of their addresses connections may go to."""

    def __init__(self, allowed: Iterable[Network] = (), resolver: Resolver = resolve) -> None:
        """Set the rules.

        Args:
            allowed: networks that connections may go to although they are not public.
            resolver: gives the addresses of host names.
        """
        self._allowed = tuple(allowed)
        self._resolver = resolver

    def find_addresses(self, host: str, port: int, deadline: float) -> list[str]:
        """Return the addresses of a host, all of them fit to connect to.

        Args:
            host: a name or an address.
            port: of the service.
            deadline: on the monotonic clock, until when the look-up may take.

        Raises:
            TargetRefused: one of them is not public and not allowed.
            RequestFailed: there is none, or none was found in time.
        """
        try:
            addresses = [ipaddress.ip_address(text) for text in self._resolve(host, port, deadline)]
        except (OSError, UnicodeError, ValueError):
            addresses = []
        if not addresses:
            raise RequestFailed("The host name has no address.")
        for address in addresses:
            if not is_public(address) and not self._is_allowed(address):
                raise TargetRefused(f"The host has the address {address}, which is not a public one.")
        return [str(address) for address in addresses]

    def _resolve(self, host: str, port: int, deadline: float) -> Sequence[str]:
        """Look a host up in a thread of its own, as the machine's resolver cannot be told when to give up."""
        found: Future[Sequence[str]] = Future()

        def look_up() -> None:
            try:
                found.set_result(self._resolver(host, port))
            except Exception as error:
                found.set_exception(error)

        threading.Thread(target=look_up, name="resolver", daemon=True).start()
        try:
            return found.result(deadline - time.monotonic())
        except TimeoutError:
            raise RequestFailed("The host name was not looked up in time.") from None

    def _is_allowed(self, address: Address) -> bool:
        address = _unwrap(address)
        return any(address in network for network in self._allowed)


class OutgoingClient:
    """Sends requests; safe to share between threads, as nothing is kept from one request to the next."""

    def __init__(
        self,
        allowed: Iterable[Network] = (),
        *,
        resolver: Resolver = resolve,
        ssl_context: ssl.SSLContext | None = None,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        """Set the rules.

        Args:
            allowed: networks that requests may go to although they are not public.
            resolver: gives the addresses of host names.
            ssl_context: checks certificates; the machine's own authorities if not given.
            total_seconds: for one request with looking up its host, its redirects and its answer.
        """
        self._targets = TargetCheck(allowed, resolver)
        self._ssl_context = ssl_context or ssl.create_default_context()
        self._total_seconds = total_seconds

    def send(self, request: OutgoingRequest, *, keep: int | None = None) -> Answer:
        """Send a request and return the answer, whatever its status.

        Redirects are followed with GET, and with POST where they keep the method (307 and 308); never from https to
        http. Every hop is checked like the first one.

        Args:
            request: what to send.
            keep: most bytes of a body that is wanted as a whole; None: its beginning is enough.

        Raises:
            TargetRefused: a host has an address that is not public and not allowed.
            RequestFailed: there was no answer in time, or not all of it that is to be kept.
        """
        deadline = time.monotonic() + self._total_seconds
        url = _parse(request.url)
        for _ in range(MAX_REDIRECTS + 1):
            answer, location = self._exchange(request, url, deadline, keep)
            if location is None:
                return answer
            url = _follow(url, location)
        raise RequestFailed(f"There were more than {MAX_REDIRECTS} redirects.")

    def _exchange(
        self, request: OutgoingRequest, url: httpx2.URL, deadline: float, keep: int | None
    ) -> tuple[Answer, str | None]:
        """Return the answer of one hop and where it leads."""
        backend = _CheckedBackend(self._targets.find_addresses, deadline)
        target = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        try:
            with (
                httpcore2.ConnectionPool(ssl_context=self._ssl_context, network_backend=backend) as pool,
                pool.stream(request.method, target, headers=_headers(request, url), content=request.body) as response,
            ):
                headers = {name.lower(): value for name, value in response.headers}
                follow = _REDIRECTS if request.method == "GET" else _KEEPING_METHOD
                if response.status in follow and b"location" in headers:
                    return Answer(response.status, ""), headers[b"location"].decode("latin-1")
                if keep is None:
                    return Answer(response.status, _printable(_read_beginning(response))), None
                content_type = headers.get(b"content-type", b"").decode("latin-1")
                return Answer(response.status, "", _read_whole(response, headers, keep), content_type), None
        except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError, ValueError) as error:
            raise RequestFailed(_describe(error)) from error


class _CheckedBackend(httpcore2.NetworkBackend):
    """Connects to checked addresses, and lets nothing take longer than until the deadline."""

    def __init__(self, check: Callable[[str, int, float], list[str]], deadline: float) -> None:
        self._check = check
        self._deadline = deadline
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        failure: Exception = httpcore2.ConnectTimeout()
        for address in self._check(host, port, self._deadline):
            seconds = min(CONNECT_SECONDS, self._deadline - time.monotonic())
            if seconds <= 0:
                break
            try:
                stream = self._sockets.connect_tcp(address, port, seconds, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                return _TimedStream(stream, self._deadline)
        raise failure


class _TimedStream(httpcore2.NetworkStream):
    """A connection whose every step ends at the deadline, however slowly the other side drips."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._rest(httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._rest(httpcore2.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        seconds = self._rest(httpcore2.ConnectTimeout)
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, seconds), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def _rest(self, expired: type[Exception]) -> float:
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise expired
        return seconds


def _parse(text: str) -> httpx2.URL:
    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, ValueError):
        raise RequestFailed("The address is not a URL.") from None
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise RequestFailed("The address does not begin with http:// or https:// and a host.")
    if url.userinfo:
        raise RequestFailed("The address names a user.")
    return url


def _follow(url: httpx2.URL, location: str) -> httpx2.URL:
    try:
        following = _parse(str(url.join(location)))
    except (httpx2.InvalidURL, ValueError):
        raise RequestFailed("A redirect leads to something that is not a URL.") from None
    except RequestFailed as error:
        raise RequestFailed(f"A redirect leads astray. {error}") from None
    if url.scheme == "https" and following.scheme == "http":
        raise RequestFailed("A redirect leads from https to http.")
    return following


def _headers(request: OutgoingRequest, url: httpx2.URL) -> list[tuple[bytes, bytes]]:
    headers = {
        "Host": url.netloc.decode("ascii"),
        "User-Agent": f"Listbridge/{version('listbridge')}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
        **request.headers,
    }
    if request.method != "GET":
        headers["Content-Length"] = str(len(request.body))
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]


def _read_beginning(response: httpcore2.Response) -> bytes:
    """Return what can be had of the body; the status is known by then, and it is what counts."""
    body = bytearray()
    try:
        for block in response.iter_stream():
            body += block
            if len(body) >= MAX_ANSWER:
                break
    except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError):
        pass
    return bytes(body[:MAX_ANSWER])


def _read_whole(response: httpcore2.Response, headers: Mapping[bytes, bytes], most: int) -> bytes:
    """Return the body.

    Raises:
        RequestFailed: it has more bytes, or is compressed, which was not asked for.
    """
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise RequestFailed("The answer is compressed.")
    body = bytearray()
    for block in response.iter_stream():
        body += block
        if len(body) > most:
            raise RequestFailed(f"The answer has more than {most} bytes.")
    return bytes(body)


def _printable(body: bytes) -> str:
    text = " ".join(body.decode("utf-8", "replace").split())
    return "".join(character for character in text if character.isprintable())[:SHOWN_ANSWER]


def _describe(error: Exception) -> str:
    """Return what happened, for people."""
    causes = [error, error.__cause__, *error.args]
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return "The certificate is not accepted."
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return "TLS could not be agreed upon."
    if isinstance(error, httpcore2.ConnectTimeout):
        return "No connection in time."
    if isinstance(error, httpcore2.TimeoutException):
        return "No answer in time."
    if isinstance(error, httpcore2.ConnectError):
        return "The connection was not accepted."
    if isinstance(error, httpcore2.NetworkError):
        return "The connection was cut."
    return "The answer is not HTTP."
