"""Stock Spyne with the benchmark's contract, under granian: python -m benchmarks.soap_peers.spyne_server PORT."""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.soap_peers.messages import NAMESPACE, PASSWORD, USER, prepare_rows
from services.http.server import run_web_server
from services.soap.spyne_types import ComplexModel, Integer32, ServiceBase, Unicode, rpc

# isort: split
# Only after the module above, which mends Spyne, do these work with every Python.
from spyne.application import Application
from spyne.error import Fault
from spyne.model.complex import Array
from spyne.protocol.soap import Soap11
from spyne.server.wsgi import WsgiApplication

_TABLE = prepare_rows()


class Authentication(ComplexModel):  # type: ignore[misc]
    """The header of every call."""

    __namespace__ = NAMESPACE
    _type_info = [("User", Unicode), ("Password", Unicode)]  # noqa: RUF012


class Row(ComplexModel):  # type: ignore[misc]
    """A row of the list."""

    __namespace__ = NAMESPACE
    _type_info = [  # noqa: RUF012
        ("Id", Integer32),
        ("Name", Unicode),
        ("Email", Unicode),
        ("Status", Unicode),
        ("Created", Unicode),
    ]


class Bench(ServiceBase):  # type: ignore[misc]
    """The service, as Spyne's manual writes them."""

    __in_header__ = Authentication

    @rpc(Integer32, _returns=Unicode)  # type: ignore[untyped-decorator]
    def Name(ctx: Any, number: int) -> str:  # noqa: N802, N805
        """Answer an int with a string."""
        _check_password(ctx.in_header)
        return f"number {number}"

    @rpc(Integer32, _returns=Array(Row))  # type: ignore[untyped-decorator]
    def ListRows(ctx: Any, count: int) -> list[Row]:  # noqa: N802, N805
        """Answer a list of rows."""
        _check_password(ctx.in_header)
        return [
            Row(Id=number, Name=name, Email=email, Status=status, Created=created)
            for number, name, email, status, created in _TABLE[:count]
        ]


def _check_password(header: Authentication | None) -> None:
    if header is None or (header.User, header.Password) != (USER, PASSWORD):
        raise Fault("Client", "The password is wrong.")


def create_application() -> WsgiApplication:
    """Return the application of a worker."""
    return WsgiApplication(Application([Bench], NAMESPACE, "Bench", in_protocol=Soap11(), out_protocol=Soap11()))


if __name__ == "__main__":
    run_web_server("127.0.0.1", int(sys.argv[1]), 1, "benchmarks.soap_peers.spyne_server:create_application")
