"""`listbridge schedule`: when exports and transfers run by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

import typer
from sqlalchemy import Connection

from audience.accounts import find_account, load_account
from jobs.exports import request_run as request_export
from jobs.schedule_rules import InvalidRule
from jobs.schedules import (
    Missed,
    Schedule,
    Subject,
    UnknownSubject,
    account_of,
    default_missed,
    find_schedule,
    list_schedules,
    pause_schedule,
    remove_schedule,
    request_run,
    resume_schedule,
    set_schedule,
)
from listbridge.commands.options import application, write
from listbridge.errors import CommandError
from listbridge.output import JsonOption, Row, print_json, print_rows, print_values

app = typer.Typer(help="When exports and transfers run by themselves.", no_args_is_help=True)

_NEXT_TIMES = 5

ExportOption = Annotated[int | None, typer.Option("--export", metavar="ID", help="The export that it is about.")]
TransferOption = Annotated[int | None, typer.Option("--transfer", metavar="ID", help="The transfer that it is about.")]


class _Target(NamedTuple):
    """What a schedule is about."""

    subject: Subject
    id: int


@app.command("list")
def list_all(
    account: Annotated[int | None, typer.Option("--account", help="Only those of this account.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the schedules with their next due time."""
    with application() as opened, opened.database.read() as connection:
        account_id = find_account(connection, account).id if account is not None else None
        rows = [_summarise(connection, found, as_json=as_json) for found in list_schedules(connection, account_id)]
    print_rows(rows, as_json=as_json, nothing="There are no schedules.")


@app.command()
def show(export: ExportOption = None, transfer: TransferOption = None, as_json: JsonOption = False) -> None:
    """Show a schedule with its next five due times."""
    target = _target(export, transfer)
    with application() as opened, _refusals_told(), opened.database.read() as connection:
        found = _find(connection, target)
        values = _summarise(connection, found, as_json=as_json)
    times = found.next_times(datetime.now(UTC), _NEXT_TIMES)
    if as_json:
        print_json({**values, "since": found.since, "next_times": times})
        return
    print_values({**values, "since": found.since})
    for instant in times:
        print(f"{instant.astimezone(found.zone):%a %Y-%m-%d %H:%M:%S %z}")


@app.command("set")
def set_rule(
    export: ExportOption = None,
    transfer: TransferOption = None,
    daily: Annotated[str | None, typer.Option(metavar="HH:MM", help="Every day at this time.")] = None,
    weekly: Annotated[str | None, typer.Option(metavar="DAYS@HH:MM", help="On these days, as mon,thu@02:30.")] = None,
    cron: Annotated[str | None, typer.Option(metavar="FIELDS", help="When these five fields of cron say so.")] = None,
    every: Annotated[float | None, typer.Option(metavar="MINUTES", help="Every so many minutes.")] = None,
    slot: Annotated[
        str | None, typer.Option(metavar="HH:MM-HH:MM", help="With --every: only between these times.")
    ] = None,
    days: Annotated[str | None, typer.Option(help="With --every: only on these days, as mon,thu.")] = None,
    time_zone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Whose clock counts; by default the account's.")
    ] = None,
    missed: Annotated[
        Missed | None,
        typer.Option(help="Which due times are made up for that no server was there for: all, the last, or none."),
    ] = None,
) -> None:
    """Have an export or transfer run by a rule from now on, in place of the rule that it had."""
    target = _target(export, transfer)
    rule = _build_rule(daily, weekly, cron, every, slot, days)

    def work(connection: Connection) -> Schedule:
        account_id = account_of(connection, *target)
        zone = time_zone or load_account(connection, account_id).time_zone
        rule_for_missed = missed or default_missed(connection, *target)
        set_schedule(connection, account_id, *target, rule, time_zone=zone, missed=rule_for_missed)
        return _find(connection, target)

    with application() as opened, _refusals_told():
        found = write(opened, work)
    first = found.next_times(datetime.now(UTC), 1)[0].astimezone(found.zone)
    print(f"The {target.subject} {target.id} runs {found.rule.describe()}, first at {first:%Y-%m-%d %H:%M %z}.")


