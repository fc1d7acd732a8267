"""The page about profiles: every key is on it, and its examples can be used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exchange.profile_files import KEYS, read_profile
from exchange.transforms import compile_steps

PAGE = (Path(__file__).parents[3] / "docs/profiles.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_key_is_documented() -> None:
    keys = PAGE.partition("## Keys")[2].partition("\n## ")[0]
    cells = " ".join(line.split("|")[1] for line in keys.splitlines() if line.startswith("|"))
    missing = [key for key in KEYS if not re.search(rf"`\[*{key}\b", cells)]
    assert missing == ["grammar"]


def test_every_step_is_documented() -> None:
    with pytest.raises(ValueError, match="is none of") as refusal:
        compile_steps([{"do": "x"}])
    for name in re.findall(r"'(\w+)'", str(refusal.value).partition("none of")[2]):
        assert name == "trim" or f"`{name}`" in PAGE, name


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_can_be_used(example: str) -> None:
    read_profile(example)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 3
