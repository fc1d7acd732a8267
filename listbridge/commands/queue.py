"""`listbridge queue`: sendings on their way, in which order and how fast."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Literal

import typer
from sqlalchemy import Connection

from audience.accounts import Account, accounts_of_server, find_account
from audience.status_rules import Channel
from delivery.domain_limits import list_limits, remove_limit, set_limit
from delivery.queue_ages import waiting_since
from delivery.sending_changes import cancel, move_down, move_up, pause, resume, start_now
from delivery.sending_stops import is_stopped, start_channel, stop_channel
from delivery.sendings import OPEN_STATES, Sending, find_sending, list_sendings
from listbridge.commands.options import application, write
from listbridge.errors import CommandError
from listbridge.output import JsonOption, Row, print_json, print_rows, print_values

app = typer.Typer(help="Sendings on their way, in which order and how fast.", no_args_is_help=True)

AccountArgument = Annotated[int, typer.Argument(metavar="ACCOUNT", help="Number of the account.")]
NumberArgument = Annotated[
    int, typer.Argument(metavar="NUMBER", help="Of the sending in its account, as `queue list` shows it.")
]
ChannelOption = Annotated[Literal["email", "sms"], typer.Option(help="How messages go out.")]
DomainArgument = Annotated[str, typer.Argument(metavar="DOMAIN", help="Of addresses, such as example.com.")]


@app.command("list")
def list_all(
    account: Annotated[int | None, typer.Option("--account", help="Only those of this account.")] = None,
    all_states: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Most sendings of an account to list, the newest first.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List sendings that are not over, with how far they have come."""
    with application() as opened, opened.database.read() as connection:
        accounts = [find_account(connection, account)] if account is not None else accounts_of_server(connection)
        states = None if all_states else OPEN_STATES
        rows = [
            row
            for owner in accounts
            for row in _list_account(connection, owner, list_sendings(connection, owner.id, states=states, limit=limit))
        ]
    print_rows(rows, as_json=as_json, nothing="There are no sendings.")


@app.command()
def show(account: AccountArgument, number: NumberArgument, as_json: JsonOption = False) -> None:
    """Show a sending."""
    with application() as opened, opened.database.read() as connection:
        owner = find_account(connection, account)
        found = find_sending(connection, owner.id, number)
        values = _list_account(connection, owner, [found])[0]
        values |= {"stopped": is_stopped(connection, owner.id, found.channel), "position": found.position}
    values |= {name: getattr(found, name) for name in ("mode", "sent", "failed", "skipped", "unknown", "notes")}
    values |= {name: getattr(found, name) for name in ("created_at", "started_at", "finished_at", "error_text")}
    if as_json:
        print_json(values | {"target": found.target.to_dict()})
    else:
        print_values(values | {"target": found.target.to})


@app.command("pause")
def pause_sending(account: AccountArgument, number: NumberArgument) -> None:
    """Hold a sending; mails that are on their way still go out."""
    _change(account, number, pause)


@app.command("resume")
def resume_sending(account: AccountArgument, number: NumberArgument) -> None:
    """Let a paused sending go on."""
    _change(account, number, resume)


@app.command("cancel")
def cancel_sending(account: AccountArgument, number: NumberArgument) -> None:
    """End a sending for good; who has not got it will not get it."""
    _change(account, number, cancel)


@app.command()
def up(account: AccountArgument, number: NumberArgument) -> None:
    """Let a sending change places with the one before it."""
    _change(account, number, move_up)


@app.command()
def down(account: AccountArgument, number: NumberArgument) -> None:
    """Let a sending change places with the one behind it."""
    _change(account, number, move_down)


@app.command()
def now(account: AccountArgument, number: NumberArgument) -> None:
    """Let a sending begin as soon as it is its turn, whatever its time."""
    _change(account, number, start_now)


@app.command()
def stop(account: AccountArgument, channel: ChannelOption = "email") -> None:
    """Let an account send nothing more by a channel, until it is started again."""
    with application() as opened:
        write(opened, lambda at: stop_channel(at, find_account(at, account).id, Channel[channel.upper()]))
    print(f"Account {account} sends nothing by {channel}.")


@app.command()
def start(account: AccountArgument, channel: ChannelOption = "email") -> None:
    """Let an account send by a channel again."""
    with application() as opened:
        write(opened, lambda at: start_channel(at, find_account(at, account).id, Channel[channel.upper()]))
    print(f"Account {account} sends by {channel}.")


@app.command("limit")
def limit_domain(
    domain: DomainArgument,
    connections: Annotated[int | None, typer.Option(min=1, help="At once; without it as for all domains.")] = None,
    per_minute: Annotated[int | None, typer.Option(min=1, help="Mails; without it as for all domains.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Treat the domain as all others again.")] = False,
) -> None:
    """Say how gently the servers of a domain are treated; earlier limits of the domain are replaced."""
    if remove == (connections is not None or per_minute is not None):
        raise CommandError("Give --connections, --per-minute or both; or --remove alone.")
    with application() as opened:
        if not remove:
            write(opened, lambda at: set_limit(at, domain, connections=connections, per_minute=per_minute))
        elif not write(opened, lambda at: remove_limit(at, domain)):
            raise CommandError(f"{domain} has no limits of its own.")
    print(f"{domain} is treated {'as all others' if remove else 'by its own limits'}.")


@app.command()
def limits(as_json: JsonOption = False) -> None:
    """List the domains that have limits of their own."""
    with application() as opened, opened.database.read() as connection:
        found = list_limits(connection)
    rows = [{"domain": row.domain, "connections": row.connections, "per_minute": row.per_minute} for row in found]
    print_rows(rows, as_json=as_json, nothing="No domain has limits of its own.")


def _change(account: int, number: int, work: Callable[[Connection, Sending], None]) -> None:
    def change(connection: Connection) -> Sending:
        owner = find_account(connection, account)
        work(connection, find_sending(connection, owner.id, number))
        return find_sending(connection, owner.id, number)

    with application() as opened:
        changed = write(opened, change)
    print(f"Sending {number} is {changed.state}, in place {changed.position}.")


def _list_account(connection: Connection, owner: Account, found: list[Sending]) -> list[Row]:
    since = waiting_since(connection, [each.id for each in found])
    return [_describe(owner, each, since.get(each.id)) for each in found]


def _describe(owner: Account, found: Sending, since: datetime | None) -> Row:
    progress = found.progress()
    return {
        "account": owner.number,
        "number": found.number,
        "list": found.list_number,
        "channel": found.channel.name.lower(),
        "kind": found.kind,
        "message": found.message_number,
        "state": found.state,
        "start_at": found.start_at,
        "total": progress.total,
        "left": progress.left,
        "percent": progress.percent,
        "per_minute": found.rate_per_minute(datetime.now(UTC)),
        "waiting_since": since,
    }
