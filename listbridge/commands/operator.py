"""The person at the terminal: who he is, and whether he means what cannot be taken back."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated

import typer

from listbridge.errors import CommandError

YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def confirm(question: str, *, yes: bool) -> None:
    """Go on if the answer is yes.

    Raises:
        CommandError: the answer is no, or there is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError("Nobody is there to be asked: give --yes.")
    if not typer.confirm(question, err=True):
        raise CommandError("Nothing was done.")


def name_operator() -> str | None:
    """Return the name under which this person is logged in to the machine, for the history; None without one."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return None
