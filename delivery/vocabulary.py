"""The words by which messages name what is filled in for each recipient; each system spoken has its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

BuiltIn = Literal["email", "prefix", "number", "recipient", "hash", "host"]
"""What every recipient has: address, mobile number in two parts, id, GUID; and the host of this server's pages."""
SpecialLink = Literal["unsubscribe", "confirm", "track"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What merge tags and special links are called. Tags stand in square brackets; case does not matter."""

    field_tag: str
    """Regular expression for the inside of a tag that names a personal data field by its `number` (a named group)."""
    built_in: Mapping[str, BuiltIn]
    """By the inside of a tag, lower case."""
    link_hosts: Mapping[str, SpecialLink]
    """By what stands in brackets where an address has its host, as in `http://[unsubscribe]/`; lower case."""
    web_version_path: str
    """Part of an address, lower case, by which it leads to the web version."""
    unsubscribe_url: str
    """Inside of the tag for the address to unsubscribe at, in the List-Unsubscribe header; lower case."""
    unsubscribe_mail: str
    """Inside of the tag for the `mailto:` address to unsubscribe at; lower case."""


@dataclass(frozen=True, slots=True)
class TagNames:
    """All tags that a message may have: those of the vocabulary, the fields of the account, the values of a row."""

    vocabulary: Vocabulary
    fields: Mapping[str, int] = field(default_factory=dict)
    """Numbers of personal data fields by name, folded with `str.casefold`."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Keys of `Person.values` by name, folded; these come first."""
