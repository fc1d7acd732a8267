"""Who may call a service of an account: the operator's switches and rules for network addresses.

Whatever is not set is open: a service without a row is enabled, active and not restricted to registered addresses.

AccessRefused
├── NotEnabled
├── NotActive
├── AddressUnknown
└── AddressDenied
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, get_args

from sqlalchemy import Connection, and_, bindparam, func, select

from audience.errors import AudienceError
from db.functions import insert_into
from db.tables import account, address_rule, service_access

Service = Literal["import", "pages", "send", "manage", "report"]
SERVICES: tuple[Service, ...] = get_args(Service)

MAX_REGISTERED = 10_000
"""Rules of a service beyond which callers cannot register further addresses by themselves."""

_FEW = 50
"""Rules that are read with the switches; of more, those for the caller's address are looked up."""
_ADDRESSES = 256
"""Callers whose networks are remembered, for they call again."""
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


class AccessRefused(Exception):
    """The service is not for this caller now."""


class NotEnabled(AccessRefused):
    """The operator has switched the service off."""


class NotActive(AccessRefused):
    """The service waits for its activation."""


class AddressUnknown(AccessRefused):
    """Only registered addresses may call, and the caller's is not."""


class AddressDenied(AccessRefused):
    """The caller's address is registered as one that may not call."""


class InvalidNetwork(AudienceError):
    """The text is not an IP address, nor a network in CIDR notation (RFC 4632) without bits after its prefix."""


class UnknownRule(AudienceError):
    """There is no rule for exactly this network."""


class TooManyRules(AudienceError):
    """The service has so many rules that callers may not add to them."""


@dataclass(frozen=True, slots=True)
class Switches:
    """How a service of an account is set."""

    enabled: bool = True
    active: bool = True
    restricted: bool = False
    """Whether only registered addresses may call."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A service of an account, with what decides about most callers."""

    account_id: int
    service: Service
    switches: Switches
    has_rules: bool
    """Whether there are rules for addresses, which then have to be asked."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Whether the addresses of a network may call a service."""

    service: Service
    network: str
    allowed: bool
    created_at: datetime


# Asked before every call, so made once: making it takes longer than asking it.
_ACCESS = (
    select(service_access.c.enabled, service_access.c.active, service_access.c.restricted)
    .add_columns(address_rule.c.network, address_rule.c.allowed)
    .select_from(account)
    .outerjoin(
        service_access,
        and_(service_access.c.account_id == account.c.id, service_access.c.service == bindparam("service")),
    )
    .outerjoin(
        address_rule, and_(address_rule.c.account_id == account.c.id, address_rule.c.service == bindparam("service"))
    )
    .where(account.c.id == bindparam("account_id"))
    .limit(_FEW + 1)
)
_MATCHING = select(address_rule.c.network, address_rule.c.allowed).where(
    address_rule.c.account_id == bindparam("account_id"),
    address_rule.c.service == bindparam("service"),
    address_rule.c.network.in_(bindparam("networks", expanding=True)),
)


def check_access(connection: Connection, account_id: int, service: Service, address: str) -> None:
    """Let a caller pass, mostly in one statement. The rule with the longest prefix that matches the address counts.

    Args:
        connection: reads.
        account_id: of an account that exists.
        service: that is called.
        address: of the caller; one of IPv4 in IPv6 (RFC 4291 section 2.5.5.2) counts as IPv4, and what is no
            address is one that no rule matches.

    Raises:
        AccessRefused: as the first check that fails says, in the order of the tree above.
    """
    _judge(*_look_up(connection, account_id, service, address))


def check_gate(connection: Connection, gate: Gate, address: str) -> None:
    """Do what `check_access` does, without a statement where no rules have to be asked.

    Raises:
        AccessRefused: as `check_access`.
    """
    if gate.has_rules:
        check_access(connection, gate.account_id, gate.service, address)
    else:
        _judge(gate.switches, None)


def _judge(switches: Switches, allowed: bool | None) -> None:
    if not switches.enabled:
        raise NotEnabled
    if not switches.active:
        raise NotActive
    if allowed is None and switches.restricted:
        raise AddressUnknown
    if allowed is False:
        raise AddressDenied


def activate(connection: Connection, account_id: int, service: Service, address: str) -> None:
    """Make a service active and register the address of the caller who asks for it; again makes no difference.

    Args:
        connection: writes.
        account_id: of an account that exists.
        service: to make active; whether it is restricted does not change.
        address: of the caller.

    Raises:
        NotEnabled: the operator has switched the service off.
        AddressDenied: the rule that matches the address denies it.
        InvalidNetwork: the caller has no IP address.
        TooManyRules: there are `MAX_REGISTERED` already.
    """
    switches, allowed = _look_up(connection, account_id, service, address)
    if not switches.enabled:
        raise NotEnabled
    if allowed is False:
        raise AddressDenied
    networks = _networks_around(address)
    if not networks:
        raise InvalidNetwork("The caller has no IP address.")
    network = networks[0]
    key = (address_rule.c.account_id == account_id, address_rule.c.service == service)
    others = select(func.count()).select_from(address_rule).where(*key, address_rule.c.network != network)
    if connection.execute(others).scalar_one() >= MAX_REGISTERED:
        raise TooManyRules(f"{MAX_REGISTERED} addresses are registered already.")
    _set_rule(connection, account_id, service, network, allowed=True)
    if not switches.active:
        set_service(connection, account_id, service, active=True)


