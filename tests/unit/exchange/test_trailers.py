"""Trailers: what the agreed last line is, and what it means without any agreement."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from exchange.profiles import Profile
from exchange.trailers import LONGEST, compile_trailer, match_trailer

DEFAULT = Profile().trailer
CHARACTERS = st.characters(max_codepoint=127)
LINES = st.from_regex(re.compile(DEFAULT, re.ASCII), alphabet=CHARACTERS) | st.text(CHARACTERS)


@given(LINES)
def test_the_default_means_what_it_always_meant(line: str) -> None:
    before = re.fullmatch(DEFAULT, line.strip())
    found = match_trailer(DEFAULT, line)
    assert found == (before.groupdict() if before else None)


def test_a_line_has_a_longest_length() -> None:
    assert match_trailer("x*", "x" * LONGEST) is not None
    assert match_trailer("x*", "x" * (LONGEST + 1)) is None


def test_a_trailer_is_compiled_once() -> None:
    assert compile_trailer(DEFAULT) is compile_trailer(DEFAULT)
