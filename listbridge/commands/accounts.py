"""`listbridge account`: the customers of the server, who calls for them and from where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Concatenate, ParamSpec

import typer
from sqlalchemy import Connection

from audience.accounts import (
    API_USER_PREFIXES,
    DEFAULT_TIME_ZONE,
    Account,
    AccountState,
    accounts_of_server,
    add_host,
    change_password,
    find_account,
    hosts_of,
    remove_host,
    set_account_state,
    users_of,
)
from audience.notices import find_contact, set_contact
from audience.service_access import (
    Service,
    Switches,
    allow_address,
    deny_address,
    remove_address_rule,
    rules_of,
    set_service,
    switches_of,
)
from audience.users import hash_user
from listbridge.commands.options import Outcome, PasswordOption, application, require_password, write
from listbridge.customers import open_account
from listbridge.errors import CommandError
from listbridge.output import JsonOption, Row, print_json, print_rows, print_values

app = typer.Typer(help="Accounts: the customers of the server.", no_args_is_help=True)
hosts = typer.Typer(help="Host names by which callers mean an account.", no_args_is_help=True)
app.add_typer(hosts, name="host")

Number = Annotated[int, typer.Argument(help="Number of the account.")]
ServiceName = Annotated[Service, typer.Argument(metavar="SERVICE", help="import, pages, send, manage or report.")]
Network = Annotated[str, typer.Argument(help="IP address, or network such as 192.0.2.0/24.")]
Host = Annotated[str, typer.Argument(help="Host name.")]
Values = ParamSpec("Values")


def _change(
    number: int,
    change: Callable[Concatenate[Connection, int, Values], Outcome],
    /,
    *values: Values.args,
    **options: Values.kwargs,
) -> Outcome:
    """Change something of an account in one transaction; the change gets the account's internal id."""
    with application() as opened:
        return write(
            opened, lambda connection: change(connection, find_account(connection, number).id, *values, **options)
        )


@app.command()
def add(
    number: Annotated[int, typer.Argument(help="Number of the account, a positive one.")],
    password: PasswordOption = None,
    name: Annotated[str, typer.Option(help="Name of the account.", show_default=False)] = "",
    time_zone: Annotated[str, typer.Option(help="Time zone of its schedules and dates.")] = DEFAULT_TIME_ZONE,
) -> None:
    """Add an account with its API users m<NUMBER> and a<NUMBER>, which share the password."""
    secret = require_password(password)
    with application() as opened:
        storage = opened.storage
        write(
            opened,
            lambda connection: open_account(
                connection, storage, number, password=secret, name=name, time_zone=time_zone
            ),
        )
    users = " and ".join(f"{prefix}{number}" for prefix in API_USER_PREFIXES)
    print(f"Account {number} added with the users {users}.")


@app.command("list")
def list_accounts(as_json: JsonOption = False) -> None:
    """List the accounts by number."""
    with application() as opened, opened.database.read() as connection:
        rows = [_describe(account) for account in accounts_of_server(connection)]
    print_rows(rows, as_json=as_json, nothing="There are no accounts.")


@app.command()
def show(number: Number, as_json: JsonOption = False) -> None:
    """Show an account: its state, users and host names, its services and who may call them."""
    with application() as opened, opened.database.read() as connection:
        account = find_account(connection, number)
        users, names = users_of(connection, account.id), hosts_of(connection, account.id)
        contact = find_contact(connection, account.id)
        services = [_describe_service(*item) for item in switches_of(connection, account.id).items()]
        rules = [asdict(rule) for rule in rules_of(connection, account.id)]
    if as_json:
        people = {"users": users, "hosts": names, "contact": contact}
        print_json(_describe(account) | people | {"services": services, "addresses": rules})
        return
    people = {"users": ", ".join(users), "hosts": ", ".join(names) or None, "contact": contact}
    print_values(_describe(account) | people)
    print()
    print_rows(services, as_json=False, nothing="")
    print()
    print_rows(rules, as_json=False, nothing="There are no rules for addresses.")


