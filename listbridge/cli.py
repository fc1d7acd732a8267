"""The command line: every command of `listbridge.commands` under its name, and how errors are told.

Exit codes: 0 done, 1 could not be done (one line on standard error says why), 2 not understood.
"""

from __future__ import annotations

import os
import sys

import typer
from sqlalchemy.exc import OperationalError

from audience.errors import AudienceError
from delivery.errors import DeliveryError
from exchange.errors import FileRefused, InvalidProfile
from jobs.feeds import FeedInUse, InvalidFolder
from jobs.import_results import UnknownImport
from jobs.import_undo import UndoRefused
from jobs.sending_folders import NoSendingFolder
from listbridge.app import describe_database_error
from listbridge.commands import (
    accounts,
    bounces,
    contracts,
    dkim,
    exports,
    feeds,
    fields,
    filters,
    ftp_users,
    groups,
    imports,
    installation,
    jobs,
    mailing_lists,
    messages,
    outbox,
    profiles,
    queue,
    recipients,
    relay,
    remotes,
    roles,
    schedules,
    senders,
    sms,
    sms_credits,
    smtp_users,
    templates,
    transfers,
    webhooks,
)
from listbridge.errors import CommandError

app = typer.Typer(
    name="listbridge",
    help="A server for programs that speak to an e-mail marketing platform over SOAP, HTTP and FTP.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for commands in (roles.app, installation.app):
    app.registered_commands += commands.registered_commands
app.add_typer(accounts.app, name="account")
app.add_typer(mailing_lists.app, name="list")
app.add_typer(messages.app, name="message")
app.add_typer(groups.app, name="group")
app.add_typer(templates.app, name="template")
app.add_typer(fields.app, name="field")
app.add_typer(ftp_users.app, name="ftp-user")
app.add_typer(recipients.app, name="recipient")
app.add_typer(profiles.app, name="profile")
app.add_typer(imports.app, name="import")
app.add_typer(exports.app, name="export")
app.add_typer(schedules.app, name="schedule")
app.add_typer(remotes.app, name="remote")
app.add_typer(transfers.app, name="transfer")
app.add_typer(feeds.app, name="feed")
app.add_typer(smtp_users.app, name="smtp-user")
app.add_typer(outbox.app, name="outbox")
app.add_typer(relay.app, name="relay")
app.add_typer(bounces.app, name="bounces")
app.add_typer(sms.app, name="sms")
app.add_typer(sms_credits.app, name="credits")
app.add_typer(queue.app, name="queue")
app.add_typer(filters.app, name="filter")
app.add_typer(senders.app, name="sender")
app.add_typer(dkim.app, name="dkim")
app.add_typer(webhooks.app, name="webhook")
app.add_typer(jobs.app, name="jobs")
app.add_typer(contracts.app, name="wsdl")

_REFUSALS = (
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
"""What rooms refuse with a text for people."""


def main() -> None:
    """Run the command that the arguments name and leave with its exit code."""
    # What the program writes holds personal data, so nobody but its own user may read it.
    os.umask(0o077)
    try:
        app(prog_name="listbridge")
    except _REFUSALS as error:
        _fail(str(error))
    except OperationalError as error:
        _fail(f"The database cannot be used: {describe_database_error(error)}")
    except BrokenPipeError:
        # Whoever read our output has enough; Python must not try to flush the rest.
        sys.stdout = None
        sys.exit(1)


def _fail(text: str) -> None:
    print(f"listbridge: {text}", file=sys.stderr)
    sys.exit(1)
