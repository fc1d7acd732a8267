"""The documentation check: every command, option, setting and library is told about, and links lead somewhere."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from listbridge.cli import make_app
from listbridge.settings import Settings, known_variables

ROOT = Path(__file__).parents[3]
COMMANDS = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
SETTINGS = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
LIBRARIES = (ROOT / "docs/decisions/0001-libraries.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def walk_commands() -> Iterator[tuple[str, Any]]:
    """Yield each command that is no group, under its full name."""
    pending: list[tuple[str, Any]] = [("listbridge", typer.main.get_command(make_app()))]
    while pending:
        name, command = pending.pop()
        children = getattr(command, "commands", None)
        if children is None:
            yield name, command
        else:
            pending += [(f"{name} {child}", children[child]) for child in children]


ALL = dict(walk_commands())


def find_section(name: str) -> str:
    """Return the section of docs/commands.md about a command."""
    found = re.search(rf"^### `{name}( [A-Z ]+)?`$(.*?)(?=^##|\Z)", COMMANDS, re.MULTILINE | re.DOTALL)
    assert found, f"docs/commands.md has no section about `{name}`"
    return found[0]


@pytest.mark.parametrize("name", ALL)
def test_every_command_and_option_is_documented(name: str) -> None:
    section = find_section(name)
    for parameter in ALL[name].params:
        if parameter.param_type_name == "argument":
            assert (parameter.metavar or parameter.name).upper() in section.partition("\n")[0]
        elif not parameter.hidden:
            for option in (*parameter.opts, *parameter.secondary_opts):
                assert f"`{option}" in section, option


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_help(name: str) -> None:
    command = ALL[name]
    assert command.help, f"`{name}` has no help"
    for parameter in command.params:
        assert parameter.help, f"`{name}`: {parameter.name} has no help"


def test_no_command_is_documented_that_does_not_exist() -> None:
    headings = re.findall(r"^### `(listbridge import FILE|listbridge [a-z -]+?)(?: [A-Z ]+)?`$", COMMANDS, re.MULTILINE)
    assert set(headings) == set(ALL)


def test_every_setting_is_documented() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", SETTINGS, re.MULTILINE)) == set(Settings.model_fields)


def test_special_variables_are_documented() -> None:
    for name in set(known_variables()) - {f"LISTBRIDGE_{key.upper()}" for key in Settings.model_fields}:
        assert name in SETTINGS, name


def test_every_library_has_its_reason() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = f"{setup['options']['install_requires']}\n{setup['options.extras_require']['dev']}"
    for name in re.findall(r"^([A-Za-z0-9-]+)", lines, re.MULTILINE):
        assert re.search(rf"^\|[^|]*\b{name}\b", LIBRARIES, re.MULTILINE), f"{name} stands in no table"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target
