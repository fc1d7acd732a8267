"""`listbridge template`: layouts for new messages, of a list or of the account."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from audience.accounts import find_account
from audience.lists import MailingList, find_list
from audience.templates import Template, add_template, templates_of
from listbridge.commands.options import AccountOption, application, write
from listbridge.errors import CommandError
from listbridge.output import JsonOption, print_rows

app = typer.Typer(help="Templates: layouts for new messages.", no_args_is_help=True)

ListOption = Annotated[
    int | None,
    typer.Option("--list", help="Number of the list; without it the account's defaults.", show_default=False),
]


@app.command()
def add(
    account: AccountOption,
    subject: Annotated[str, typer.Option(help="Subject of the messages that begin with it.")],
    html: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="File with its HTML, in UTF-8.")],
    number: ListOption = None,
    notes: Annotated[str, typer.Option(help="For people.", show_default=False)] = "",
) -> None:
    """Add a template and print its number."""
    content = _read(html)

    def work(connection: Connection) -> Template:
        owner = find_account(connection, account)
        mailing = _find(connection, owner.id, number)
        return add_template(connection, owner.id, mailing, subject=subject, html=content, notes=notes)

    with application() as opened:
        template = write(opened, work)
    print(template.number)


@app.command("list")
def list_all(account: AccountOption, number: ListOption = None, as_json: JsonOption = False) -> None:
    """List the templates of a list, or the account's defaults."""
    with application() as opened, opened.database.read() as connection:
        owner = find_account(connection, account)
        templates = templates_of(connection, owner.id, _find(connection, owner.id, number))
    print_rows([_describe(template) for template in templates], as_json=as_json, nothing="There are no templates.")


def _find(connection: Connection, account_id: int, number: int | None) -> MailingList | None:
    return find_list(connection, account_id, number) if number is not None else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise CommandError(f"{path} cannot be read as text in UTF-8.") from None


def _describe(template: Template) -> dict[str, Any]:
    return {
        "number": template.number,
        "subject": template.subject,
        "notes": template.notes,
        "created_at": template.created_at,
    }
