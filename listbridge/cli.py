"""The command line: every command of `listbridge.commands` under its name, and how errors are told.

Exit codes: 0 done, 1 could not be done (one line on standard error says why), 2 not understood. Only the module of the
command that is called is imported, so that a command starts at once whatever the others need.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import import_module

import typer
from sqlalchemy.exc import OperationalError
from typer.models import CommandInfo

GROUPS: Mapping[str, str] = {
    "account": "accounts",
    "list": "mailing_lists",
    "message": "messages",
    "group": "groups",
    "template": "templates",
    "field": "fields",
    "ftp-user": "ftp_users",
    "recipient": "recipients",
    "profile": "profiles",
    "import": "imports",
    "export": "exports",
    "schedule": "schedules",
    "remote": "remotes",
    "transfer": "transfers",
    "feed": "feeds",
    "smtp-user": "smtp_users",
    "outbox": "outbox",
    "relay": "relay",
    "bounces": "bounces",
    "sms": "sms",
    "credits": "sms_credits",
    "queue": "queue",
    "filter": "filters",
    "sender": "senders",
    "dkim": "dkim",
    "webhook": "webhooks",
    "jobs": "jobs",
    "wsdl": "contracts",
}
"""Modules of `listbridge.commands` by the first word of their commands."""
SINGLE_COMMANDS = ("roles", "installation")
"""Modules whose commands have one word."""


def make_app() -> typer.Typer:
    """Return the application with all commands."""
    app = _make_app()
    for name in SINGLE_COMMANDS:
        app.registered_commands += _find_app(name).registered_commands
    for name, module in GROUPS.items():
        app.add_typer(_find_app(module), name=name)
    return app


def main() -> None:
    """Run the command that the arguments name and leave with its exit code."""
    # What the program writes holds personal data, so nobody but its own user may read it.
    os.umask(0o077)
    try:
        _find_commands(sys.argv[1] if len(sys.argv) > 1 else "")(prog_name="listbridge")
    except OperationalError as error:
        from listbridge.app import describe_database_error

        _fail(f"The database cannot be used: {describe_database_error(error)}")
    except BrokenPipeError:
        # Whoever read our output has enough; Python must not try to flush the rest.
        sys.stdout = None
        sys.exit(1)
    except Exception as error:
        if not isinstance(error, _find_refusals()):
            raise
        _fail(str(error))


def _find_commands(first: str) -> typer.Typer:
    """Return an application that has the command that begins with a word, or all when none does."""
    app = _make_app()
    # Beside a single command, or a single group, its name would be taken for superfluous.
    app.callback()(lambda: None)
    if first in GROUPS:
        app.add_typer(_find_app(GROUPS[first]), name=first)
        return app
    for name in SINGLE_COMMANDS:
        commands = _find_app(name).registered_commands
        if first in map(_name_of, commands):
            app.registered_commands += commands
            return app
    return make_app()


def _name_of(command: CommandInfo) -> str:
    return command.name or getattr(command.callback, "__name__", "").replace("_", "-")


def _make_app() -> typer.Typer:
    return typer.Typer(
        name="listbridge",
        help="A server for programs that speak to an e-mail marketing platform over SOAP, HTTP and FTP.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )


def _find_app(module: str) -> typer.Typer:
    app: typer.Typer = import_module(f"listbridge.commands.{module}").app
    return app


def _find_refusals() -> tuple[type[Exception], ...]:
    """Return what rooms refuse with a text for people."""
    from audience.errors import AudienceError
    from delivery.errors import DeliveryError
    from exchange.errors import FileRefused, InvalidProfile
    from jobs.feeds import FeedInUse, InvalidFolder
    from jobs.import_results import UnknownImport
    from jobs.import_undo import UndoRefused
    from jobs.sending_folders import NoSendingFolder
    from listbridge.errors import CommandError

    return (
        CommandError,
        AudienceError,
        DeliveryError,
        InvalidFolder,
        FeedInUse,
        FileRefused,
        InvalidProfile,
        NoSendingFolder,
        UnknownImport,
        UndoRefused,
    )


def _fail(text: str) -> None:
    print(f"listbridge: {text}", file=sys.stderr)
    sys.exit(1)