def _describe(account: Account) -> Row:
    return {
        "number": account.number,
        "name": account.name,
        "state": account.state,
        "time_zone": account.time_zone,
    }


def _describe_service(service: Service, switches: Switches) -> Row:
    return {"service": service} | asdict(switches)


@app.command()
def set_state(
    number: Number,
    state: Annotated[
        AccountState, typer.Argument(metavar="STATE", help="active, suspended, inactive, expired or unsigned.")
    ],
) -> None:
    """Open an account to its callers (active) or close it, with the reason that they are told."""
    _change(number, set_account_state, state)
    print(f"Account {number} is {state}.")


@app.command("password")
def set_password(
    number: Number,
    password: PasswordOption = None,
    user: Annotated[str | None, typer.Option(help="Only of this API user, such as a1.", show_default=False)] = None,
) -> None:
    """Give the API users of an account a new password; their access keys end."""
    secret = require_password(password)
    names = _change(number, change_password, secret, user)
    print(f"New password for {' and '.join(names)}.")


@app.command()
def contact(
    number: Number,
    email: Annotated[
        str | None, typer.Option(help="Address that gets the notices about the account's files.", show_default=False)
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Tell nobody any more.")] = False,
) -> None:
    """Name the technical contact of an account, who is told of files that failed or did not come."""
    if (email is None) != remove:
        raise CommandError("Give either --email ADDRESS or --remove.")
    stored = _change(number, set_contact, email)
    print(f"Account {number} has {f'the technical contact {stored}' if stored else 'no technical contact'}.")


@hosts.command("add")
def add_host_name(number: Number, host: Host) -> None:
    """Register a host name, in whose requests without a list's GUID this account is meant."""
    name = _change(number, add_host, host)
    print(f"{name} means account {number}.")


@hosts.command("remove")
def remove_host_name(number: Number, host: Host) -> None:
    """Forget a host name of an account."""
    name = _change(number, remove_host, host)
    print(f"{name} means account {number} no more.")


@app.command()
def user_hash(number: Number, user: Annotated[int, typer.Argument(help="Number of the user.")]) -> None:
    """Print the hash by which a program proves to CheckUserHash that it was told of a user."""
    with application() as opened, opened.database.read() as connection:
        found = hash_user(connection, find_account(connection, number).id, user)
    if found is None:
        raise CommandError(f"There is no user {user} in account {number}.")
    print(found)


@app.command()
def service(
    number: Number,
    service: ServiceName,
    enabled: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Switch the service on or off.", show_default=False)
    ] = None,
    active: Annotated[
        bool | None,
        typer.Option("--activate/--deactivate", help="Deactivated it waits for WSActivation.", show_default=False),
    ] = None,
    restricted: Annotated[
        bool | None,
        typer.Option("--restrict/--open", help="Admit registered addresses only, or all.", show_default=False),
    ] = None,
) -> None:
    """Turn the switches of a service, and show how they are."""

    def work(connection: Connection, account_id: int) -> Switches:
        set_service(connection, account_id, service, enabled=enabled, active=active, restricted=restricted)
        return switches_of(connection, account_id)[service]

    switches = _change(number, work)
    print_values(_describe_service(service, switches))


@app.command()
def allow(number: Number, service: ServiceName, network: Network) -> None:
    """Let an address or network call a service that is restricted."""
    stored = _change(number, allow_address, service, network)
    print(f"{stored} may call the service {service} of account {number}.")


@app.command()
def deny(number: Number, service: ServiceName, network: Network) -> None:
    """Keep an address or network out of a service, restricted or not."""
    stored = _change(number, deny_address, service, network)
    print(f"{stored} may not call the service {service} of account {number}.")


@app.command()
def forget_address(number: Number, service: ServiceName, network: Network) -> None:
    """Remove the rule for an address or network."""
    stored = _change(number, remove_address_rule, service, network)
    print(f"The service {service} of account {number} has no rule for {stored} any more.")
