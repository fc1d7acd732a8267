"""Perl's SOAP::Lite, which reads the contract while it runs."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

from foreign_tools import CLIENTS, Client, Contracts, Tool, start_driver


class SoapLite(Tool):
    name = "soap-lite"
    versions = ("1.1",)
    packages = "apt-get install libsoap-lite-perl"

    def find_parts(self) -> bool:
        return shutil.which("perl") is not None and not subprocess.call(
            ["perl", "-MSOAP::Lite", "-e", "1"], stderr=subprocess.DEVNULL
        )

    def connect(self, folder: Path, contracts: Contracts, version: str) -> AbstractContextManager[Client]:
        named = [f"{name}={address}" for name, address in contracts.items()]
        return start_driver(folder, "perl", CLIENTS / "perl" / "driver.pl", *named)
