"""`listbridge sms` and `listbridge credits`."""

from __future__ import annotations

import json

import pytest
from command_results import Run
from message_centre import message_centre


def test_credits(customer: Run) -> None:
    def show(*options: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(customer("credits", "show", "7", "--json", *options).out)
        return found

    assert show()[0]["credits"] == 0
    assert customer("credits", "add", "7", "100.5").code == 0
    assert customer("credits", "add", "7", "--", "-0.25").code == 0
    assert [row["credits"] for row in show()] == [100.25, 100.25]
    assert customer("credits", "set", "7", "7", "--list", "1").code == 0
    assert show("--list", "1") == [{"list": 1, "name": show()[1]["name"], "credits": 7, "own": True}]
    assert customer("credits", "set", "7", "none", "--list", "1").code == 0
    assert show()[1]["own"] is False


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("add", "7", "many"), "The amount is not a number."),
        (("set", "7", "none"), "The amount is not a number."),
        (("set", "7", "0.0001"), "Credits are a number"),
        (("add", "7", "--", "-5"), "There are fewer credits"),
        (("show", "9"), "There is no account 9."),
        (("show", "7", "--list", "9"), "There is no list 9"),
    ],
)
def test_what_credits_cannot_be(customer: Run, arguments: tuple[str, ...], text: str) -> None:
    result = customer("credits", *arguments)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"listbridge: {text}")


def test_sending(customer: Run) -> None:
    refused = customer("sms", "send", "7", "1", "+393331230001", "Ciao")
    assert (refused.code, refused.err) == (1, "listbridge: There are not enough credits for text messages.\n")
    customer("credits", "add", "7", "5")
    assert customer("sms", "send", "7", "1", "333 123 0001", "Ciao", "--from", "Shop").out == "1\n"
    assert customer("sms", "send", "7", "1", "+393331230001", "Привет").code == 1
    assert customer("sms", "send", "7", "1", "+393331230001", "Привет", "--unicode").out == "2\n"
    assert customer("sms", "send", "7", "1", "+393331230001", "Ciao", "--message", "9").code == 1
    assert json.loads(customer("credits", "show", "7", "--json").out)[0]["credits"] == 3


def test_the_gateway(customer: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    result = customer("sms", "gateway", "test")
    assert (result.code, result.err) == (1, "listbridge: The setting sms_gateway is empty: text messages wait.\n")
    with message_centre() as centre:
        monkeypatch.setenv("LISTBRIDGE_SMS_GATEWAY", centre.url)
        result = customer("sms", "gateway", "test")
        assert (result.code, result.out.startswith("Connected to 127.0.0.1:")) == (0, True)
        monkeypatch.setenv("LISTBRIDGE_SMS_GATEWAY", centre.url.replace("s3cret", "guess"))
        result = customer("sms", "gateway", "test")
        assert result.code == 1 and "refuses the login" in result.err and "guess" not in result.err
    monkeypatch.setenv("LISTBRIDGE_SMS_GATEWAY", "gopher://secret@host")
    result = customer("sms", "gateway", "test")
    assert result.code == 1 and "secret" not in result.err
