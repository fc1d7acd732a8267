"""The mail servers of a domain, in the order in which they are tried (RFC 5321 section 5.1)."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

import dns.exception
import dns.resolver

LOOK_UP_SECONDS = 20.0
KEPT_SECONDS = 600.0
KEPT_DOMAINS = 10_000


class NoMailServers(Exception):
    """The domain takes no mail, or does not exist; the text says which."""


class LookUpFailed(Exception):
    """Nothing is known at the moment; the text says why."""


@dataclass(frozen=True, slots=True)
class _Known:
    hosts: tuple[str, ...]
    problem: str
    until: float


class MailServers:
    """Finds the servers of domains; what is found is kept for a while. For any number of threads."""

    def __init__(self, resolver: dns.resolver.Resolver | None = None) -> None:
        self._resolver = resolver
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def find(self, domain: str) -> tuple[str, ...]:
        """Return the host names of a domain's servers, the best first.

        Args:
            domain: ASCII.

        Raises:
            NoMailServers: there are none.
            LookUpFailed: there was no answer.
        """
        with self._lock:
            known = self._known.get(domain)
        if known is None or known.until < time.monotonic():
            known = self._look_up(domain)
            with self._lock:
                self._known[domain] = known
                self._known.move_to_end(domain)
                while len(self._known) > KEPT_DOMAINS:
                    self._known.popitem(last=False)
        if known.problem:
            raise NoMailServers(known.problem)
        return known.hosts

    def _look_up(self, domain: str) -> _Known:
        until = time.monotonic() + KEPT_SECONDS
        try:
            answer = self._resolve(domain, "MX")
        except dns.resolver.NXDOMAIN:
            return _Known((), "The domain does not exist.", until)
        except dns.resolver.NoAnswer:
            return self._look_up_host(domain, until)
        except dns.exception.DNSException as error:
            raise LookUpFailed(type(error).__name__) from None
        ordered = sorted((record.preference, str(record.exchange).rstrip(".").lower()) for record in answer)
        hosts = tuple(host for _, host in ordered if host)
        # A single "." is how a domain says that it takes no mail (RFC 7505).
        return _Known(hosts, "" if hosts else "The domain takes no mail.", until)

    def _look_up_host(self, domain: str, until: float) -> _Known:
        for kind in ("A", "AAAA"):
            try:
                self._resolve(domain, kind)
            except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN):
                continue
            except dns.exception.DNSException as error:
                raise LookUpFailed(type(error).__name__) from None
            return _Known((domain,), "", until)
        return _Known((), "The domain has no mail server.", until)

    def _resolve(self, domain: str, kind: str) -> dns.resolver.Answer:
        resolver = self._resolver or dns.resolver.get_default_resolver()
        return resolver.resolve(domain, kind, lifetime=LOOK_UP_SECONDS)
