"""The setting that lets webhooks lie in networks that are not public."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from listbridge.errors import SettingsError
from listbridge.settings import load_settings, parse_networks


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("", ()),
        (" , ", ()),
        ("10.1.2.3", (ip_network("10.1.2.3/32"),)),
        ("10.0.0.0/8, fd00::/8", (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))),
    ],
)
def test_networks(text: str, networks: tuple[object, ...]) -> None:
    assert parse_networks(text) == networks


@pytest.mark.parametrize("text", ["inside", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8;10.1.0.0/16"])
def test_what_is_no_network_is_refused(text: str, clean_environment: None) -> None:
    with pytest.raises(SettingsError, match=r"networks such as 192\.0\.2\.0/24"):
        load_settings(webhook_allowed_networks=text)
