"""The .NET stacks of Mono: proxies by `wsdl` (ASMX clients) and by `svcutil` (WCF clients)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType

from foreign_tools import CLIENTS, Client, Contracts, Tool, run, start_driver

MONO = CLIENTS / "mono"


class _MonoTool(Tool):
    packages = "apt-get install mono-devel"
    libraries: tuple[str, ...]
    stack: str

    def build(self, folder: Path, contracts: Contracts) -> None:
        references = [f"-r:{library}.dll" for library in self.libraries]
        for service, address in contracts.items():
            self.generate(folder, service, address)
            run(folder, "mcs", "-target:library", "-nowarn:0618", f"-out:{service}.dll", *references, f"{service}.cs")
        run(folder, "mcs", "-out:driver.exe", *references, MONO / "Driver.cs", MONO / self.stack)

    def generate(self, folder: Path, service: str, address: str) -> None:
        raise NotImplementedError

    def connect(self, folder: Path, contracts: Contracts, version: str) -> AbstractContextManager[Client]:
        named = [f"{name}={address}" for name, address in contracts.items()]
        return start_driver(folder, "mono", folder / "driver.exe", version, *named)


class MonoWsdl(_MonoTool):
    name = "mono-wsdl"
    programs = ("mono", "mcs", "wsdl")
    libraries = ("System.Web.Extensions", "System.Web.Services")
    stack = "WsdlStack.cs"

    def generate(self, folder: Path, service: str, address: str) -> None:
        run(folder, "wsdl", f"-out:{service}.cs", address)


class Svcutil(_MonoTool):
    name = "svcutil"
    programs = ("mono", "mcs", "svcutil")
    libraries = ("System.Web.Extensions", "System.ServiceModel", "System.Runtime.Serialization")
    stack = "ServiceModelStack.cs"
    unable = MappingProxyType({"Shapes": "mixes up the operations of a contract that has types it cannot express"})

    def generate(self, folder: Path, service: str, address: str) -> None:
        run(folder, "svcutil", f"-out:{service}.cs", address)
