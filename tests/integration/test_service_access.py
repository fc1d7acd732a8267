"""Who may call which service: switches, rules for addresses, host names, passwords, on both databases."""

from __future__ import annotations

import ipaddress
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select

from audience.accounts import (
    Account,
    UnknownHost,
    UnknownUser,
    accounts_of_server,
    add_account,
    add_host,
    change_password,
    find_account,
    find_account_by_host,
    find_api_login,
    hosts_of,
    remove_host,
    set_account_state,
    users_of,
)
from audience.destinations import Host, find_destination
from audience.errors import AlreadyExists, InvalidName
from audience.passwords import verify_password
from audience.service_access import (
    MAX_REGISTERED,
    SERVICES,
    AccessRefused,
    AddressDenied,
    AddressUnknown,
    InvalidNetwork,
    NotActive,
    NotEnabled,
    Switches,
    TooManyRules,
    UnknownRule,
    activate,
    allow_address,
    check_access,
    deny_address,
    parse_network,
    remove_address_rule,
    rules_of,
    set_service,
    switches_of,
)
from db.engine import Database
from db.retry import retry_on_conflict
from db.tables import address_rule, service_access
from services.mailup import page_access

ADDRESS = "192.0.2.7"
MANY = {"10.0.0.1": True, "10.0.0.2": False, "10.64.1.1": False, "10.1.0.0": False, "::1": False, "": False}


def is_admitted(connection: Connection, account: Account, address: str) -> bool:
    """Ask as a page does."""
    destination = find_destination(connection, "pages", Host("m.example.com", account.number))
    assert destination is not None
    return page_access.is_admitted(connection, destination.gate, address)


def _accounts(database: Database) -> tuple[Account, Account]:
    with database.write() as connection:
        return add_account(connection, 1, password="secret"), add_account(connection, 2, password="secret")


def _refusal(connection: Connection, account: Account, address: str = ADDRESS) -> type[AccessRefused] | None:
    """Return why an address may not call the import service of an account."""
    try:
        check_access(connection, account.id, "import", address)
    except AccessRefused as refused:
        return type(refused)
    return None


def test_a_new_account_is_open(database: Database) -> None:
    account, _ = _accounts(database)
    with database.read() as connection:
        for service in SERVICES:
            for address in (ADDRESS, "2001:db8::1", "", "unix:", "fe80::1%eth0"):
                check_access(connection, account.id, service, address)
        assert switches_of(connection, account.id) == dict.fromkeys(SERVICES, Switches())
        assert rules_of(connection, account.id) == []


def test_the_order_of_checks(database: Database) -> None:
    account, other = _accounts(database)
    with database.write() as connection:
        set_service(connection, account.id, "import", enabled=False, active=False, restricted=True)
        deny_address(connection, account.id, "import", "198.51.100.0/24")
        refusals = []
        for changes in ({}, {"enabled": True}, {"active": True}, {"restricted": False}):
            set_service(connection, account.id, "import", **changes)
            refusals.append((_refusal(connection, account), _refusal(connection, account, "198.51.100.1")))
        assert refusals == [
            (NotEnabled, NotEnabled),
            (NotActive, NotActive),
            (AddressUnknown, AddressDenied),
            (None, AddressDenied),
        ]
        # Neither other services nor other accounts have anything to do with it.
        check_access(connection, account.id, "pages", "198.51.100.1")
        assert _refusal(connection, other, "198.51.100.1") is None
        assert switches_of(connection, account.id)["pages"] == Switches()


def test_the_most_special_rule_counts(database: Database) -> None:
    account, _ = _accounts(database)
    with database.write() as connection:
        set_service(connection, account.id, "import", restricted=True)
        deny_address(connection, account.id, "import", "192.0.2.0/24")
        allow_address(connection, account.id, "import", "192.0.2.0/29")
        deny_address(connection, account.id, "import", "192.0.2.7")
        allow_address(connection, account.id, "import", "2001:db8::/32")
        deny_address(connection, account.id, "import", "2001:db8:1::/48")
        expected: dict[str, type[AccessRefused] | None] = {
            "192.0.2.6": None,
            "192.0.2.7": AddressDenied,
            "192.0.2.8": AddressDenied,
            "192.0.3.1": AddressUnknown,
            "::ffff:192.0.2.6": None,
            "::ffff:192.0.2.7": AddressDenied,
            "2001:db8::1": None,
            "2001:DB8:0:0::1": None,
            "2001:db8:1::1": AddressDenied,
            "2001:db9::1": AddressUnknown,
            "": AddressUnknown,
            "192.0.2.6 ": AddressUnknown,
        }
        assert {address: _refusal(connection, account, address) for address in expected} == expected
        assert [(rule.network, rule.allowed) for rule in rules_of(connection, account.id)] == [
            ("192.0.2.0/24", False),
            ("192.0.2.0/29", True),
            ("192.0.2.7/32", False),
            ("2001:db8::/32", True),
            ("2001:db8:1::/48", False),
        ]


