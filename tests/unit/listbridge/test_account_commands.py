"""`listbridge account`: what its commands print, refuse and leave behind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from command_results import Run


@pytest.fixture
def account(run: Run) -> Run:
    """The command line, of an installation with the accounts 1 and 2."""
    assert run("migrate").code == 0
    for number in ("1", "2"):
        assert run("account", "add", number, "--password", "secret", "--name", f"Shop {number}").code == 0
    return run


def _show(run: Run, number: int = 1) -> Any:
    return json.loads(run("account", "show", str(number), "--json").out)


def test_listing(account: Run) -> None:
    rows = json.loads(account("account", "list", "--json").out)
    assert rows == [
        {"number": number, "name": f"Shop {number}", "state": "active", "time_zone": "Europe/Rome"} for number in (1, 2)
    ]
    assert account("account", "list").out.splitlines()[1].split() == ["1", "Shop", "1", "active", "Europe/Rome"]


def test_a_new_account_is_shown(account: Run) -> None:
    shown = _show(account)
    assert (shown["users"], shown["hosts"], shown["addresses"]) == (["a1", "m1"], [], [])
    assert shown["services"] == [
        {"service": service, "enabled": True, "active": True, "restricted": False}
        for service in ("import", "pages", "send", "manage", "report")
    ]
    text = account("account", "show", "1").out
    assert "users      a1, m1\n" in text and "There are no rules for addresses.\n" in text


@pytest.mark.parametrize("state", ["suspended", "inactive", "expired", "unsigned", "active"])
def test_states(account: Run, state: str) -> None:
    result = account("account", "set-state", "1", state)
    assert (result.code, result.out) == (0, f"Account 1 is {state}.\n")
    assert (_show(account)["state"], _show(account, 2)["state"]) == (state, "active")


def test_switches(account: Run) -> None:
    shown = account("account", "service", "1", "import", "--disable", "--deactivate", "--restrict").out
    assert shown.split() == ["service", "import", "enabled", "no", "active", "no", "restricted", "yes"]
    assert account("account", "service", "1", "import").out == shown
    account("account", "service", "1", "import", "--enable")
    account("account", "service", "1", "pages", "--deactivate")
    account("account", "service", "1", "import", "--activate", "--open")
    services = {one["service"]: one for one in _show(account)["services"]}
    assert services["import"] == {"service": "import", "enabled": True, "active": True, "restricted": False}
    assert services["pages"] == {"service": "pages", "enabled": True, "active": False, "restricted": False}
    assert all(one["active"] for one in _show(account, 2)["services"])


def test_addresses(account: Run) -> None:
    assert account("account", "allow", "1", "import", "::ffff:192.0.2.7").out == (
        "192.0.2.7/32 may call the service import of account 1.\n"
    )
    assert account("account", "deny", "1", "pages", "2001:db8::/32").out == (
        "2001:db8::/32 may not call the service pages of account 1.\n"
    )
    rules = [(rule["service"], rule["network"], rule["allowed"]) for rule in _show(account)["addresses"]]
    assert rules == [("import", "192.0.2.7/32", True), ("pages", "2001:db8::/32", False)]
    assert "import   192.0.2.7/32   yes" in account("account", "show", "1").out
    assert account("account", "forget-address", "1", "import", "192.0.2.7").code == 0
    assert len(_show(account)["addresses"]) == 1


def test_hosts(account: Run) -> None:
    assert account("account", "host", "add", "1", "Shop.Example.com:80").out == "shop.example.com means account 1.\n"
    assert _show(account)["hosts"] == ["shop.example.com"]
    taken = account("account", "host", "add", "2", "shop.example.com")
    assert (taken.code, taken.err) == (1, "listbridge: The host shop.example.com is registered already.\n")
    assert account("account", "host", "remove", "2", "shop.example.com").code == 1
    assert account("account", "host", "remove", "1", "shop.example.com").code == 0
    assert _show(account)["hosts"] == []


def test_the_technical_contact(account: Run) -> None:
    assert _show(account)["contact"] is None
    named = account("account", "contact", "1", "--email", "Operator@Example.com")
    assert named.out == "Account 1 has the technical contact operator@example.com.\n"
    assert (_show(account)["contact"], _show(account, 2)["contact"]) == ("operator@example.com", None)
    wrong = account("account", "contact", "1", "--email", "nobody")
    assert (wrong.code, wrong.err) == (1, "listbridge: The e-mail address is not well-formed.\n")
    for arguments in ((), ("--email", "a@example.com", "--remove")):
        assert account("account", "contact", "1", *arguments).err == (
            "listbridge: Give either --email ADDRESS or --remove.\n"
        )
    assert account("account", "contact", "1", "--remove").out == "Account 1 has no technical contact.\n"
    assert _show(account)["contact"] is None


def test_hashes_of_users(account: Run) -> None:
    number = json.loads(account("account", "list", "--json").out)[0]["number"]
    first, second = (account("account", "user-hash", str(number), user).out.strip() for user in ("1", "2"))
    assert len(first) == len(second) == 64 and first != second
    result = account("account", "user-hash", str(number), "3")
    assert (result.code, result.err) == (1, f"listbridge: There is no user 3 in account {number}.\n")


def test_passwords(account: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert account("account", "password", "1", "--password", "new").out == "New password for a1 and m1.\n"
    assert account("account", "password", "1", "--user", "m1").code == 1
    monkeypatch.setenv("LISTBRIDGE_PASSWORD", "newer")
    result = account("account", "password", "1", "--user", "m1")
    assert (result.code, result.out) == (0, "New password for m1.\n")
    assert "new" not in json.dumps(_show(account))


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("show", "3"), 1, "There is no account 3."),
        (("set-state", "3", "active"), 1, "There is no account 3."),
        (("set-state", "1", "open"), 2, "'open' is not one of"),
        (("password", "1", "--password", "x", "--user", "a2"), 1, "The account has no user a2."),
        (("password", "1", "--password", ""), 1, "A password is needed"),
        (("host", "add", "1", "http://a.example.com"), 1, "'http://a.example.com' is not a host name."),
        (("service", "1", "soap"), 2, "'soap' is not one of"),
        (("service", "3", "import"), 1, "There is no account 3."),
        (("service", "1", "import", "--enable=maybe"), 2, "--enable"),
        (("allow", "1", "import", "192.0.2.7/24"), 1, "'192.0.2.7/24' is not an IP address or a network"),
        (("deny", "1", "import", "example.com"), 1, "'example.com' is not an IP address or a network"),
        (("forget-address", "1", "import", "192.0.2.7"), 1, "The service import has no rule for 192.0.2.7/32."),
    ],
    ids=str,
)
def test_what_cannot_be_done(account: Run, arguments: tuple[str, ...], code: int, text: str) -> None:
    before = _show(account)
    result = account("account", *arguments)
    assert result.code == code
    assert text in " ".join(result.err.split())
    assert _show(account) == before
