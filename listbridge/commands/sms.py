"""`listbridge sms`: sending one text message, and trying the gateway."""

from __future__ import annotations

from typing import Annotated

import typer
from sqlalchemy import Connection

from audience.accounts import find_account
from audience.lists import find_list
from delivery.handovers import GatewayUnavailable
from delivery.sms_gateway import make_gateway
from delivery.sms_requests import RequestedText, request_direct_text
from listbridge.commands.options import application, write
from listbridge.errors import CommandError
from listbridge.settings import load_settings

app = typer.Typer(help="Text messages.", no_args_is_help=True)
gateway = typer.Typer(help="The gateway that text messages go out through.", no_args_is_help=True)
app.add_typer(gateway, name="gateway")


@app.command()
def send(
    account: Annotated[int, typer.Argument(metavar="ACCOUNT", help="Number of the account.")],
    list_number: Annotated[int, typer.Argument(metavar="LIST", help="Number of the list.")],
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="Mobile number of the recipient.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What it says.")],
    sender: Annotated[
        str, typer.Option("--from", help="A name or number; otherwise the list's own.", show_default=False)
    ] = "",
    unicode: Annotated[bool, typer.Option("--unicode", help="Allow characters outside of the GSM alphabet.")] = False,
    message: Annotated[
        int | None,
        typer.Option("--message", help="Number of the message that it is counted under.", show_default=False),
    ] = None,
) -> None:
    """Put a text to one number into the queue, paying for it, and print the number of the sending."""

    def work(connection: Connection) -> RequestedText:
        mailing = find_list(connection, find_account(connection, account).id, list_number)
        return request_direct_text(
            connection, mailing, text, number, sender=sender, unicode=unicode, message_number=message
        )

    with application() as opened:
        print(write(opened, work).sending.number)


@gateway.command("test")
def test() -> None:
    """Connect to the gateway of the setting `sms_gateway` and log in; no message is sent."""
    try:
        found = make_gateway(load_settings().sms_gateway)
        if found is None:
            raise CommandError("The setting sms_gateway is empty: text messages wait.")
        lines = found.check()
        found.close()
    except (ValueError, GatewayUnavailable) as error:
        raise CommandError(str(error)) from None
    for line in lines:
        print(line)
