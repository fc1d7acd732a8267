"""How the files of one folder are read: dialect, columns, status rule and completeness rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

Channels = Literal["email", "sms", "both"]
StatusRule = Literal["subscribed", "unsubscribed", "column"]
CompletenessRule = Literal["connection", "marker", "trailer", "rename", "size"]
EmptyValues = Literal["keep", "clear"]
Encoding = Literal["utf-8", "utf-16", "cp1252", "latin-1"]
FileFormat = Literal["csv", "xml"]

ROLES = ("email", "mobile", "prefix", "number", "list", "group", "group_name", "status")
"""What a column can mean besides a personal data field (its number as text) or nothing (empty)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Everything that has been agreed about the files of one folder."""

    format: FileFormat = "csv"
    grammar: Mapping[str, str] = field(default_factory=dict)
    """With format "xml": the arguments of `exchange.recipient_xml.XmlGrammar`, by name."""
    encoding: Encoding = "utf-8"
    """As declared by the sender; a byte order mark in the file is recognised in any case."""
    separator: str | None = None
    """None: recognised from the header among `;` `,` `|` and tab."""
    quote: str = '"'
    header: bool = True
    columns: tuple[str, ...] = ()
    """Roles or field numbers by position, for files without a header; an empty one skips the column."""
    column_names: Mapping[str, str] = field(default_factory=dict)
    """Further header cells and the role each stands for, compared without case."""
    channels: Channels = "both"
    status: StatusRule = "subscribed"
    subscribed_value: str = "1"
    """With status "column": the cell that means subscribed."""
    unsubscribed_value: str = "0"
    """With status "column": the cell that means unsubscribed."""
    confirm: bool = False
    """Recipients become pending until they confirm, instead of subscribed."""
    confirm_message: int | None = None
    """With `confirm`: the number of the account's message to use as confirmation request, instead of the list's own."""
    change_pending: bool = False
    """The status of recipients who are pending changes too."""
    resubscribe: bool = False
    """Recipients who unsubscribed by themselves become subscribed again; bounced and complaining ones never."""
    empty_values: EmptyValues = "keep"
    """What an empty cell does to the stored value."""
    replace_groups: bool = False
    groups: tuple[int, ...] = ()
    """Groups that every row is put into."""
    pattern: str = "*"
    """Shell-style pattern of the file names this profile is for."""
    completeness: CompletenessRule = "connection"
    marker_suffix: str = ".done"
    """With completeness "marker": FILE is complete once FILE + this suffix exists."""
    trailer: str = r"#?(?:END|TRAILER)\W+(?P<rows>\d+)\W*"
    """With completeness "trailer": the regular expression of the last line, naming the count of rows."""
    quiet_seconds: float = 2.0
    """With completeness "connection": how long a silent, living control connection waits for the verdict."""

    @property
    def may_unsubscribe(self) -> bool:
        """Whether rows can ask for the end of a subscription."""
        # In CSV a column may say so even where subscribing is the rule.
        return self.status != "subscribed" or self.format == "csv"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form that `from_dict` reads back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild a profile from its JSON form; keys that are missing take their defaults."""
        known = {item.name for item in fields(cls)}
        values = {name: value for name, value in stored.items() if name in known}
        for name in ("columns", "groups"):
            if name in values:
                values[name] = tuple(values[name])
        return cls(**values)
