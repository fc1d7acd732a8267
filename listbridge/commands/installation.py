"""Commands that set the server up and look after it."""

from __future__ import annotations

from importlib.metadata import version as installed_version

import typer

from listbridge.app import open_application, prepare
from listbridge.logging import configure_command_logging
from listbridge.output import print_values
from listbridge.settings import load_settings

app = typer.Typer()


@app.command()
def init() -> None:
    """Set the server up; a server without accounts gets a demo account, whose passwords are printed once."""
    from listbridge.first_account import add_first_account, describe_addresses

    settings = load_settings()
    prepare(settings)
    with open_application(settings) as application:
        credentials = add_first_account(application)
    if credentials is None:
        print("The server is set up already; nothing was changed.")
    else:
        print("The server is set up. Keep these credentials: they are not shown again.")
        print_values(credentials)
    print_values(describe_addresses(settings))


@app.command()
def migrate() -> None:
    """Create the tables, or bring them to this version."""
    prepare(load_settings())
    print("The database has the tables of this version.")


@app.command()
def doctor() -> None:
    """Check the server, one line per check; exit code 1 when something is wrong."""
    from listbridge.doctor import examine

    healthy = True
    settings = load_settings()
    configure_command_logging(settings)
    for finding in examine(settings):
        healthy &= finding.verdict != "wrong"
        print(f"{finding.verdict:<5}  {finding.check}: {finding.text}", flush=True)
    raise typer.Exit(0 if healthy else 1)


@app.command()
def demo() -> None:
    """Show the main job end to end on a temporary server: a file in, an unsubscribe, a file out."""
    from listbridge.demo import run_demo

    run_demo()


@app.command()
def version() -> None:
    """Print the version."""
    print(f"listbridge {installed_version('listbridge')}")
