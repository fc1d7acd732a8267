"""`listbridge outbox`: the mails that are to go out."""

from __future__ import annotations

from typing import Annotated

import typer
from sqlalchemy import Connection

from audience.accounts import find_account
from audience.notices import Notice, waiting_notices
from delivery.outbox import QueuedMail, list_outbox
from delivery.outbox_states import retry_mails
from listbridge.commands.options import application, write
from listbridge.output import JsonOption, Row, print_rows

app = typer.Typer(help="Mails that are to go out.", no_args_is_help=True)


@app.command("list")
def list_all(
    account: Annotated[int | None, typer.Option("--account", help="Only those of this account.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most mails to list.")] = 100,
    failed: Annotated[bool, typer.Option("--failed", help="Those that nobody tries to send any more.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the mails and notices that are to go out, the oldest first, with the links in them."""
    states = ("failed",) if failed else ("waiting", "sending")
    with application() as opened, opened.database.read() as connection:
        account_id = find_account(connection, account).id if account is not None else None
        public_url = opened.settings.public_url
        mails = list_outbox(connection, public_url=public_url, account_id=account_id, limit=limit, states=states)
        notices = waiting_notices(connection, account_id=account_id, limit=limit, states=states)
    rows = [_describe(mail, as_json=as_json) for mail in mails]
    rows += [_describe_notice(notice, as_json=as_json) for notice in notices]
    oldest = sorted(rows, key=lambda row: row["created_at"])[:limit]
    print_rows(oldest, as_json=as_json, nothing="There are no mails to send.")


@app.command()
def retry(
    account: Annotated[int | None, typer.Option("--account", help="Only those of this account.")] = None,
) -> None:
    """Have the mails and notices that failed, and those that wait for their next try, sent now."""
    with application() as opened:

        def work(connection: Connection) -> int:
            return retry_mails(connection, find_account(connection, account).id if account is not None else None)

        count = write(opened, work)
    print(f"{count} mails are due now.")


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
        **_describe_state(mail),
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
        **_describe_state(notice),
        **({"text": notice.text} if as_json else {}),
    }


def _describe_state(mail: QueuedMail | Notice) -> Row:
    return {"state": mail.state, "attempts": mail.attempts, "due_at": mail.due_at, "code": mail.code}
