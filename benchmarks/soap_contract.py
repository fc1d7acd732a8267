"""Our server with the benchmark's contract: python -m benchmarks.soap_contract PORT DIRECTORY WORKERS."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.soap_peers.messages import NAMESPACE, PASSWORD, PATH, USER, RowValues, prepare_rows
from listbridge.app import connect
from listbridge.logging import configure_logging
from listbridge.settings import Address, Settings, load_settings
from services.http import application
from services.http.options import HttpOptions
from services.http.server import run_web_server
from services.soap.declarations import INT, STRING, Call, Service, array_of, header_type, operation
from services.soap.faults import SoapFault
from services.soap.spyne_types import ComplexModel

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_TABLE = prepare_rows()


class Row(ComplexModel):  # type: ignore[misc]
    """A row of the list."""

    __namespace__ = NAMESPACE
    _type_info = [  # noqa: RUF012
        ("Id", INT),
        ("Name", STRING),
        ("Email", STRING),
        ("Status", STRING),
        ("Created", STRING),
    ]


@operation("Name", STRING, number=INT)
def name_number(call: Call, number: int) -> str:
    """Answer an int with a string."""
    _check_password(call)
    return f"number {number}"


@operation("ListRows", array_of(Row, "ArrayOfRow"), count=INT)
def list_rows(call: Call, count: int) -> list[RowValues]:
    """Answer a list of rows, each built anew."""
    _check_password(call)
    return [(number, name, email, status, created) for number, name, email, status, created in _TABLE[:count]]


def _check_password(call: Call) -> None:
    header = call.header or {}
    if (header.get("User"), header.get("Password")) != (USER, PASSWORD):
        raise SoapFault("Client", "The password is wrong.")


BENCH = Service(
    name="Bench",
    namespace=NAMESPACE,
    paths=(PATH,),
    operations=(name_number, list_rows),
    documentation="The contract of the benchmark.",
    header=header_type("Authentication", NAMESPACE, "User", "Password"),
)


def create_application() -> WSGIApplication:
    """Return the application of a worker: the whole server's, with this service in the place of its own."""
    settings = load_settings()
    configure_logging(settings, "web")
    opened = connect(settings)
    return application.create_application(opened.database, opened.storage, HttpOptions(), (BENCH,))


def main() -> None:
    """Serve until a signal says stop."""
    port, directory, workers = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    settings = Settings(data_dir=directory, http=Address("127.0.0.1", port), workers=workers)
    os.environ.update(settings.to_environment())
    run_web_server("127.0.0.1", port, workers, "benchmarks.soap_contract:create_application")


if __name__ == "__main__":
    main()
