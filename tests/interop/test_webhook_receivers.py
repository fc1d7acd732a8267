"""Receivers of webhooks written in PHP, as the extensions of web shops are."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from audience.webhooks import Format, Method, WebhookSettings
from delivery.outgoing_http import Answer, OutgoingClient
from jobs.webhook_requests import Told, build_request
from services.mailup.notification_parameters import WORDING, parse_parameter_name

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
KEY = "chiave segreta"
SCRIPT = Path(__file__).parent / "clients" / "php" / "receiver.php"
CONTENT = {
    "account_number": 6457,
    "list_number": 2,
    "list_guid": "0a000000-0000-4000-8000-000000000001",
    "channel": 1,
    "email": "o'neill+shop@example.com",
    "mobile": "+393401234567",
    "fields": {"1": "Città & 東京 ~ 100%", "2": ""},
    "groups": [3, 22],
    "reason_type": 32,
    "reason_subtype": 1,
}
TOLD = Told(5, "unsubscribe", "recipient", datetime(2026, 7, 1, 10, 0, 0, 5_000, UTC), CONTENT, "Europe/Rome")
PARAMETERS = {
    "evt": "[EventType]",
    "evd": "[EventDate]",
    "customerEmail": "[Email]",
    "idl": "[IdList]",
    "idn": "[IdNL]",
    "gru": "[Groups]",
    "name": "[Field01]",
}
EXPECTED = {
    "evt": "UNSUBSCRIBE",
    "evd": "2026-07-01T12:00:00.005+02",
    "customerEmail": "o'neill+shop@example.com",
    "idl": "2",
    "idn": "",
    "gru": "3,22",
    "name": "Città & 東京 ~ 100%",
}


@dataclass(frozen=True)
class Shop:
    """PHP's web server with the receiver."""

    url: str
    file: Path

    def tell(self, path: str, method: Method, format: Format) -> Answer:
        parameters = tuple((name, parse_parameter_name(word)) for name, word in PARAMETERS.items())
        settings = WebhookSettings(
            name="Shop",
            url=self.url + path,
            event="unsubscribe",
            method=method,
            format=format,
            secret=KEY,
            parameters=() if format == "json" else parameters,
        )
        request = build_request(settings, TOLD, WORDING, datetime.now(UTC))
        return OutgoingClient(LOOPBACK).send(request)

    def understood(self) -> Any:
        return json.loads(self.file.read_text(encoding="utf-8").splitlines()[-1])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    php = shutil.which("php")
    if php is None:
        reason = "needs: apt-get install php-cli"
        # As for the SOAP stacks: where they are promised, none may be missing.
        (pytest.fail if os.environ.get("LISTBRIDGE_INTEROP") == "required" else pytest.skip)(reason)
    file = tmp_path_factory.mktemp("shop") / "received"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = os.environ | {"WEBHOOK_KEY": KEY, "RECEIVED_FILE": str(file)}
    command = [str(php), "-S", f"127.0.0.1:{port}", str(SCRIPT)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(port)
            yield Shop(f"http://127.0.0.1:{port}", file)
        finally:
            server.terminate()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("path", "format"), [("/plain", "form"), ("/whole", "rc4"), ("/keys", "rc4")])
def test_a_shop_understands(shop: Shop, path: str, method: Method, format: Format) -> None:
    assert shop.tell(path, method, format) == Answer(200, "1")
    assert shop.understood() == EXPECTED


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_shop_understands_an_address_with_a_query(shop: Shop, method: Method) -> None:
    assert shop.tell("/plain?option=hook", method, "form") == Answer(200, "1")
    assert shop.understood() == EXPECTED | {"option": "hook"}


def test_a_shop_checks_the_signature(shop: Shop) -> None:
    assert shop.tell("/json", "POST", "json") == Answer(200, "1")
    understood = shop.understood()
    assert understood["recipient"]["email"] == CONTENT["email"]
    assert understood["recipient"]["fields"] == CONTENT["fields"]
