"""Parcels: what is read of them, each refusal with its text, and archives that mean harm."""

from __future__ import annotations

import io
import zipfile
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parcel_maker import MARKUP, PEOPLE, make_parcel, pack, write_settings

from exchange.errors import FileRefused
from exchange.parcel_settings import ParcelSettings, read_settings
from exchange.parcels import ATTACHMENTS_SIZE, ENTRIES_MOST, Parcel, ParcelFile, open_parcel, shown_images

NOT_VALID = "XML file does not match its schema. Validation failed"
MISSING_NODE = "Missing Node in Xml File."
NO_ZIP = "Cannot read that as a ZipFile"
TOO_LARGE = (
    "There was an exception running the extensions specified in the config file. ---> Maximum request length exceeded."
)


def read_all(content: bytes) -> tuple[ParcelSettings, str, list[ParcelFile], list[ParcelFile], bytes]:
    """Read a parcel as the server does."""
    people = io.BytesIO()
    with open_parcel(io.BytesIO(content)) as parcel:
        markup = parcel.read_markup()
        attachments = parcel.read_attachments() if parcel.settings.attachments else []
        images = parcel.read_images(markup)
        parcel.copy_recipients(people)
        return parcel.settings, markup, attachments, images, people.getvalue()


def test_what_a_parcel_holds() -> None:
    content = make_parcel(
        {
            "ATTACHMENTS/Terms.pdf": b"%PDF",
            "Logo.PNG": b"image",
            "img/bar.gif": b"bar",
            "notes.txt": b"superfluous",
            "markup.HTM": b'<img src="logo.png"><td background="img/bar.gif"><img src="https://a.example.com/b.png">',
        },
        leave_out="Markup.htm",
        Attachments="true",
        ScheduleDateTime="2014-11-04T11:20:00.000",
    )
    settings, markup, attachments, images, people = read_all(content)
    assert (settings.action, settings.engine, settings.list_number) == ("full", "massive", 1)
    assert settings.start_at == datetime(2014, 11, 4, 11, 20)
    assert settings.tracked_schemes == ("http", "https")
    assert markup.startswith("<img")
    assert attachments == [ParcelFile("Terms.pdf", "application/pdf", b"%PDF")]
    assert [(image.name, image.content) for image in images] == [("logo.png", b"image"), ("img/bar.gif", b"bar")]
    assert people == PEOPLE


def test_names_are_compared_without_case() -> None:
    files = {"SETTINGS.XML": write_settings(), "MARKUP.HTM": MARKUP, "recipients.CSV": PEOPLE}
    assert read_all(pack(files))[4] == PEOPLE


