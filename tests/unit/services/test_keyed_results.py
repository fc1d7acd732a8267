"""The shapes of results, and how they are counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from audience.errors import (
    AddressForgotten,
    AlreadyExists,
    AudienceError,
    InvalidAddress,
    InvalidName,
    InvalidSetting,
    ListBusy,
    UnknownGroup,
    UnknownList,
)
from delivery.errors import (
    DeliveryError,
    InvalidMessage,
    InvalidTarget,
    NotAllowedNow,
    NotEnoughCredits,
    SenderNotVerified,
    UnknownFilter,
    UnknownMessage,
    UnknownSending,
)
from services.mailup.keyed_results import Failure, NumberShape, Shape, Told, describe_outcome, explain, text_element
from services.soap.declarations import INT, STRING

_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"))


@given(_TEXT | st.lists(st.sampled_from(["]", ">", "<", "]]>", "&amp;", "<![CDATA["])).map("".join))
def test_any_text_comes_back(text: str) -> None:
    written = text_element("name", text)
    assert (etree.fromstring(written).text or "") == text
    assert written.startswith("<name><![CDATA[" if text else "<name></name>")


@pytest.mark.parametrize(
    ("shape", "good", "bad"),
    [
        (
            Shape("R", "<b></b>"),
            "<R><errorCode>0</errorCode><errorDescription></errorDescription><a></a></R>",
            "<R><errorCode>9</errorCode><errorDescription><![CDATA[No.]]></errorDescription><b></b></R>",
        ),
        (
            Shape("R", codes_success=False, names_error=True),
            "<R><a></a></R>",
            "<R><errorCode>9</errorCode><errorDescription><![CDATA[No.]]></errorDescription>"
            "<Error><![CDATA[No.]]></Error></R>",
        ),
        (
            Shape("R", code_names=(("C", "D"), ("c", "d"))),
            "<R><C>0</C><D></D><c>0</c><d></d><a></a></R>",
            "<R><C>9</C><D><![CDATA[No.]]></D><c>9</c><d><![CDATA[No.]]></d></R>",
        ),
    ],
)
def test_shapes(shape: Shape, good: str, bad: str) -> None:
    assert shape.type is STRING
    assert shape.succeed("<a></a>") == good
    assert shape.fail(Failure(9, "No.")) == bad


def test_a_description_of_success() -> None:
    result = Shape("R").succeed(Told("Sent.", "<a></a>"))
    assert result == "<R><errorCode>0</errorCode><errorDescription><![CDATA[Sent.]]></errorDescription><a></a></R>"
    assert describe_outcome(result) == "ok"


def test_numbers() -> None:
    shape = NumberShape()
    assert shape.type is INT
    assert (shape.succeed(7), shape.fail(Failure(9, "No."))) == (7, -1)


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (Shape("R").succeed(""), "ok"),
        (Shape("R", codes_success=False).succeed(""), "ok"),
        (Shape("R").fail(Failure(1, "x")), "refused"),
        (Shape("R").fail(Failure(2, "x")), "denied"),
        (Shape("R").fail(Failure(3, "x")), "denied"),
        (Shape("R").fail(Failure(4, "x")), "denied"),
        (Shape("R").fail(Failure(5, "<errorCode>0</errorCode>")), "refused"),
        (Shape("R").fail(Failure(12, "x")), "refused"),
        (Shape("R", code_names=(("ErrorCode", "ErrorDescription"),)).fail(Failure(4, "x")), "denied"),
        (5, "ok"),
        (-1, "refused"),
    ],
)
def test_outcomes(result: object, outcome: str) -> None:
    assert describe_outcome(result) == outcome


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnknownList("No."), 5),
        (UnknownGroup("No."), 6),
        (InvalidName("No."), 9),
        (InvalidSetting("color", "No."), 10),
        (ListBusy("No."), 12),
        (AlreadyExists("No."), 1),
        (InvalidAddress("No."), 9),
        (AddressForgotten("No."), 9),
        (UnknownMessage("No."), 7),
        (UnknownSending("No."), 8),
        (InvalidMessage("No."), 9),
        (InvalidTarget("No."), 10),
        (UnknownFilter("No."), 10),
        (SenderNotVerified("No."), 10),
        (NotEnoughCredits("No."), 11),
        (NotAllowedNow("No."), 12),
    ],
)
def test_what_callers_are_told(error: AudienceError | DeliveryError, code: int) -> None:
    failure = explain(error)
    assert (failure.code, failure.description) == (code, str(error))