def test_rules_as_a_model_says(database: Database) -> None:
    account, _ = _accounts(database)
    low = st.integers(0, 15).map(lambda number: f"192.0.2.{number}")
    networks = st.tuples(low, st.integers(0, 32)).map(
        lambda pair: ipaddress.IPv4Network("/".join(map(str, pair)), False)
    )

    @settings(max_examples=50, deadline=None, database=None)
    @given(st.dictionaries(networks, st.booleans(), max_size=6), low, st.booleans())
    def check(rules: dict[ipaddress.IPv4Network, bool], address: str, restricted: bool) -> None:
        matching = [network for network in rules if ipaddress.IPv4Address(address) in network]
        nearest = max(matching, key=lambda network: network.prefixlen, default=None)
        expected = (AddressUnknown if restricted else None) if nearest is None else AddressDenied
        if nearest is not None and rules[nearest]:
            expected = None
        with database.write() as connection:
            connection.execute(address_rule.delete())
            set_service(connection, account.id, "import", restricted=restricted)
            for network, allowed in rules.items():
                (allow_address if allowed else deny_address)(connection, account.id, "import", str(network))
            assert _refusal(connection, account, address) == expected

    check()


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        (" 192.0.2.0/24 ", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8:0::1", "2001:db8::1/128"),
        ("::/0", "::/0"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("192.0.2.7/24", None),
        ("192.0.2", None),
        ("192.0.2.256", None),
        ("fe80::1%eth0", None),
        ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
        ("example.com", None),
        ("1", None),
        ("", None),
        ("'; DROP TABLE account; --", None),
    ],
)
def test_networks(text: str, stored: str | None) -> None:
    if stored is None:
        with pytest.raises(InvalidNetwork):
            parse_network(text)
    else:
        assert parse_network(text) == stored


def test_rules_are_replaced_and_forgotten(database: Database) -> None:
    account, other = _accounts(database)
    with database.write() as connection:
        assert allow_address(connection, account.id, "pages", ADDRESS) == "192.0.2.7/32"
        assert deny_address(connection, account.id, "pages", "::ffff:192.0.2.7") == "192.0.2.7/32"
        (rule,) = rules_of(connection, account.id)
        assert (rule.service, rule.network, rule.allowed) == ("pages", "192.0.2.7/32", False)
        assert not is_admitted(connection, account, ADDRESS)
        assert is_admitted(connection, other, ADDRESS)
        for owner, service in ((other, "pages"), (account, "import")):
            with pytest.raises(UnknownRule):
                remove_address_rule(connection, owner.id, service, ADDRESS)  # type: ignore[arg-type]
        assert remove_address_rule(connection, account.id, "pages", ADDRESS) == "192.0.2.7/32"
        assert is_admitted(connection, account, ADDRESS)


def test_activation(database: Database) -> None:
    account, other = _accounts(database)
    with database.write() as connection:
        set_service(connection, account.id, "import", active=False, restricted=True)
        for _ in range(2):
            activate(connection, account.id, "import", "::ffff:192.0.2.7")
        assert _refusal(connection, account) is None
        assert [rule.network for rule in rules_of(connection, account.id)] == ["192.0.2.7/32"]
        assert rules_of(connection, other.id) == []
        assert switches_of(connection, account.id)["import"] == Switches(restricted=True)

        deny_address(connection, account.id, "import", "198.51.100.0/24")
        with pytest.raises(AddressDenied):
            activate(connection, account.id, "import", "198.51.100.1")
        with pytest.raises(InvalidNetwork):
            activate(connection, account.id, "import", "nowhere")
        set_service(connection, account.id, "import", enabled=False)
        with pytest.raises(NotEnabled):
            activate(connection, account.id, "import", ADDRESS)


