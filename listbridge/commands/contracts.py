"""`listbridge wsdl`: the contracts of the SOAP services, from which callers generate their programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from listbridge.errors import CommandError

app = typer.Typer(help="The contracts of the SOAP services.", no_args_is_help=True)


@app.command("export")
def export(
    directory: Annotated[Path, typer.Option("--directory", "-d", help="Where the files go.")] = Path("wsdl"),
    origin: Annotated[
        str, typer.Option(help="Scheme and host of the addresses in them, such as https://mail.example.com.")
    ] = "http://localhost",
) -> None:
    """Write the contract of each service, as its declarations say, into `<service>.wsdl`."""
    # Building the services takes a while, which no other command should wait for.
    from services.contracts import SERVICES
    from services.soap.contract import address_contract, build_contract

    try:
        directory.mkdir(parents=True, exist_ok=True)
        for service in SERVICES:
            path = directory / f"{service.name}.wsdl"
            path.write_bytes(address_contract(build_contract(service), origin.rstrip("/")))
            print(path)
    except OSError as error:
        raise CommandError(f"{error.filename} cannot be written: {error.strerror}.") from error
