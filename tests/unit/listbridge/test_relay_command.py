"""`listbridge relay test`, to a mail server of this machine."""

from __future__ import annotations

import pytest
from command_results import Run
from mail_sinks import serve_mail


def test_without_a_relay(customer: Run) -> None:
    result = customer("relay", "test")
    assert result.code == 1
    assert result.err == "listbridge: No relay is set, so mails wait; set smtp_relay to HOST:PORT or mx.\n"


def test_a_relay_and_a_mail(customer: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_mail() as sink:
        monkeypatch.setenv("LISTBRIDGE_SMTP_RELAY", f"127.0.0.1:{sink.port}")
        result = customer("relay", "test")
        assert (result.code, result.out.splitlines()[0]) == (0, f"relay: 127.0.0.1:{sink.port}")
        assert not sink.received
        result = customer("relay", "test", "--to", "Ops@example.com", "--from", "list@example.com")
        assert (result.code, result.out.splitlines()[-1]) == (0, "sent: 250 2.0.0 kept")
        (mail,) = sink.received
        assert mail[:2] == ("list@example.com", "ops@example.com")
        assert b"Subject: Listbridge can send\r\n" in mail[2]
        result = customer("relay", "test", "--to", "refused@example.com")
        assert result.code == 1
        assert result.err == "listbridge: The mail was not taken (refused): 550 5.1.1 No such user here\n"


def test_a_relay_that_is_down(customer: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTBRIDGE_SMTP_RELAY", "127.0.0.1:1")
    result = customer("relay", "test")
    assert result.code == 1
    assert result.err.startswith("listbridge: Mails cannot leave: 127.0.0.1:1: ")
