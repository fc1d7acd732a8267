"""`listbridge jobs`: what the worker does, did and is going to do."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.imports import ImportResult, list_imports
from listbridge.commands.options import application
from listbridge.export_runs import ExportRun, list_export_runs
from listbridge.output import JsonOption, Row, print_rows

app = typer.Typer(help="What the worker does, did and is going to do.", no_args_is_help=True)


@app.command("list")
def list_all(
    limit: Annotated[int, typer.Option(min=1, help="Most jobs to list.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List the newest imports and export runs together, newest first."""
    with application() as opened, opened.database.read() as connection:
        imports = [_from_import(result) for result in list_imports(connection, limit=limit)]
        exports = [_from_export(run) for run in list_export_runs(connection, limit=limit)]
    rows = sorted([*imports, *exports], key=lambda row: row["created_at"], reverse=True)[:limit]
    print_rows(rows, as_json=as_json, nothing="There are no jobs.")


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
