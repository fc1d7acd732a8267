"""Parcels: ZIP archives of a message, the files that go out with it, its recipients, and settings that say what to do.

Names in an archive are compared without case. What nobody asked for is ignored; what is missing refuses the parcel.
"""

from __future__ import annotations

import mimetypes
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from lxml import etree

from exchange.errors import FileRefused
from exchange.parcel_settings import SETTINGS_SIZE, ParcelSettings, read_settings
from exchange.zip_parcel import check_member, is_ignored, noticing_damage, open_archive

ENTRIES_MOST = 1_000
"""Most files of a parcel; a security limit."""
ATTACHMENTS_SIZE = 3 * 1024 * 1024
"""Most bytes of all attachments together."""
IMAGES_SIZE = 20 * 1024 * 1024
"""Most bytes of all images together."""
MARKUP_SIZE = 5_000_000
"""Most bytes of the message."""
UNPACKED_MOST = 1 << 30
"""Most bytes of all files together; a security limit."""

SETTINGS, MARKUP, RECIPIENTS, ATTACHMENTS = "Settings.xml", "Markup.htm", "Recipients.csv", "Attachments"

NO_ARCHIVE = "Cannot read that as a ZipFile"
TOO_LARGE = (
    "There was an exception running the extensions specified in the config file. ---> Maximum request length exceeded."
)
_SHORT = "the member is not as long as its directory entry says"
_UNKNOWN_TYPE = "application/octet-stream"
_PACKED_TYPES: Mapping[str, str] = {"gzip": "application/gzip"}
# What is a message or has parts has rules of its own for how it is encoded (RFC 2045 section 6.4).
_COMPOSITE = ("message/", "multipart/")
# Written out: what the library knows depends on its version and on the machine.
_IMAGE_TYPES: Mapping[str, str] = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "image/jpeg"),
    **dict.fromkeys((".tif", ".tiff"), "image/tiff"),
    ".png": "image/png",
    ".apng": "image/apng",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".svg": "image/svg+xml",
    ".bmp": "image/bmp",
    ".ico": "image/vnd.microsoft.icon",
}
_FONTS = re.compile(r"@font-face\s*\{[^{}]*\}", re.IGNORECASE)
_IN_STYLES = re.compile(r"""url\(\s*(?:"([^"]*)"|'([^']*)'|([^"')\s]*))\s*\)""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ParcelFile:
    """A file that goes out with the message."""

    name: str
    """Of an image: as the HTML writes it."""
    content_type: str
    content: bytes


class Parcel:
    """An archive whose directory was read, and its settings; the rest is read when it is asked for."""

    settings: ParcelSettings

    def __init__(self, archive: zipfile.ZipFile) -> None:
        """Check the directory and read the settings.

        Raises:
            FileRefused: what `open_parcel` says.
        """
        self._archive = archive
        self._members = _by_name(archive)
        self.settings = read_settings(self._read(SETTINGS, SETTINGS_SIZE))

    def read_markup(self) -> str:
        """Return the message's HTML.

        Raises:
            FileRefused: `missing-file`, `encoding` or `too-large`, or the archive is damaged.
        """
        try:
            return self._read(MARKUP, MARKUP_SIZE).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise FileRefused("encoding", f"The file {MARKUP} is not UTF-8.") from None

    def read_attachments(self) -> list[ParcelFile]:
        """Return what lies in the folder for attachments.

        Raises:
            FileRefused: `attachments-folder` or `attachments-size`, with the texts that the partners' programs know, or
                the archive is damaged.
        """
        folder = f"{ATTACHMENTS.lower()}/"
        here = [member for name, member in self._members.items() if name.startswith(folder)]
        if not here and not any(info.filename.lower().startswith(folder) for info in self._archive.infolist()):
            raise FileRefused("attachments-folder", 'There was no "Attachments" folder in the submitted Zip Archive.')
        if sum(member.file_size for member in here) > ATTACHMENTS_SIZE:
            raise FileRefused("attachments-size", TOO_LARGE)
        return [_make_attachment(PurePosixPath(member.filename).name, self._content(member)) for member in here]

    def read_images(self, markup: str) -> list[ParcelFile]:
        """Return the images of the archive that the HTML shows by their names.

        Raises:
            FileRefused: `missing-file` or `too-large`, or the archive is damaged.
        """
        images: list[ParcelFile] = []
        left = IMAGES_SIZE
        for name in shown_images(markup):
            member = self._members.get(_plain(name))
            if member is None:
                raise _missing(name)
            left -= member.file_size
            if left < 0:
                raise FileRefused("too-large", f"The images have more than {IMAGES_SIZE:,} bytes.")
            images.append(ParcelFile(name, _IMAGE_TYPES[_suffix(name)], self._content(member)))
        return images

    def copy_recipients(self, target: BinaryIO) -> None:
        """Write the table of recipients to a stream.

        Raises:
            FileRefused: `missing-file`, or the archive is damaged.
        """
        member = self._member(RECIPIENTS)
        with noticing_damage(NO_ARCHIVE), self._archive.open(member) as stream:
            shutil.copyfileobj(stream, target)
            if stream.tell() != member.file_size:
                raise zipfile.BadZipFile(_SHORT)

    def _read(self, name: str, most: int) -> bytes:
        member = self._member(name)
        if member.file_size > most:
            raise FileRefused("too-large", f"The file {name} has more than {most:,} bytes.")
        return self._content(member)

    def _member(self, name: str) -> zipfile.ZipInfo:
        member = self._members.get(name.lower())
        if member is None:
            raise _missing(name)
        return member

    def _content(self, member: zipfile.ZipInfo) -> bytes:
        with noticing_damage(NO_ARCHIVE), self._archive.open(member) as stream:
            # One byte more, so that a directory that tells too little is noticed.
            content = stream.read(member.file_size + 1)
            if len(content) != member.file_size:
                raise zipfile.BadZipFile(_SHORT)
            return content


@contextmanager
def open_parcel(stream: BinaryIO) -> Iterator[Parcel]:
    """Open a parcel; the stream must stay open as long as it is used.

    Args:
        stream: seekable.

    Raises:
        FileRefused: `zip-damaged`, `zip-encrypted`, `zip-members`, `zip-path`, `zip-bomb`, `missing-file`, `too-large`,
            `xml-node` or `xml-invalid`.
    """
    with noticing_damage(NO_ARCHIVE):
        archive = open_archive(stream)
    with archive:
        with noticing_damage(NO_ARCHIVE):
            parcel = Parcel(archive)
        yield parcel


def shown_images(markup: str) -> list[str]:
    """Return the names of the images beside it that HTML shows, as it writes them, each once.

    Addresses of the web and of the message itself are none, nor are those with merge tags, fonts and style sheets.
    """
    found: dict[str, None] = {}
    for element in _elements_of(markup):
        found.update(dict.fromkeys(name for name in _named_by(element) if _lies_beside(name)))
    return list(found)


def _elements_of(markup: str) -> Iterator[etree._Element]:
    try:
        # As bytes: text whose prolog names an encoding is not taken.
        document = etree.fromstring(markup.encode(), etree.HTMLParser(encoding="utf-8", huge_tree=False))
    except etree.XMLSyntaxError:
        return
    if document is not None:
        yield from document.iter(etree.Element)


def _named_by(element: etree._Element) -> Iterator[str]:
    if element.tag == "img" or (element.tag == "input" and element.get("type") == "image"):
        yield (element.get("src") or "").strip()
    yield (element.get("background") or "").strip()
    styles = (element.get("style") or "", (element.text or "") if element.tag == "style" else "")
    for style in styles:
        yield from ("".join(match.groups("")) for match in _IN_STYLES.finditer(_FONTS.sub("", style)))


def _lies_beside(name: str) -> bool:
    if not name or "[" in name or name.startswith(("/", "#", "\\")):
        return False
    try:
        parts = urlsplit(name)
    except ValueError:
        return False
    return not parts.scheme and not parts.netloc and _suffix(name) in _IMAGE_TYPES


def _plain(name: str) -> str:
    """Return the name in an archive that a relative URL stands for, in lower case."""
    return PurePosixPath(unquote(urlsplit(name).path)).as_posix().lower()


def _suffix(name: str) -> str:
    return PurePosixPath(_plain(name)).suffix


def _by_name(archive: zipfile.ZipFile) -> Mapping[str, zipfile.ZipInfo]:
    members = [info for info in archive.infolist() if not is_ignored(info)]
    if len(members) > ENTRIES_MOST:
        raise FileRefused("zip-members", f"The archive has more than {ENTRIES_MOST:,} files.")
    for member in members:
        check_member(archive, member)
    if sum(member.file_size for member in members) > UNPACKED_MOST:
        raise FileRefused("zip-bomb", "The ZIP archive would unpack to far too many bytes.")
    named = {member.filename.lower(): member for member in members}
    if len(named) < len(members):
        raise FileRefused("zip-members", "The archive has two files of the same name.")
    return named


def _missing(name: str) -> FileRefused:
    return FileRefused("missing-file", f'There was no "{name[:100]}" file in the submitted Zip Archive.')


def _make_attachment(name: str, content: bytes) -> ParcelFile:
    guessed, packing = mimetypes.guess_type(name)
    if packing is not None:
        guessed = _PACKED_TYPES.get(packing)
    is_plain = guessed is not None and not guessed.startswith(_COMPOSITE)
    return ParcelFile(name, guessed if is_plain and guessed else _UNKNOWN_TYPE, content)
