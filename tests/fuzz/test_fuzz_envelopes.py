"""Any message is a call or refused in one of three ways, whatever is in it and however it is cut."""

from __future__ import annotations

import random

from fuzz_envelope import CODECS, run_envelope
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.soap.faults import SoapVersion

_SAMPLES = tuple(
    f'<?xml version="1.0"?><e:Envelope xmlns:e="{version.namespace}"><e:Body>'
    f'<{one.name} xmlns="{codec.service.namespace}">'
    f"{''.join(f'<{name}>1</{name}>' for name in one.parameters)}</{one.name}></e:Body></e:Envelope>".encode()
    for codec in CODECS
    for one in codec.service.operations[:3]
    for version in SoapVersion
)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400))
@example(b"\x01")
@example(b"\x01<a")
def test_any_bytes(data: bytes) -> None:
    run_envelope(data)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 15))
def test_words_of_messages(data: bytes, kind: int) -> None:
    run_envelope(bytes([kind * 2]) + data)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(_SAMPLES), st.randoms(use_true_random=False), st.integers(0, 6), st.integers(0, 127))
def test_messages_with_errors(message: bytes, dice: random.Random, errors: int, kind: int) -> None:
    content = bytearray(message)
    for _ in range(errors):
        _spoil(content, dice)
    run_envelope(bytes([kind * 2 + 1]) + bytes(content))


def _spoil(content: bytearray, dice: random.Random) -> None:
    """Change, leave out or repeat a few bytes."""
    start = dice.randrange(len(content) + 1)
    end = min(len(content), start + dice.randrange(12))
    match dice.randrange(3):
        case 0:
            content[start:end] = b""
        case 1:
            content[start:start] = content[start:end] * 2
        case 2:
            content[start:start] = dice.choice((b"<", b">", b"&", b'"', b"\0", b"<!DOCTYPE x>", b"]]>", b" xmlns=''"))
