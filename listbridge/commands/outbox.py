"""`listbridge outbox`: the mails that are to go out."""

from __future__ import annotations

from typing import Annotated

import typer

from audience.accounts import find_account
from audience.notices import Notice, waiting_notices
from delivery.outbox import QueuedMail, list_outbox
from listbridge.commands.options import application
from listbridge.output import JsonOption, Row, print_rows

app = typer.Typer(help="Mails that are to go out.", no_args_is_help=True)


@app.command("list")
def list_all(
    account: Annotated[int | None, typer.Option("--account", help="Only those of this account.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most mails to list.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List the mails and notices that are to go out now, the oldest first, with the links in them."""
    with application() as opened, opened.database.read() as connection:
        account_id = find_account(connection, account).id if account is not None else None
        public_url = opened.settings.public_url
        mails = list_outbox(connection, public_url=public_url, account_id=account_id, limit=limit)
        notices = waiting_notices(connection, account_id=account_id, limit=limit)
    rows = [_describe(mail, as_json=as_json) for mail in mails]
    rows += [_describe_notice(notice, as_json=as_json) for notice in notices]
    oldest = sorted(rows, key=lambda row: row["created_at"])[:limit]
    print_rows(oldest, as_json=as_json, nothing="There are no mails to send.")


def _describe(mail: QueuedMail, *, as_json: bool) -> Row:
    return {
        "id": mail.id,
        "account": mail.account_number,
        "list": mail.list_number,
        "kind": mail.kind,
        "address": mail.address,
        "about": mail.about,
        "created_at": mail.created_at,
        "sender": mail.sender.email or None,
        "sender_name": mail.sender.name or None,
        "message": mail.message_number,
        "confirms": mail.confirms if as_json else ",".join(map(str, mail.confirms)) or None,
        "link": mail.link,
        **({"text": None} if as_json else {}),
    }


def _describe_notice(notice: Notice, *, as_json: bool) -> Row:
    return {
        "id": notice.id,
        "account": notice.account_number,
        "list": None,
        "kind": notice.kind,
        "address": notice.address,
        "about": notice.subject,
        "created_at": notice.created_at,
        "sender": None,
        "sender_name": None,
        "message": None,
        "confirms": [] if as_json else None,
        "link": None,
        **({"text": notice.text} if as_json else {}),
    }