@app.command()
def remove(export: ExportOption = None, transfer: TransferOption = None) -> None:
    """Have an export or transfer run on request only."""
    target = _target(export, transfer)
    with application() as opened, _refusals_told():
        if not write(opened, lambda connection: remove_schedule(connection, *target)):
            raise _no_schedule(target)


@app.command()
def pause(export: ExportOption = None, transfer: TransferOption = None) -> None:
    """Let nothing fall due until `resume`."""
    target = _target(export, transfer)
    with application() as opened, _refusals_told():
        write(opened, lambda connection: _find(connection, target) and pause_schedule(connection, *target))


@app.command()
def resume(export: ExportOption = None, transfer: TransferOption = None) -> None:
    """Let a paused schedule go on from now; what would have been due meanwhile is not made up for."""
    target = _target(export, transfer)
    with application() as opened, _refusals_told():
        write(opened, lambda connection: _find(connection, target) and resume_schedule(connection, *target))


@app.command()
def run(export: ExportOption = None, transfer: TransferOption = None) -> None:
    """Queue a run now, for the worker, whether there is a schedule or not; prints the id of the job."""
    target = _target(export, transfer)

    def work(connection: Connection) -> int:
        account_of(connection, *target)
        if target.subject == "export":
            return request_export(connection, target.id)
        return request_run(connection, *target)

    with application() as opened, _refusals_told():
        print(write(opened, work))


@contextmanager
def _refusals_told() -> Iterator[None]:
    try:
        yield
    except (InvalidRule, UnknownSubject) as error:
        raise CommandError(str(error)) from error


def _target(export: int | None, transfer: int | None) -> _Target:
    if export is not None and transfer is None:
        return _Target("export", export)
    if transfer is not None and export is None:
        return _Target("transfer", transfer)
    raise typer.BadParameter("give one of --export and --transfer")


def _find(connection: Connection, target: _Target) -> Schedule:
    account_of(connection, *target)
    found = find_schedule(connection, *target)
    if found is None:
        raise _no_schedule(target)
    return found


def _no_schedule(target: _Target) -> CommandError:
    return CommandError(f"The {target.subject} {target.id} has no schedule.")


def _build_rule(
    daily: str | None, weekly: str | None, cron: str | None, every: float | None, slot: str | None, days: str | None
) -> dict[str, Any]:
    if sum(option is not None for option in (daily, weekly, cron, every)) != 1:
        raise typer.BadParameter("give one of --daily, --weekly, --cron and --every")
    if every is None and (slot, days) != (None, None):
        raise typer.BadParameter("--slot and --days go with --every")
    if daily is not None:
        return {"kind": "daily", "at": daily}
    if weekly is not None:
        named, _, at = weekly.partition("@")
        return {"kind": "weekly", "days": _split_days(named), "at": at}
    if cron is not None:
        return {"kind": "cron", "expression": cron}
    rule: dict[str, Any] = {"kind": "interval", "minutes": every}
    if slot is not None:
        start, _, end = slot.partition("-")
        rule |= {"from": start, "to": end}
    return rule if days is None else rule | {"days": _split_days(days)}


def _split_days(text: str) -> list[str]:
    return [name.strip().lower() for name in text.split(",")]


def _summarise(connection: Connection, found: Schedule, *, as_json: bool) -> Row:
    upcoming = found.next_times(datetime.now(UTC), 1)
    return {
        "account": load_account(connection, found.account_id).number,
        "subject": found.subject,
        "id": found.subject_id,
        "rule": found.rule.to_dict() if as_json else found.rule.describe(),
        "time_zone": found.zone.key,
        "missed": found.missed,
        "paused_at": found.paused_at,
        "last_due_at": found.last_due_at,
        "next_at": upcoming[0] if upcoming else None,
    }
