"""`listbridge jobs`: what the worker does, did and is going to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from db.leases import CANCELLED
from jobs.import_results import ImportResult, list_imports
from jobs.job_listing import (
    UNFINISHED,
    Job,
    JobKind,
    JobRefused,
    UnknownJob,
    cancel_job,
    find_job,
    job_history,
    newest_jobs,
    retry_job,
    unfinished_jobs,
)
from listbridge.app import Application
from listbridge.commands.options import application
from listbridge.errors import CommandError
from listbridge.export_runs import ExportRun, list_export_runs
from listbridge.output import JsonOption, Row, print_json, print_rows, print_values

app = typer.Typer(help="What the worker does, did and is going to do.")

_POLL_SECONDS = 0.2
_NOTHING = "Nothing runs or waits."

KindArgument = Annotated[JobKind, typer.Argument(metavar="KIND", help="import, sending-file, export or transfer.")]
IdArgument = Annotated[int, typer.Argument(metavar="ID", help="Of the job, as `jobs list` shows it.")]


@app.callback(invoke_without_command=True)
def show_running(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        _print_running(as_json=False)


@app.command()
def running(as_json: JsonOption = False) -> None:
    """List what runs and waits now, with progress and rate; so does `listbridge jobs` alone."""
    _print_running(as_json=as_json)


@app.command("list")
def list_all(
    limit: Annotated[int, typer.Option(min=1, help="Most jobs to list.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List the newest imports, files that send and export runs together, newest first."""
    with application() as opened, opened.database.read() as connection:
        imports = [_from_import(result) for result in list_imports(connection, limit=limit)]
        exports = [_from_export(run) for run in list_export_runs(connection, limit=limit)]
        files = [_from_sending_file(job) for job in newest_jobs(connection, "sending-file", limit)]
    rows = sorted([*imports, *files, *exports], key=lambda row: row["created_at"], reverse=True)[:limit]
    print_rows(rows, as_json=as_json, nothing="There are no jobs.")


@app.command()
def show(kind: KindArgument, number: IdArgument, as_json: JsonOption = False) -> None:
    """Show all that is known of one job."""
    with application() as opened, _refusals_told(), opened.database.read() as connection:
        job = find_job(connection, kind, number)
    values = _describe_whole(job, datetime.now(UTC))
    if as_json:
        print_json(values)
    else:
        print_values(values)


@app.command()
def history(
    export: Annotated[int | None, typer.Option(help="Only the runs of this export.")] = None,
    transfer: Annotated[int | None, typer.Option(help="Only the runs of this transfer.")] = None,
    folder: Annotated[str | None, typer.Option(help="Only the files from folders of this name.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most jobs to list.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List the jobs that have ended, newest first, with their duration, rows and file."""
    with application() as opened, opened.database.read() as connection:
        jobs = job_history(connection, export_id=export, transfer_id=transfer, folder=folder, limit=limit)
    print_rows([_describe_ended(job) for job in jobs], as_json=as_json, nothing="There are no jobs that have ended.")


@app.command()
def cancel(
    kind: KindArgument,
    number: IdArgument,
    wait: Annotated[int, typer.Option(min=0, help="Seconds to wait for the end of one that runs.")] = 20,
) -> None:
    """End a job: one that waits at once, one that runs at its next chunk. What it has written stays."""
    with application() as opened, _refusals_told():
        cancel_job(opened.database, kind, number)
        job = _wait_for_end(opened, kind, number, wait)
    done = f"{job.rows or 0} {'files' if kind == 'transfer' else 'rows'}"
    if job.state == CANCELLED:
        print(f"The {kind} job {number} was cancelled after {done}.")
    elif job.state in UNFINISHED:
        print(f"The {kind} job {number} was asked to end, which it does at its next chunk; {done} are done.")
    else:
        print(f"The {kind} job {number} came to its own end before: {job.state}, {done}.")


@app.command()
def retry(kind: KindArgument, number: IdArgument) -> None:
    """Queue a job once more that failed or was cancelled; an import goes on from where it stood."""
    with application() as opened, _refusals_told():
        retry_job(opened.database, opened.storage, kind, number)
    print(f"The {kind} job {number} is queued.")


@contextmanager
def _refusals_told() -> Iterator[None]:
    try:
        yield
    except (UnknownJob, JobRefused) as error:
        raise CommandError(str(error)) from error


def _print_running(*, as_json: bool) -> None:
    with application() as opened, opened.database.read() as connection:
        jobs = unfinished_jobs(connection)
    now = datetime.now(UTC)
    print_rows([_describe_running(job, now) for job in jobs], as_json=as_json, nothing=_NOTHING)


def _wait_for_end(opened: Application, kind: JobKind, number: int, seconds: int) -> Job:
    deadline = time.monotonic() + seconds
    while True:
        with opened.database.read() as connection:
            job = find_job(connection, kind, number)
        if job.state not in UNFINISHED or time.monotonic() >= deadline:
            return job
        time.sleep(_POLL_SECONDS)


def _describe_running(job: Job, now: datetime) -> Row:
    return {
        "kind": job.kind,
        "id": job.id,
        "account": job.account_number,
        "what": job.what,
        "state": _describe_state(job),
        "rows": job.rows,
        "percent": job.percent,
        "rows_per_second": job.rate(now) if job.state != "queued" else None,
        "since": job.started_at or job.created_at,
        "not_before": job.not_before,
        "host": job.host,
        "attempts": job.attempts,
    }


def _describe_state(job: Job) -> str:
    return "cancelling" if job.state == "running" and job.cancel_requested_at is not None else job.state


def _describe_whole(job: Job, now: datetime) -> Row:
    return {
        **_describe_running(job, now),
        "subject": job.subject_id,
        "file": job.file_name,
        "size": job.size,
        "bytes_done": job.bytes_done,
        "seconds": job.seconds(now),
        "rows_per_second": job.rate(now),
        "error": job.error_text,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "cancel_requested_at": job.cancel_requested_at,
    }


def _describe_ended(job: Job) -> Row:
    ended = job.finished_at or job.created_at
    seconds = job.seconds(ended)
    return {
        "kind": job.kind,
        "id": job.id,
        "account": job.account_number,
        "what": job.what,
        "state": job.state,
        "due_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "seconds": None if seconds is None else round(seconds, 1),
        "rows": job.rows,
        "rows_per_second": job.rate(ended),
        "file": job.file_name,
        "error": job.error_text,
    }


def _from_import(result: ImportResult) -> Row:
    return {
        "kind": "import",
        "id": result.id,
        "account": result.account_number,
        "file": result.file_name,
        "state": result.state,
        "rows": result.counters["total"],
        "created_at": result.created_at,
        "finished_at": result.finished_at,
    }


def _from_sending_file(job: Job) -> Row:
    return {
        "kind": job.kind,
        "id": job.id,
        "account": job.account_number,
        "file": job.file_name,
        "state": job.state,
        "rows": job.rows,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
    }


def _from_export(run: ExportRun) -> Row:
    return {
        "kind": "export",
        "id": run.id,
        "account": run.account_number,
        "file": run.file_name,
        "state": run.state,
        "rows": run.rows,
        "created_at": run.due_at,
        "finished_at": run.finished_at,
    }
