"""`listbridge sender`: addresses that messages come from, and whether their owners have proved that they are theirs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from audience.accounts import find_account
from delivery.sender_addresses import ask_sender, remove_sender, senders_of, verify_sender
from listbridge.commands.options import application, write
from listbridge.output import JsonOption, print_rows

app = typer.Typer(help="Addresses that messages come from, and the proofs of their owners.", no_args_is_help=True)

AccountArgument = Annotated[int, typer.Argument(metavar="ACCOUNT", help="Number of the account.")]
EmailArgument = Annotated[str, typer.Argument(metavar="EMAIL", help="Of the sender.")]


@app.command()
def ask(account: AccountArgument, email: EmailArgument) -> None:
    """Send the owner of an address a mail with a link by which he proves that it is his."""
    with application() as opened:
        public_url = opened.settings.public_url
        asked = write(opened, lambda at: ask_sender(at, find_account(at, account), email, public_url))
    print(f"The owner of {asked} is asked.")


@app.command("list")
def list_all(account: AccountArgument, as_json: JsonOption = False) -> None:
    """List the sender addresses of an account."""
    with application() as opened, opened.database.read() as connection:
        found = senders_of(connection, find_account(connection, account).id)
    print_rows([asdict(each) for each in found], as_json=as_json, nothing="There are no sender addresses.")


@app.command()
def verify(account: AccountArgument, email: EmailArgument) -> None:
    """Take an address as proved, because you know its owner."""
    with application() as opened:
        verified = write(opened, lambda at: verify_sender(at, find_account(at, account).id, email))
    print(f"{verified} is verified.")


@app.command()
def remove(account: AccountArgument, email: EmailArgument) -> None:
    """Forget an address and its proof."""
    with application() as opened:
        write(opened, lambda at: remove_sender(at, find_account(at, account).id, email))
    print(f"{email.strip()} removed.")