def test_activation_fills_no_disk(database: Database) -> None:
    account, _ = _accounts(database)
    first = int(ipaddress.IPv4Address("10.0.0.0"))
    networks = [f"{ipaddress.IPv4Address(first + number)}/32" for number in range(MAX_REGISTERED)]
    with database.write() as connection:
        values = {"account_id": account.id, "service": "pages", "allowed": True, "created_at": datetime.now(UTC)}
        connection.execute(address_rule.insert(), [values | {"network": network} for network in networks])
        with pytest.raises(TooManyRules):
            activate(connection, account.id, "pages", ADDRESS)
        activate(connection, account.id, "pages", "10.0.0.1")
        # Many rules are looked up in another way than few.
        set_service(connection, account.id, "pages", restricted=True)
        deny_address(connection, account.id, "pages", "10.0.0.2")
        deny_address(connection, account.id, "pages", "10.64.0.0/10")
        allowed = {address: is_admitted(connection, account, address) for address in MANY}
        assert allowed == MANY
        activate(connection, account.id, "import", ADDRESS)


def test_activations_at_once(database: Database) -> None:
    account, _ = _accounts(database)

    def register(number: int) -> None:
        def act() -> None:
            with database.write() as connection:
                activate(connection, account.id, "import", f"192.0.2.{number % 3}")

        retry_on_conflict(act)

    with database.write() as connection:
        set_service(connection, account.id, "import", active=False)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(register, range(24)))
    with database.read() as connection:
        assert len(rules_of(connection, account.id)) == 3
        assert switches_of(connection, account.id)["import"].active
        assert connection.execute(select(func.count()).select_from(service_access)).scalar_one() == 1


def test_host_names(database: Database) -> None:
    account, other = _accounts(database)
    with database.write() as connection:
        assert add_host(connection, account.id, "Shop.Example.COM:8080") == "shop.example.com"
        assert add_host(connection, account.id, "localhost.:80") == "localhost"
        assert add_host(connection, other.id, "192.0.2.1") == "192.0.2.1"
    with database.read() as connection:
        for host in ("shop.example.com", "SHOP.example.com:80", "shop.example.com.", " shop.example.com"):
            assert find_account_by_host(connection, host) == account
        assert find_account_by_host(connection, "192.0.2.1:80") == other
        for host in ("", "example.com", "x.shop.example.com", "[::1]:80", "%", "a" * 100_000, "' OR 1=1 --", ":80"):
            assert find_account_by_host(connection, host) is None
        assert hosts_of(connection, account.id) == ["localhost", "shop.example.com"]
    for taken in ("shop.example.com", "LOCALHOST"):
        with database.write() as connection, pytest.raises(AlreadyExists):
            add_host(connection, other.id, taken)
    with database.write() as connection:
        for bad in (
            "",
            ":80",
            "a b",
            "ä.example.com",
            "a..b",
            ".a",
            "[::1]",
            "http://a",
            "a/b",
            "a" * 64,
            "a." * 127 + "a",
            "a:b",
            "-a",
            "a\0",
        ):
            with pytest.raises(InvalidName):
                add_host(connection, other.id, bad)
        with pytest.raises(UnknownHost):
            remove_host(connection, other.id, "localhost")
        assert remove_host(connection, account.id, "LOCALHOST") == "localhost"
        assert find_account_by_host(connection, "localhost") is None


def test_passwords_and_states(database: Database) -> None:
    account, other = _accounts(database)

    def password_of(connection: Connection, user: str) -> str:
        login = find_api_login(connection, user)
        assert login is not None
        return next(known for known in ("secret", "new", "newer") if verify_password(login.password_hash, known))

    with database.write() as connection:
        assert change_password(connection, account.id, "new", "m1") == ["m1"]
        assert (password_of(connection, "m1"), password_of(connection, "a1")) == ("new", "secret")
        assert change_password(connection, account.id, "newer") == ["a1", "m1"]
        assert {password_of(connection, user) for user in ("m1", "a1")} == {"newer"}
        assert password_of(connection, "a2") == "secret"
        for user in ("a2", "nobody", ""):
            with pytest.raises(UnknownUser):
                change_password(connection, account.id, "x", user)
        assert users_of(connection, account.id) == ["a1", "m1"]
        set_account_state(connection, account.id, "unsigned")
        assert find_account(connection, 1).state == "unsigned"
        assert [one.state for one in accounts_of_server(connection)] == ["unsigned", "active"]
        assert other in accounts_of_server(connection)
