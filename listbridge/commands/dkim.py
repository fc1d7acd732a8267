"""`listbridge dkim`: the keys that mails are signed with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from audience.accounts import find_account
from delivery.dkim import (
    ALGORITHMS,
    Algorithm,
    DkimSigner,
    StoredKey,
    add_signer,
    dns_record,
    find_key,
    list_keys,
    make_key,
    remove_key,
)
from listbridge.commands.operator import YesOption, confirm
from listbridge.commands.options import application, write
from listbridge.errors import CommandError
from listbridge.output import JsonOption, Row, print_rows

app = typer.Typer(help="Keys that mails are signed with (DKIM).", no_args_is_help=True)

DomainArgument = Annotated[str, typer.Argument(help="Domain of sender addresses.")]
SelectorArgument = Annotated[str, typer.Argument(help="Which of the domain's keys.")]


@app.command()
def add(
    domain: DomainArgument,
    selector: Annotated[str, typer.Option("--selector", help="Name of the key in DNS, such as s2026.")],
    algorithm: Annotated[str, typer.Option("--algorithm", help="rsa or ed25519.")] = "rsa",
    account: Annotated[int | None, typer.Option("--account", help="Only for mails of this account.")] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="PEM file of a private key; without it a new one is made.")
    ] = None,
) -> None:
    """Add a key, with which mails are signed from now on, and print the record to put into DNS before."""
    kind = _read_algorithm(algorithm)
    signer = DkimSigner(domain, selector, kind, _read_file(key) if key else make_key(kind))

    def store(connection: Connection) -> None:
        account_id = find_account(connection, account).id if account is not None else None
        add_signer(connection, account_id, signer)

    with application() as opened:
        write(opened, store)
    typer.echo(dns_record(signer))


def _read_algorithm(text: str) -> Algorithm:
    for algorithm in ALGORITHMS:
        if text.lower() == algorithm:
            return algorithm
    raise typer.BadParameter(f"expected {' or '.join(ALGORITHMS)}", param_hint="--algorithm")


def _read_file(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a PEM file"
        raise CommandError(f"{path} cannot be read: {reason}.") from None


@app.command("list")
def list_all(as_json: JsonOption = False) -> None:
    """List the keys by domain; of several that could sign, the newest does."""
    with application() as opened, opened.database.read() as connection:
        keys = list_keys(connection)
    print_rows([_describe(key) for key in keys], as_json=as_json, nothing="There are no keys.")


def _describe(key: StoredKey) -> Row:
    return {
        "domain": key.domain,
        "selector": key.selector,
        "algorithm": key.algorithm,
        "account": key.account_number,
        "created_at": key.created_at,
    }


@app.command()
def show(domain: DomainArgument, selector: SelectorArgument) -> None:
    """Print the DNS record of a key; the private key is never shown."""
    with application() as opened, opened.database.read() as connection:
        signer = find_key(connection, domain, selector)
    typer.echo(dns_record(signer))


@app.command()
def remove(domain: DomainArgument, selector: SelectorArgument, yes: YesOption = False) -> None:
    """Remove a key. Leave its record in DNS for some days: mails that it has signed may still be under way."""
    confirm(f"Remove the key {selector} of {domain} for good?", yes=yes)
    with application() as opened:
        write(opened, lambda connection: remove_key(connection, domain, selector))
    typer.echo("The key was removed.")