REFUSED: list[tuple[str, bytes, str]] = [
    ("no archive", b"no archive at all", NO_ZIP),
    ("empty", b"", NO_ZIP),
    ("cut", make_parcel()[:-40], NO_ZIP),
    ("cut in the middle", make_parcel()[:300], NO_ZIP),
    ("no settings", make_parcel(leave_out="Settings.xml"), 'There was no "Settings.xml" file in the submitted Zip '),
    ("no markup", make_parcel(leave_out="Markup.htm"), 'There was no "Markup.htm" file in the submitted Zip Archive.'),
    ("no people", make_parcel(leave_out="Recipients.csv"), 'There was no "Recipients.csv" file in the submitted Zip '),
    ("no image", make_parcel({"Markup.htm": b'<img src="a.png">'}), 'There was no "a.png" file in the submitted Zip '),
    (
        "no folder",
        make_parcel(Attachments="true"),
        'There was no "Attachments" folder in the submitted Zip Archive.',
    ),
    ("large", make_parcel({"Attachments/a.bin": bytes(ATTACHMENTS_SIZE + 1)}, Attachments="true"), TOO_LARGE),
    (
        "large together",
        make_parcel({f"Attachments/{n}.bin": bytes(ATTACHMENTS_SIZE // 2 + 1) for n in range(2)}, Attachments="true"),
        TOO_LARGE,
    ),
    ("not UTF-8", make_parcel({"Markup.htm": b"citt\xe0"}), "The file Markup.htm is not UTF-8."),
    ("twice", make_parcel({"settings.XML": b""}), "The archive has two files of the same name."),
    ("outside", make_parcel({"../evil": b""}), "The ZIP archive has a member whose name leads out of its folder."),
    ("absolute", make_parcel({"/etc/evil": b""}), "The ZIP archive has a member whose name leads out of its folder."),
    ("many", make_parcel({f"{n}": b"" for n in range(ENTRIES_MOST)}), "The archive has more than 1,000 files."),
    ("bomb", make_parcel({"Markup.htm": bytes(50 << 20)}), "The ZIP archive would unpack to far too many bytes."),
    ("unread bomb", make_parcel({"x": bytes(50 << 20)}), "The ZIP archive would unpack to far too many bytes."),
    ("large settings", make_parcel({"Settings.xml": b" " * (2 << 20)}), "The file Settings.xml has more than "),
    (
        "long markup",
        make_parcel({"Markup.htm": b"x" * 5_000_001}),
        "The file Markup.htm has more than 5,000,000 bytes.",
    ),
]


@pytest.mark.parametrize(("content", "text"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_is_refused(content: bytes, text: str) -> None:
    with pytest.raises(FileRefused) as refused:
        read_all(content)
    assert refused.value.text.startswith(text)


def test_an_empty_folder_of_attachments_is_one() -> None:
    out = io.BytesIO(make_parcel(Attachments="true"))
    with zipfile.ZipFile(out, "a") as archive:
        archive.mkdir("attachments")
    assert read_all(out.getvalue())[2] == []


@pytest.mark.parametrize(
    "name",
    [
        *("ActionType", "CampaignCode", "FormatVersion", "NotifyEmail", "ListId", "ListGUID", "SenderName", "Notes"),
        *("SenderEmail", "ReplyToEmail", "EmailSubject", "ScheduleDateTime", "Separator", "Attachments"),
        *("DynamicFields", "EmbeddedImages", "LinkTracking", "HttpLinkTracking", "HttpsLinkTracking", "SendType"),
        *("MailToTracking", "FtpTracking", "NewsTracking", "QueryStringAdditionalParams", "ContentOverride"),
        *("MessageId", "CloneMessage", "Transactional", "Username", "Password", "AggregationCode", "KeepDuplicates"),
    ],
)
def test_every_element_must_be_there(name: str) -> None:
    with pytest.raises(FileRefused) as refused:
        read_settings(write_settings(without=name))
    assert refused.value.text == MISSING_NODE


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<FtpZip>",
        b"<Other/>",
        b"\xff\xfe",
        b'<!DOCTYPE FtpZip [<!ENTITY a "b">]>' + write_settings().split(b"\n", 1)[1],
        b'<!DOCTYPE FtpZip SYSTEM "file:///etc/passwd">' + write_settings().split(b"\n", 1)[1],
        *(
            write_settings(**values)
            for values in (
                {"ActionType": "start"},
                {"ActionType": ""},
                {"ListId": ""},
                {"ListId": "one"},
                {"ListId": "-1"},
                {"ListId": "9" * 30},
                {"Attachments": "perhaps"},
                {"KeepDuplicates": "2"},
                {"MessageId": "first"},
                {"SendType": "fast"},
                {"ScheduleDateTime": "tomorrow"},
                {"ScheduleDateTime": "2014-13-04T11:20:00.000"},
                {"Separator": ";;"},
                {"EmailSubject": "a\r\nBcc: x@example.com"},
                {"SenderName": "x" * 256},
            )
        ),
    ],
)
def test_settings_that_are_not_valid(content: bytes) -> None:
    with pytest.raises(FileRefused) as refused:
        read_settings(content)
    assert refused.value.text == NOT_VALID


def test_a_root_without_children_lacks_them() -> None:
    with pytest.raises(FileRefused, match="Missing Node"):
        read_settings(b"<FtpZip/>")


@pytest.mark.parametrize(
    ("values", "name", "value"),
    [
        ({"Separator": "|"}, "separator", "|"),
        ({"Separator": "\t"}, "separator", "\t"),
        ({"Separator": "tab"}, "separator", "\t"),
        ({"Separator": ""}, "separator", None),
        ({"SendType": "Transactional"}, "engine", "transactional"),
        ({"ActionType": "SAVE"}, "action", "save"),
        ({"MessageId": "0"}, "message_number", None),
        ({"MessageId": " 17 "}, "message_number", 17),
        ({"KeepDuplicates": "True"}, "keep_duplicates", True),
        ({"Password": " x "}, "smtp_password", "x"),
        ({"ScheduleDateTime": ""}, "start_at", None),
    ],
)
def test_values_of_settings(values: dict[str, object], name: str, value: object) -> None:
    assert getattr(read_settings(write_settings(**values)), name) == value


def test_a_namespace_and_comments_change_nothing() -> None:
    content = write_settings().replace(b"<FtpZip>", b'<FtpZip xmlns="urn:x"><!-- sample -->')
    content = content.replace(b"Campaign0009", b"Campaign<!-- no. -->0009")
    assert read_settings(content).campaign == "Campaign0009"


@pytest.mark.parametrize(
    ("markup", "names"),
    [
        ('<img src="a.png"><IMG SRC="a.png">', ["a.png"]),
        ('<img src="http://x.example.com/a.png"><img src="//x/a.png"><img src="cid:a"><img src="data:,a">', []),
        ('<img src="[host]/a.png"><img src="/a.png"><img src=""><img>', []),
        ('<p style="background: url(a.png)">', ["a.png"]),
        ("<style>p {background: url('b.png')}</style>", ["b.png"]),
        ('<input type="image" src="c.gif"><input src="d.gif">', ["c.gif"]),
        ('<a href="page.html">', []),
        ("<style>@import url(x.css); p {background: url(a.WEBP?v=1)}</style>", ["a.WEBP?v=1"]),
        ("<style>@font-face {src: url(f.woff2), url('f.svg#f')} @Font-Face{src:url(g.ttf)}</style>", []),
        ('<img src="track.php?id=1"><img src="photo.jpeg"><img src="plain">', ["photo.jpeg"]),
        ('<?xml version="1.0" encoding="utf-16"?><img src="è.png">', ["è.png"]),
        ('<img src="http://[x">', []),
        ("", []),
        ("plain", []),
        ("<!-- <img src='a.png'> -->", []),
    ],
)
def test_images_that_lie_beside_the_message(markup: str, names: list[str]) -> None:
    assert shown_images(markup) == names


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("letter.eml", "application/octet-stream"),
        ("page.mht", "application/octet-stream"),
        ("page.MHTML", "application/octet-stream"),
        ("all.tar.gz", "application/gzip"),
        ("all.tar.bz2", "application/octet-stream"),
        ("unknown", "application/octet-stream"),
        ("note.txt", "text/plain"),
    ],
)
def test_content_types_of_attachments(name: str, content_type: str) -> None:
    content = make_parcel({f"Attachments/{name}": b"x"}, Attachments="true")
    assert read_all(content)[2] == [ParcelFile(name, content_type, b"x")]


def test_content_types_of_images() -> None:
    names = {"a.webp": "image/webp", "b.JPG": "image/jpeg", "c.svg": "image/svg+xml"}
    markup = "".join(f'<img src="{name}">' for name in names).encode()
    content = make_parcel({"Markup.htm": markup, **dict.fromkeys(names, b"x")})
    assert {image.name: image.content_type for image in read_all(content)[3]} == names


def test_folders_may_be_separated_by_backslashes() -> None:
    content = make_parcel(
        {"Attachments\\": b"", "Attachments\\a.txt": b"a", "Markup.htm": b'<img src="img/a.png">', "img\\a.png": b"i"},
        Attachments="true",
    )
    _, _, attachments, images, _ = read_all(content)
    assert attachments == [ParcelFile("a.txt", "text/plain", b"a")]
    assert [(image.name, image.content) for image in images] == [("img/a.png", b"i")]


def test_names_of_images_may_be_quoted() -> None:
    content = make_parcel({"Markup.htm": b'<img src="./my%20logo.png">', "my logo.png": b"x"})
    assert [image.name for image in read_all(content)[3]] == ["./my%20logo.png"]


@given(st.integers(0, 2_000), st.integers(0, 255))
def test_a_damaged_byte_is_refused_or_harmless(place: int, value: int) -> None:
    content = bytearray(make_parcel())
    content[place % len(content)] = value
    try:
        read_all(bytes(content))
    except FileRefused as refused:
        assert refused.text


@given(st.text(max_size=200))
def test_any_markup_can_be_looked_through(markup: str) -> None:
    shown_images(markup)


def test_a_member_that_is_longer_than_its_directory_says() -> None:
    content = bytearray(make_parcel())
    entry = content.index(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = (10).to_bytes(4, "little")
    with pytest.raises(FileRefused) as refused, open_parcel(io.BytesIO(bytes(content))) as parcel:
        assert isinstance(parcel, Parcel)
    assert refused.value.text == NO_ZIP
