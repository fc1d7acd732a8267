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
NameMatch = Literal["glob", "regex"]
Key = Literal["email", "mobile", "external"]
Mode = Literal["incremental", "full"]
Missing = Literal["unsubscribe", "keep"]
Duplicates = Literal["last", "first", "refuse"]
Unknown = Literal["add", "refuse"]
Acknowledgement = Literal["rename", "marker", "table", "mail", "webhook"]

ROLES = ("email", "mobile", "prefix", "number", "external", "list", "group", "group_name", "status")
"""What a column can mean besides a personal data field (its number as text) or nothing (empty)."""

MARKER_SUFFIXES = (".ok", ".err")
"""With the acknowledgement "marker": what the server's own markers end with, after success and after failure."""


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
    constants: Mapping[str, str] = field(default_factory=dict)
    """By role or field number: the value of every row, for roles and fields that no column has."""
    transforms: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    """By role or field number: what is done to each cell, in order; see `exchange.transforms`."""
    checks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By field number: what a cell must be (a date, a number, a truth value); see `exchange.transforms`."""
    key: Key = "email"
    """What tells whom a row is about: `email` (or the mobile number, where there is no address), `mobile` or `external`
    (the id that the sender's own system gives)."""
    unknown: Unknown = "add"
    """What becomes of rows about people who are not in the account."""
    duplicates: Duplicates = "last"
    """Which row of a file counts when several are about the same person in the same list; with `last`, an earlier one
    supplies what a later one leaves out."""
    mode: Mode = "incremental"
    """`full`: the file holds everybody who is subscribed to the list."""
    missing: Missing = "unsubscribe"
    """With mode `full`: what becomes of those who are not in the file."""
    max_missing_percent: float = 10.0
    """With mode `full`: nobody is unsubscribed when more of the list's subscribers than this are missing."""
    pattern: str = "*"
    """Pattern of the file names this profile is for; may have date parts such as `{date:yyyyMMdd}`."""
    match: NameMatch = "glob"
    """How the pattern is read: as a shell's, or as a regular expression that fits the whole name, in any case."""
    start_at: str | None = None
    """Time of day `HH:MM` in the account's time zone at which files are imported; None: at once."""
    bundle: str | None = None
    """Name that folders share whose files belong together; their imports wait for each other."""
    bundle_place: int = 1
    """Position of this folder's file among those of the bundle."""
    wait_until: str | None = None
    """Time of day `HH:MM` at which the files of a bundle that are there are imported without the others."""
    expected_by: str | None = None
    """Time of day `HH:MM` by which a file is expected daily; None: nobody is told when there is none."""
    scan_seconds: float = 60.0
    """How long a file that came by none of the server's doors must have stayed the same; 0: such files are left."""
    acknowledgements: tuple[Acknowledgement, ...] = ()
    """How the sender is told, beside the folders `processed` and `failed`; see `jobs.acknowledgements`."""
    contact: str | None = None
    """Who gets the mails about this folder, instead of the account's technical contact."""
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
        for name in ("columns", "groups", "acknowledgements"):
            if name in values:
                values[name] = tuple(values[name])
        if "transforms" in values:
            values["transforms"] = {target: tuple(steps) for target, steps in values["transforms"].items()}
        return cls(**values)
