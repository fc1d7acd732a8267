"""The Node.js stacks: `soap` and `strong-soap`, both of which read the contract while they run."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from foreign_tools import CLIENTS, Client, Contracts, Tool, start_driver

NODE = CLIENTS / "node"
MODULES = NODE / "node_modules"


class _NodeTool(Tool):
    packages = "apt-get install nodejs npm; (cd tests/interop/clients/node && npm install --no-package-lock)"
    programs = ("node",)

    def connect(self, folder: Path, contracts: Contracts, version: str) -> AbstractContextManager[Client]:
        named = [f"{name}={address}" for name, address in contracts.items()]
        return start_driver(folder, "node", NODE / f"{self.name}.js", version, *named)


class NodeSoap(_NodeTool):
    name = "node-soap"
    files = (str(MODULES / "soap"),)


class StrongSoap(_NodeTool):
    name = "strong-soap"
    files = (str(MODULES / "strong-soap"),)
