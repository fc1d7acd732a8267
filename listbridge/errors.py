"""What the program refuses before any room is asked."""

from __future__ import annotations


class CommandError(Exception):
    """A command cannot do what it was asked; the text is one line for the person at the terminal."""


class SettingsError(CommandError):
    """A setting is unknown, misspelt or has a value that cannot be used."""
