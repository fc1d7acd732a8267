"""The GSM alphabet and the parts of text messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.errors import InvalidMessage
from delivery.sms_text import encode_part, is_near, split, to_gsm

# 3GPP TS 23.038, section 6.2.1: one row for each high half of the code.
TABLE = [
    "@£$¥èéùìòÇ\nØø\rÅå",
    "Δ_ΦΓΛΩΠΨΣΘΞ\x00ÆæßÉ",
    " !\"#¤%&'()*+,-./",
    "0123456789:;<=>?",
    "¡ABCDEFGHIJKLMNO",
    "PQRSTUVWXYZÄÖÑÜ§",
    "¿abcdefghijklmno",
    "pqrstuvwxyzäöñüà",
]
EXTENSION = {"\f": 10, "^": 20, "{": 40, "}": 41, "\\": 47, "[": 60, "~": 61, "]": 62, "|": 64, "€": 101}
LONGEST = {False: 3 * 153, True: 3 * 67}


def test_every_code_of_the_alphabet() -> None:
    for code, character in enumerate("".join(TABLE)):
        if character != "\x00":
            assert encode_part(character, unicode=False) == bytes([code])
    for character, code in EXTENSION.items():
        assert encode_part(character, unicode=False) == bytes([0x1B, code])


@pytest.mark.parametrize(
    ("text", "gsm"),
    [
        ("Perché no?", "Perché no?"),
        ("Così è: á í ó ú ñ ç", "Così è: a i o u ñ c"),
        ("“Ciao” – l’altro…", '"Ciao" - l\'altro...'),
        ("Ελλάδα", "EΛΛAΔA"),
        ("Łódź œuvre", "Lodz oeuvre"),
        ("a\u00a0b\tc\u200bd", "a b cd"),
        ("10 € [x]", "10 € [x]"),
        ("½ ﬁn ™", "1/2 fin TM"),
        ("Привет 漢 🙂", "?????? ? ?"),
    ],
)
def test_what_is_outside_of_the_alphabet_becomes_what_is_nearest(text: str, gsm: str) -> None:
    assert to_gsm(text) == gsm


def test_what_has_nothing_near_is_refused_where_somebody_wrote_it() -> None:
    assert to_gsm("Così – áé", replacement=None) == "Così - aé"
    with pytest.raises(InvalidMessage, match="漢 🙂"):
        to_gsm("漢漢🙂", replacement=None)


@pytest.mark.parametrize(
    ("text", "unicode", "lengths"),
    [
        ("", False, [0]),
        ("a" * 160, False, [160]),
        ("a" * 161, False, [153, 8]),
        ("a" * 306, False, [153, 153]),
        ("a" * 307, False, [153, 153, 1]),
        ("a" * 459, False, [153, 153, 153]),
        ("€" * 80, False, [80]),
        ("€" * 81, False, [76, 5]),
        ("a" * 159 + "€", False, [152 + 1, 7]),
        ("a" * 152 + "€" + "a" * 10, False, [152, 11]),
        ("a" * 70, True, [70]),
        ("a" * 71, True, [67, 4]),
        ("a" * 201, True, [67, 67, 67]),
        ("🙂" * 35, True, [35]),
        ("🙂" * 36, True, [33, 3]),
        ("a" * 66 + "🙂" * 3, True, [66, 3]),
    ],
)
def test_parts(text: str, unicode: bool, lengths: list[int]) -> None:
    assert [len(part) for part in split(text, unicode)] == lengths


@pytest.mark.parametrize(("text", "unicode"), [("a" * 460, False), ("€" * 229, False), ("a" * 202, True)])
def test_more_than_three_parts_are_refused(text: str, unicode: bool) -> None:
    with pytest.raises(InvalidMessage, match="parts"):
        split(text, unicode)


@given(st.text(max_size=500))
def test_parts_of_unicode_rejoin_and_fit(text: str) -> None:
    try:
        parts = split(text, unicode=True)
    except InvalidMessage:
        assert len(text.encode("utf-16-be", "surrogatepass")) > 2 * (LONGEST[True] - 2)
        return
    assert "".join(parts) == text
    assert all(len(encode_part(part, unicode=True)) <= (140 if len(parts) == 1 else 134) for part in parts)


@given(st.text(alphabet=st.one_of(st.sampled_from("".join(TABLE) + "".join(EXTENSION)), st.characters()), max_size=500))
def test_parts_of_the_alphabet_rejoin_and_fit(text: str) -> None:
    gsm = to_gsm(text.replace("\x00", ""))
    try:
        parts = split(gsm, unicode=False)
    except InvalidMessage:
        assert len(encode_part(gsm, unicode=False)) > LONGEST[False] - 2
        return
    assert "".join(parts) == gsm
    assert all(len(encode_part(part, unicode=False)) <= (160 if len(parts) == 1 else 153) for part in parts)


@given(st.characters())
def test_what_is_near_is_stable(character: str) -> None:
    near = to_gsm(character)
    assert to_gsm(near) == near
    assert is_near(character) == (near != "?" or character == "?") or near == "?"
