"""Which names a partner may use, and what each place of a home is for. Pure: no disk, no database."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path, PurePosixPath

from exchange.file_names import is_temporary, matches
from exchange.profiles import Profile
from jobs.acknowledgements import is_acknowledgement
from jobs.feeds import IMPORT_FOLDER, OUTCOME_FOLDERS
from jobs.sending_folders import FOLDERS as SENDING_FOLDERS

EXPORT_FOLDER = "export"
INCOMPLETE_FOLDER = "incomplete"
MAX_NAME_BYTES = 200
"""Longest name of a file or folder; file systems take 255 bytes, and the server must be able to add to a name."""

_OVERLONG = re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f]|\xf0[\x80-\x8f]")


class Refused(Exception):
    """A command cannot be carried out; the text is the FTP reply, code included."""


class Role(Enum):
    """What a file name means in its folder."""

    PLAIN = auto()
    """Kept and never imported: not a feed's folder, a temporary name, or not the feed's pattern."""
    MARKER = auto()
    """Says that another file is complete."""
    DATA = auto()
    """To be imported once it is complete."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file or folder stands in a home."""

    folder: str
    """Of its parent, relative to the home, without slashes around; empty for the home itself."""
    name: str
    """Empty for the home itself."""

    @classmethod
    def of(cls, home: Path, path: Path) -> Place:
        """Return the place of a path that lies in the home."""
        relative = path.relative_to(home)
        return cls("" if relative.parent == Path() else relative.parent.as_posix(), relative.name)

    def beside(self, name: str) -> Place:
        """Return the place of another name in the same folder."""
        return Place(self.folder, name)

    @property
    def parts(self) -> tuple[str, ...]:
        return PurePosixPath(self.folder, self.name).parts

    @property
    def in_import(self) -> bool:
        return self.parts[:1] == (IMPORT_FOLDER,) and len(self.parts) > 1

    @property
    def levels_above_outcomes(self) -> int:
        """How deep the folders lie whose outcome folders are the server's; 0: there are none here."""
        if self.in_import:
            return 2
        return int(self.parts[:1] in {(folder,) for folder in SENDING_FOLDERS})

    @property
    def list_name(self) -> str:
        """Name of the folder below `import/`, which should be the number of a list."""
        return self.parts[1] if self.in_import else ""


def read_name(raw: bytes) -> str:
    """Read a name as UTF-8 (RFC 2640), or as Latin-1 when it cannot be that, as older clients send it.

    Overlong UTF-8, which means to hide a character, becomes a replacement character, which no name may have.
    """
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace") if _OVERLONG.search(raw) else raw.decode("latin-1")


def check_path(path: str, working_folder: str) -> None:
    """Refuse a path as a client sent it when it could mean something else than a name in the home.

    Raises:
        Refused: 553 for names that no file may have, 550 for paths that lead out of the home.
    """
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in path):
        raise Refused("553 Names cannot contain control characters.")
    if "\ufffd" in path:
        raise Refused("553 Names are in UTF-8.")
    if "\\" in path:
        raise Refused("553 Names cannot contain backslashes; folders are separated by '/'.")
    if path.startswith("~"):
        raise Refused("550 There are no home folders of other users here.")
    if any(len(part.encode()) > MAX_NAME_BYTES for part in path.split("/")):
        raise Refused(f"553 Names are at most {MAX_NAME_BYTES} bytes long.")
    _check_depth(path, working_folder)


def _check_depth(path: str, working_folder: str) -> None:
    steps = path.split("/") if path.startswith("/") else [*working_folder.split("/"), *path.split("/")]
    depth = 0
    for step in steps:
        depth += 0 if step in ("", ".") else -1 if step == ".." else 1
        if depth < 0:
            raise Refused("550 The path leads out of your home folder.")


def check_upload(place: Place) -> None:
    """Refuse files where partners cannot put any.

    Raises:
        Refused: 550 or 553, saying where files go.
    """
    if not place.name:
        raise Refused("550 This is a folder.")
    if place.parts[0] == EXPORT_FOLDER:
        raise Refused("550 The export folder is written by the server; files go to import/<list number>/.")
    if place.folder == IMPORT_FOLDER:
        raise Refused("550 Files go into the folder of their list, import/<list number>/.")
    _check_outcome_folders(place)


def check_folder(place: Place) -> None:
    """Refuse folders that partners cannot make.

    Raises:
        Refused: 550.
    """
    if place.parts[:1] == (EXPORT_FOLDER,):
        raise Refused("550 The export folder is written by the server.")
    _check_outcome_folders(place)


def _check_outcome_folders(place: Place) -> None:
    above = place.levels_above_outcomes
    for part in place.parts[above:] if above else ():
        if part in OUTCOME_FOLDERS:
            raise Refused(f"550 Folders named '{part}' are made and filled by the server.")


def is_protected(place: Place) -> bool:
    """Tell whether a folder cannot be removed or renamed.

    These are the home, `import`, `export`, the folders of lists and those whose files send, and those the server fills
    in them.
    """
    parts = place.parts
    if not parts or parts in ((IMPORT_FOLDER,), (EXPORT_FOLDER,)):
        return True
    above = place.levels_above_outcomes
    return above > 0 and (len(parts) == above or place.name in OUTCOME_FOLDERS)


def role_of(profile: Profile | None, name: str) -> Role:
    """Return what a file of this name is in a folder with this profile (None: not a feed's folder)."""
    if profile is None:
        return Role.PLAIN
    if profile.completeness == "marker" and marked_name(profile, name):
        return Role.MARKER
    if is_acknowledgement(profile, name):
        return Role.PLAIN
    return Role.DATA if not is_temporary(name) and matches(profile.pattern, name, profile.match) else Role.PLAIN


def explain_kept(profile: Profile | None, name: str) -> str:
    """Return why a file of this name is not imported from a folder with this profile; empty for data and markers."""
    if profile is None:
        return "Files in this folder are not imported."
    if role_of(profile, name) is not Role.PLAIN:
        return ""
    if is_temporary(name):
        return "The name is a temporary one: the file waits to be renamed."
    return "The name does not match the pattern of this folder, it is not imported."


def marked_name(profile: Profile, name: str) -> str:
    """Return the name of the file that a marker of this name speaks of; empty when it is not a marker's name."""
    return name.removesuffix(profile.marker_suffix) if name.endswith(profile.marker_suffix) else ""
