"""gSOAP: `wsdl2h` and `soapcpp2` make C++ of a contract, for SOAP 1.2 unless `-1` is given."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from foreign_tools import CLIENTS, Answer, Client, Contracts, Request, Tool, reuse_build, run, start_driver

GSOAP = CLIENTS / "gsoap"


class _Programs:
    """One driver program for each service."""

    def __init__(self, programs: dict[str, Client]) -> None:
        self._programs = programs

    def call(self, request: Request) -> Answer:
        return self._programs[request.service].call(request)


class Gsoap(Tool):
    name = "gsoap"
    packages = "apt-get install gsoap libgsoap-dev libjansson-dev g++"
    programs = ("wsdl2h", "soapcpp2", "g++")
    files = ("/usr/include/stdsoap2.h", "/usr/include/jansson.h")

    def build(self, folder: Path, contracts: Contracts) -> None:
        # It takes a minute, far longer than with any other stack.
        with reuse_build(self.name, contracts, GSOAP) as (home, is_built):
            if not is_built:
                home.mkdir()
                self._compile(home, contracts)
            for service in contracts:
                (folder / service).mkdir()
                for version in self.versions:
                    shutil.copy(home / service / f"driver-{version}", folder / service)

    def _compile(self, folder: Path, contracts: Contracts) -> None:
        for service, address in contracts.items():
            home = folder / service
            home.mkdir()
            run(home, "wsdl2h", "-o", "service.h", address)
            self._generate(home, "1.1", "-1")
            # Types and signatures are the same for both versions, so what is built on them is compiled once.
            run(home, "g++", "-O0", f"-I{GSOAP}", "-I1.1", "-c", "1.1/soapC.cpp", GSOAP / f"{service}.cpp")
            self._generate(home, "1.2")
            for version in self.versions:
                proxy, names = next((home / version).glob("*Proxy.cpp")), next((home / version).glob("*.nsmap"))
                objects = ("soapC.o", f"{service}.o")
                program = ("-o", f"driver-{version}", proxy, *objects, "-lgsoap++", "-ljansson", "-x", "c++", names)
                run(home, "g++", "-O0", f"-I{version}", *program)

    def _generate(self, home: Path, version: str, *options: str) -> None:
        (home / version).mkdir()
        run(home, "soapcpp2", *options, "-C", "-L", "-x", "-j", "-d", version, "service.h")

    @contextmanager
    def connect(self, folder: Path, contracts: Contracts, version: str) -> Iterator[Client]:
        with ExitStack() as stack:
            programs = {
                service: stack.enter_context(
                    start_driver(folder / service, folder / service / f"driver-{version}", address.split("?")[0])
                )
                for service, address in contracts.items()
            }
            yield _Programs(programs)