def set_service(
    connection: Connection,
    account_id: int,
    service: Service,
    *,
    enabled: bool | None = None,
    active: bool | None = None,
    restricted: bool | None = None,
) -> None:
    """Turn the switches of a service that are not None."""
    given = {"enabled": enabled, "active": active, "restricted": restricted}
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        return
    defaults = {"enabled": True, "active": True, "restricted": False}
    insert = insert_into(connection, service_access).values(
        account_id=account_id, service=service, **(defaults | changes)
    )
    key = [service_access.c.account_id, service_access.c.service]
    connection.execute(insert.on_conflict_do_update(index_elements=key, set_=changes))


def switches_of(connection: Connection, account_id: int) -> dict[Service, Switches]:
    """Return how each service of an account is set."""
    query = select(service_access).where(service_access.c.account_id == account_id)
    rows = {row.service: Switches(row.enabled, row.active, row.restricted) for row in connection.execute(query)}
    return {service: rows.get(service, Switches()) for service in SERVICES}


def allow_address(connection: Connection, account_id: int, service: Service, network: str) -> str:
    """Let a network call a service, whatever was set for exactly this network before; return it as it is stored.

    Raises:
        InvalidNetwork: the text is none.
    """
    return _set_rule(connection, account_id, service, parse_network(network), allowed=True)


def deny_address(connection: Connection, account_id: int, service: Service, network: str) -> str:
    """Keep a network out of a service, restricted or not; return it as it is stored.

    Raises:
        InvalidNetwork: the text is none.
    """
    return _set_rule(connection, account_id, service, parse_network(network), allowed=False)


def remove_address_rule(connection: Connection, account_id: int, service: Service, network: str) -> str:
    """Forget what was set for exactly this network; return it as it was stored.

    Raises:
        InvalidNetwork: the text is none.
        UnknownRule: nothing was set.
    """
    stored = parse_network(network)
    deletion = address_rule.delete().where(
        address_rule.c.account_id == account_id, address_rule.c.service == service, address_rule.c.network == stored
    )
    if not connection.execute(deletion).rowcount:
        raise UnknownRule(f"The service {service} has no rule for {stored}.")
    return stored


def rules_of(connection: Connection, account_id: int) -> list[Rule]:
    """Return the rules of an account's services, by service and then by network, IPv4 first."""
    query = select(address_rule).where(address_rule.c.account_id == account_id)
    rules = [Rule(row.service, row.network, row.allowed, row.created_at) for row in connection.execute(query)]
    return sorted(rules, key=_order)


def _order(rule: Rule) -> tuple[int, int, int, int]:
    network = ipaddress.ip_network(rule.network)
    return SERVICES.index(rule.service), network.version, int(network.network_address), network.prefixlen


def parse_network(text: str) -> str:
    """Return an address, or a network in CIDR notation, as it is stored, such as `192.0.2.7/32`.

    Raises:
        InvalidNetwork: the text is neither.
    """
    try:
        # A zone (RFC 4007 section 11) says something on one machine only.
        network = ipaddress.ip_network(text.strip().replace("%", " "))
    except ValueError:
        raise InvalidNetwork(f"{text!r} is not an IP address or a network such as 192.0.2.0/24.") from None
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        packed = network.network_address.packed[-4:]
        network = ipaddress.IPv4Network((packed, network.prefixlen - _MAPPED.prefixlen))
    return str(network)


def _look_up(connection: Connection, account_id: int, service: Service, address: str) -> tuple[Switches, bool | None]:
    """Return how a service is set, and what the most special rule for an address says if there is any."""
    key = {"account_id": account_id, "service": service}
    rows = connection.execute(_ACCESS, key).all()
    enabled, active, restricted, _, _ = rows[0]
    switches = Switches() if enabled is None else Switches(enabled, active, restricted)
    networks = _networks_around(address)
    rules = {network: allowed for *_, network, allowed in rows}
    if len(rows) > _FEW:
        matching = connection.execute(_MATCHING, {**key, "networks": networks})
        rules = {row.network: row.allowed for row in matching}
    return switches, next((rules[network] for network in networks if network in rules), None)


@lru_cache(_ADDRESSES)
def _networks_around(address: str) -> tuple[str, ...]:
    """Return every network that an address is in, as it is stored, the smallest first; none for what is no address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ()
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or ipaddress.IPv6Address(int(parsed))
    number, bits, kind = int(parsed), parsed.max_prefixlen, type(parsed)
    return tuple(f"{kind(number >> host << host)}/{bits - host}" for host in range(bits + 1))


def _set_rule(connection: Connection, account_id: int, service: Service, network: str, *, allowed: bool) -> str:
    values = {"account_id": account_id, "service": service, "network": network, "allowed": allowed}
    key = [address_rule.c.account_id, address_rule.c.service, address_rule.c.network]
    insert = insert_into(connection, address_rule).values(**values, created_at=datetime.now(UTC))
    connection.execute(insert.on_conflict_do_update(index_elements=key, set_={"allowed": allowed}))
    return network
