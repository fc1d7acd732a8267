"""`listbridge relay`: whether mails can leave."""

from __future__ import annotations

from typing import Annotated

import typer

from audience.addresses import normalise_email
from delivery.headers import encode_address
from delivery.letters import Letter, write_letter
from delivery.parcels import Outcome, Parcel
from delivery.routes import MailRoute, make_route
from delivery.smtp import RouteDown
from listbridge.app import mail_options
from listbridge.commands.options import application
from listbridge.errors import CommandError

app = typer.Typer(help="The server that mails are handed to.", no_args_is_help=True)

_TEXT = """\
This mail was sent by `listbridge relay test`.

If you can read it, mails leave this server.
"""


@app.command()
def test(
    to: Annotated[str | None, typer.Option(help="Address to send a mail to; without it none is sent.")] = None,
    sender: Annotated[str | None, typer.Option("--from", help="Its sender; by default the receiver's address.")] = None,
) -> None:
    """Connect to the relay as the settings say, tell what it offers, and send a mail if somebody is named."""
    with application() as opened:
        options = mail_options(opened.settings)
    route = make_route(options.smtp)
    if route is None:
        raise CommandError("No relay is set, so mails wait; set smtp_relay to HOST:PORT or mx.")
    try:
        for line in route.check():
            print(line)
        if to is not None:
            print(_send(route, normalise_email(to), normalise_email(sender or to), options.host))
    except RouteDown as error:
        raise CommandError(f"Mails cannot leave: {error}") from None
    finally:
        route.close()


def _send(route: MailRoute, to: str, sender: str, host: str) -> str:
    letter = Letter(sender=sender, recipient=to, subject="Listbridge can send", text=_TEXT)
    outcome = route.send(Parcel(encode_address(sender), encode_address(to), write_letter(letter, host)))
    if outcome.kind != "sent":
        raise CommandError(f"The mail was not taken ({outcome.kind}): {_describe(outcome)}")
    return f"sent: {_describe(outcome)}"


def _describe(outcome: Outcome) -> str:
    return f"{outcome.code or ''} {outcome.text}".strip()
