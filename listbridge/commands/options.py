"""Options that several commands share, and the way a command gets at the database."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, TypeVar

import typer
from sqlalchemy import Connection

from db.retry import retry_on_conflict
from listbridge.app import Application, open_application
from listbridge.errors import CommandError
from listbridge.logging import configure_command_logging
from listbridge.settings import load_settings, read_secret

Outcome = TypeVar("Outcome")

TAB_NAMES = ("tab", "\\t")
"""How a tab is written where a separator is asked for."""

AccountOption = Annotated[int, typer.Option("--account", help="Number of the account.")]
PasswordOption = Annotated[
    str | None,
    typer.Option(
        help="Password; without it LISTBRIDGE_PASSWORD or the file named by LISTBRIDGE_PASSWORD_FILE is taken.",
        show_default=False,
    ),
]


@contextmanager
def application() -> Iterator[Application]:
    """Give a command its application, with the settings of this process.

    Raises:
        CommandError: a setting is wrong, or the database is not ready.
    """
    settings = load_settings()
    configure_command_logging(settings)
    with open_application(settings) as opened:
        yield opened


def write(opened: Application, work: Callable[[Connection], Outcome]) -> Outcome:
    """Do the work of a command in one writing transaction, and again when the database gave that up for another one.

    Args:
        opened: the command's application.
        work: gets the transaction's connection; must bear being called again after a rollback.
    """

    def attempt() -> Outcome:
        with opened.database.write() as connection:
            return work(connection)

    return retry_on_conflict(attempt)


def require_password(given: str | None) -> str:
    """Return the password for a new user from the option, the environment or a file.

    Raises:
        CommandError: there is none, or it is empty.
    """
    path = os.environ.get("LISTBRIDGE_PASSWORD_FILE")
    if given is None and path is not None:
        given = read_secret(path, "LISTBRIDGE_PASSWORD_FILE")
    password = given if given is not None else os.environ.get("LISTBRIDGE_PASSWORD")
    if not password:
        raise CommandError("A password is needed: give --password, or set LISTBRIDGE_PASSWORD_FILE.")
    return password


def split_numbers(text: str | None, option: str) -> tuple[int, ...]:
    """Read whole numbers separated by commas; absent text has none.

    Raises:
        typer.BadParameter: something else stands among them.
    """
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise typer.BadParameter("expected whole numbers separated by commas", param_hint=option)
    return tuple(map(int, parts))
