"""PHP's SoapClient, which reads the contract while it runs."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

from foreign_tools import CLIENTS, Client, Contracts, Tool, start_driver


class Php(Tool):
    name = "php"
    packages = "apt-get install php-cli php-soap"

    def find_parts(self) -> bool:
        if shutil.which("php") is None:
            return False
        modules = subprocess.run(["php", "-m"], capture_output=True, text=True, check=True).stdout.split()
        return "soap" in modules

    def connect(self, folder: Path, contracts: Contracts, version: str) -> AbstractContextManager[Client]:
        named = [f"{name}={address}" for name, address in contracts.items()]
        return start_driver(folder, "php", CLIENTS / "php" / "driver.php", version, *named)
