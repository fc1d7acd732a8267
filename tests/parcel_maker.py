"""Makes the ZIP archives and tables that partners drop into the folders whose files send."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from xml.sax.saxutils import escape

SETTINGS: dict[str, dict[str, object]] = {
    "Header": {"ActionType": "full", "CampaignCode": "Campaign0009", "FormatVersion": "0.1", "NotifyEmail": ""},
    "Content": {
        "ListId": "1",
        "ListGUID": "",
        "SenderName": "The shop",
        "SenderEmail": "shop@example.com",
        "ReplyToEmail": "",
        "EmailSubject": "News [1]",
        "ScheduleDateTime": "",
        "Notes": "weekly",
    },
    "AdvancedSettings": {
        "Separator": ";",
        "Attachments": "false",
        "DynamicFields": "true",
        "EmbeddedImages": "true",
        "LinkTracking": "true",
        "HttpLinkTracking": "true",
        "HttpsLinkTracking": "true",
        "MailToTracking": "false",
        "FtpTracking": "false",
        "NewsTracking": "false",
        "QueryStringAdditionalParams": "source=mail",
        "ContentOverride": {"MessageId": "", "CloneMessage": "false"},
        "SendType": "",
        "Transactional": {"Username": "", "Password": "", "AggregationCode": "", "KeepDuplicates": "false"},
    },
}
"""The sample, by section and element."""

MARKUP = b'<html><body><p>Dear [nome], [Code]</p><a href="https://shop.example.com/">Shop</a></body></html>'
PEOPLE = b"111;1;2\nann@example.com;Ann;Abel\nbob@example.com;Bob;Baker\n"


def write_settings(*, without: str = "", **values: object) -> bytes:
    """Return a `Settings.xml`: the sample with other texts in some elements, and without one of them."""
    left = dict(values)
    sections = "".join(f"<{name}>{_write(inner, left, without)}</{name}>" for name, inner in SETTINGS.items())
    assert not left, left
    return f'<?xml version="1.0" encoding="utf-8"?>\n<FtpZip>{sections}</FtpZip>'.encode()


def _write(elements: Mapping[str, object], values: dict[str, object], without: str) -> str:
    text = ""
    for name, value in elements.items():
        if name == without:
            continue
        inner = _write(value, values, without) if isinstance(value, dict) else escape(str(values.pop(name, value)))
        text += f"<{name}>{inner}</{name}>"
    return text


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return a ZIP archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def make_parcel(files: Mapping[str, bytes] | None = None, *, leave_out: str = "", **settings: object) -> bytes:
    """Return a parcel of the sample's settings with others, the sample's files and more of them."""
    content = {"Settings.xml": write_settings(**settings), "Markup.htm": MARKUP, "Recipients.csv": PEOPLE}
    content |= files or {}
    content.pop(leave_out, None)
    return pack(content)


SMS_LINES = ("author@example.com", "", "I", "Shop", "", "Spring", "C1")
SMS_TABLE = "MOBILE NUMBER;TEXT;Name;UNICODE\n+393331234567;Hello [name];Ann;\n3331234568;Hello [Name];Bob;\n"


def make_sms(*, table: str = SMS_TABLE, mark: bytes = b"\xef\xbb\xbf", **lines: str) -> bytes:
    """Return a table of text messages; `row3="A"` replaces the text of a line."""
    texts = [lines.get(f"row{place}", text) for place, text in enumerate(SMS_LINES, 1)]
    return mark + ("".join(f"#{text};;;\n" for text in texts) + table).encode()
