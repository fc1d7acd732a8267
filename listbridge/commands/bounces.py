"""`listbridge bounces`: what came back by mail, without contents and addresses."""

from __future__ import annotations

from typing import Annotated

import typer
from sqlalchemy import Connection

from delivery.inbound_mails import InboundMail, count_mails, find_mail, list_mails
from listbridge.commands.options import application
from listbridge.errors import CommandError
from listbridge.output import JsonOption, Row, print_json, print_rows, print_values

app = typer.Typer(help="Mails that came back.", no_args_is_help=True)


@app.command("list")
def list_all(
    outcome: Annotated[str | None, typer.Option(help="Only those that meant this, such as hard.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most mails to list.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List the newest mails that came back, the newest first."""
    with application() as opened, opened.database.read() as connection:
        mails = list_mails(connection, outcome=outcome, limit=limit)
    print_rows([_describe(mail) for mail in mails], as_json=as_json, nothing="No mails came back.")


@app.command()
def show(
    mail_id: Annotated[
        int | None, typer.Argument(metavar="MAIL", help="Id of a mail; without it all are counted.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show one mail that came back; without one, how many meant what."""
    with application() as opened, opened.database.read() as connection:
        values: Row = count_mails(connection) if mail_id is None else _describe(_find(connection, mail_id))
    if as_json:
        print_json(values)
    elif values:
        print_values(values)
    else:
        print("No mails came back.")


def _find(connection: Connection, mail_id: int) -> InboundMail:
    mail = find_mail(connection, mail_id)
    if mail is None:
        raise CommandError(f"There is no mail {mail_id}.")
    return mail


def _describe(mail: InboundMail) -> Row:
    return {
        "id": mail.id,
        "source": mail.source,
        "state": mail.state,
        "outcome": mail.outcome,
        "note": mail.note,
        "attempts": mail.attempts,
        "created_at": mail.created_at,
        "finished_at": mail.finished_at,
        "bytes": mail.size,
    }
