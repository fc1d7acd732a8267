"""What can be wrong with a file, with one of its rows, or with what was agreed about them.

FileRefused       the whole file cannot be imported; nothing of it was
RowRefused        one row cannot be imported; the rest of the file can
InvalidProfile    a profile says something that cannot be done
"""

from __future__ import annotations


class FileRefused(Exception):
    """The whole file cannot be imported.

    Args:
        code: short stable word for programs, such as `no-key-column`.
        text: one English sentence for people, without personal data.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class RowRefused(Exception):
    """One row cannot be imported; the arguments are those of `FileRefused`."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class InvalidProfile(Exception):
    """A profile says something that cannot be done.

    Args:
        key: of `exchange.profiles.Profile`, such as `transforms.5`.
        text: what is wrong with its value, for people.
    """

    def __init__(self, key: str, text: str) -> None:
        super().__init__(f"{key}: {text}")
        self.key = key
        self.text = text
