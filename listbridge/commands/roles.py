"""Commands that serve: all roles at once, or one role alone."""

from __future__ import annotations

from typing import Annotated

import typer

from listbridge import app as application
from listbridge.lifeline import follow_parent
from listbridge.settings import Settings, load_settings

app = typer.Typer()

ParentOption = Annotated[int | None, typer.Option(hidden=True, help="Process to end with.")]


@app.command()
def serve(
    http: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where to serve SOAP and HTTP callers.")] = None,
    ftp: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where to serve FTP clients.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that serve HTTP.")] = None,
) -> None:
    """Run the whole server: web, ftp, worker and mail."""
    from listbridge.supervisor import serve as run

    settings = load_settings(http=http, ftp=ftp, workers=workers)
    run(settings, lambda: _announce(settings))


@app.command()
def web(parent: ParentOption = None) -> None:
    """Run the web role alone: SOAP and HTTP callers."""
    application.run_web(_load_role_settings(parent))


@app.command()
def ftp(parent: ParentOption = None) -> None:
    """Run the ftp role alone: partners' files in and out."""
    application.run_ftp(_load_role_settings(parent))


@app.command()
def worker(parent: ParentOption = None) -> None:
    """Run the worker role alone: imports, exports and schedules."""
    application.run_worker(_load_role_settings(parent))


@app.command()
def mail(parent: ParentOption = None) -> None:
    """Run the mail role alone: messages out, and what comes back."""
    application.run_mail(_load_role_settings(parent))


def _load_role_settings(parent: int | None) -> Settings:
    if parent is not None:
        follow_parent(parent)
    return load_settings()


def _announce(settings: Settings) -> None:
    """Say where the server can be reached; flushed, because a script may wait for it."""
    print("Listbridge is ready.")
    print(f"  HTTP  http://{settings.http.reachable}/")
    if settings.sftp is not None:
        print(f"  SFTP  sftp://{settings.sftp.reachable}/")
    print(f"  FTP   ftp://{settings.ftp.reachable}/", flush=True)
