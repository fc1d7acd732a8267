"""Routes of mails: over one relay, or straight to the servers of each domain. Connections are kept and shared."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Protocol

from delivery.mail_servers import LookUpFailed, MailServers, NoMailServers
from delivery.parcels import Outcome, Parcel
from delivery.smtp import RouteDown, Security, SmtpOptions, SmtpSession

IDLE_SECONDS = 20.0
"""After which a connection is not used again: servers close those that stand still."""
TRUSTED_SECONDS = 1.0
"""For which nobody asks whether a connection is still there."""
PARCELS_A_SESSION = 1_000
SMTP_PORT = 25


class MailRoute(Protocol):
    """Takes parcels, from any number of threads."""

    @property
    def shares_servers(self) -> bool:
        """Whether every domain is reached through the same server, so that one failure is the failure of all."""
        ...

    def send(self, parcel: Parcel) -> Outcome:
        """Hand a parcel over.

        Raises:
            RouteDown: the server cannot be reached or is not willing now; the parcel was not taken.
        """
        ...

    def bring(self, parcels: Iterator[Parcel]) -> Iterator[Outcome]:
        """Hand over parcels one after the other; yield what becomes of each, in their order.

        The parcels may be asked for one ahead. One without an outcome was not taken.

        Raises:
            RouteDown: the one server of all domains cannot be reached, or is not willing now.
        """
        ...

    def check(self) -> list[str]:
        """Connect and return what is found, a line each.

        Raises:
            RouteDown: nothing can be sent.
        """
        ...

    def close(self) -> None:
        """End the connections that nobody uses."""
        ...


def make_route(options: SmtpOptions) -> MailRoute | None:
    """Return the route that options name; None when mails are to wait."""
    if options.relay is None:
        return None
    return DirectRoute(options) if options.relay == "mx" else RelayRoute(options, *options.relay)


class SessionPool:
    """Open sessions by server, so that the next parcel need not greet again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[str, list[SmtpSession]] = defaultdict(list)

    def send(self, key: str, parcel: Parcel, connect: Callable[[], SmtpSession]) -> Outcome:
        """Send through an idle session, or else a new one; one that had been closed meanwhile is replaced.

        Raises:
            RouteDown: see `MailRoute.send`.
        """
        session = self._take(key)
        if session is not None:
            try:
                return self._bring_one(key, session, parcel)
            except RouteDown:
                pass  # The server may take only so many in one session: a new one tells.
        return self._bring_one(key, connect(), parcel)

    def bring(self, key: str, parcels: Iterator[Parcel], connect: Callable[[], SmtpSession]) -> Iterator[Outcome]:
        """Send through one session; see `MailRoute.bring`."""
        session = self._take(key)
        if session is not None and time.monotonic() - session.used_at > TRUSTED_SECONDS and not session.is_alive():
            session.close()
            session = None
        return self._bring(key, session or connect(), parcels)

    def _bring_one(self, key: str, session: SmtpSession, parcel: Parcel) -> Outcome:
        (outcome,) = self._bring(key, session, iter((parcel,)))
        return outcome

    def _bring(self, key: str, session: SmtpSession, parcels: Iterator[Parcel]) -> Iterator[Outcome]:
        try:
            yield from session.bring(parcels)
        except RouteDown:
            session.close()
            raise
        finally:
            if session.is_open and session.sent < PARCELS_A_SESSION:
                with self._lock:
                    self._idle[key].append(session)
            else:
                session.close()

    def _take(self, key: str) -> SmtpSession | None:
        with self._lock:
            idle = self._idle.get(key)
            session = idle.pop() if idle else None
        if session is not None and time.monotonic() - session.used_at > IDLE_SECONDS:
            session.close()
            return self._take(key)
        return session

    def close(self) -> None:
        """End the sessions that nobody uses."""
        with self._lock:
            idle = [session for sessions in self._idle.values() for session in sessions]
            self._idle.clear()
        for session in idle:
            session.close()

    def close_idle(self) -> None:
        """End the sessions that have stood still for too long, and forget the servers without any."""
        limit = time.monotonic() - IDLE_SECONDS
        with self._lock:
            old = [session for sessions in self._idle.values() for session in sessions if session.used_at < limit]
            fresh = {key: [one for one in sessions if one not in old] for key, sessions in self._idle.items()}
            self._idle = defaultdict(list, {key: sessions for key, sessions in fresh.items() if sessions})
        for session in old:
            session.close()


class RelayRoute:
    """Everything goes to one server, which brings it further."""

    shares_servers = True

    def __init__(self, options: SmtpOptions, host: str, port: int) -> None:
        self._options = options
        self._host = host
        self._port = port
        self._pool = SessionPool()

    def send(self, parcel: Parcel) -> Outcome:
        """Hand a parcel over; see `MailRoute.send`."""
        return self._pool.send("", parcel, self._connect)

    def bring(self, parcels: Iterator[Parcel]) -> Iterator[Outcome]:
        """Hand over parcels; see `MailRoute.bring`."""
        return self._pool.bring("", parcels, self._connect)

    def check(self) -> list[str]:
        """Connect and describe the relay; see `MailRoute.check`."""
        session = self._connect()
        lines = [f"relay: {self._host}:{self._port}", *session.description]
        session.close()
        return lines

    def close(self) -> None:
        """End the connections that nobody uses."""
        self._pool.close()

    def _connect(self) -> SmtpSession:
        return SmtpSession(self._host, self._port, self._options)


class DirectRoute:
    """Everything goes to the servers of its recipient's domain."""

    shares_servers = False

    def __init__(self, options: SmtpOptions, servers: MailServers | None = None, port: int = SMTP_PORT) -> None:
        self._options = options
        self._servers = servers or MailServers()
        self._port = port
        self._pool = SessionPool()
        self._tidied = time.monotonic()

    def send(self, parcel: Parcel) -> Outcome:
        """Hand a parcel over; see `MailRoute.send`."""
        self._tidy()
        domain = _domain_of(parcel.recipient)
        try:
            hosts = self._servers.find(domain)
        except NoMailServers as error:
            return Outcome("refused", 550, f"5.1.2 {error}")
        except LookUpFailed as error:
            return Outcome("deferred", 451, f"4.4.3 The domain's mail servers cannot be found: {error}")
        return self._pool.send(domain, parcel, lambda: self._connect(hosts))

    def bring(self, parcels: Iterator[Parcel]) -> Iterator[Outcome]:
        """Hand over parcels, each to its own domain's servers; see `MailRoute.bring`."""
        for parcel in parcels:
            try:
                yield self.send(parcel)
            except RouteDown as error:
                yield Outcome("deferred", 0, str(error), reached=False)

    def check(self) -> list[str]:
        """Say that there is no server to look at; see `MailRoute.check`."""
        return ["relay: none; mails go to the servers of each domain"]

    def close(self) -> None:
        """End the connections that nobody uses."""
        self._pool.close()

    def _connect(self, hosts: tuple[str, ...]) -> SmtpSession:
        problems = []
        for host in hosts:
            try:
                return SmtpSession(host, self._port, self._options, security=self._security())
            except RouteDown as error:
                problems.append(str(error))
        raise RouteDown("; ".join(problems[:3]))

    def _security(self) -> Security:
        return "none" if self._options.security == "none" else "opportunistic"

    def _tidy(self) -> None:
        if time.monotonic() - self._tidied > IDLE_SECONDS:
            self._tidied = time.monotonic()
            self._pool.close_idle()


def _domain_of(address: str) -> str:
    domain = address.rpartition("@")[2]
    return domain if domain.isascii() else domain.encode("idna").decode()
