"""What a whole mail is made of: its parts, its header, what lists add to it, and what can never be sent."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta, timezone
from email.message import EmailMessage
from typing import Any, cast

import pytest
from rendered_mail import ADA, make_context, render

from delivery.compiling import MessageContent, compile_message
from delivery.errors import InvalidMessage
from delivery.messages import MessageFile
from delivery.return_paths import write_return_path
from delivery.sendings import Sender

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
LOGO = MessageFile("image", "img/logo.png?v=1", "image/png", PNG)
PDF = MessageFile("attachment", "Preisliste für Änne.pdf", "application/pdf", b"%PDF-\0\r\n" * 50)


def shape(mail: EmailMessage) -> Any:
    if mail.is_multipart():
        return [mail.get_content_subtype(), *(shape(cast("EmailMessage", part)) for part in mail.iter_parts())]
    return mail.get_content_type()


BOTH = ["alternative", "text/plain", "text/html"]


@pytest.mark.parametrize(
    ("html", "text", "files", "listed", "expected"),
    [
        ("<p>x", "y", (), {}, BOTH),
        ("<p>x", "", (), {}, BOTH),
        ("", "y", (), {}, "text/plain"),
        ("<p>x", "", (), {"format": "text"}, "text/plain"),
        ("<p>x", "", (LOGO,), {}, ["related", BOTH, "image/png"]),
        ("<p>x", "", (LOGO,), {"format": "text"}, "text/plain"),
        ("<p>x", "", (PDF,), {}, ["mixed", BOTH, "application/pdf"]),
        ("", "y", (PDF,), {}, ["mixed", "text/plain", "application/pdf"]),
        ("<p>x", "", (LOGO, PDF), {}, ["mixed", ["related", BOTH, "image/png"], "application/pdf"]),
    ],
)
def test_parts(html: str, text: str, files: tuple[MessageFile, ...], listed: dict[str, Any], expected: Any) -> None:
    assert shape(render(html, text=text, files=files, listed=listed).mail) == expected


@pytest.mark.parametrize(
    "html",
    [
        '<p style="color:red;background:url({})">x</p>',
        '<p style="background:URL( &quot;{}&#34; )">x</p>',
        "<p style=\"background:url('{}')\">x</p>",
        "<style>p {{background: url({})}} q {{background: url(other.png)}}</style>",
        '<style>p {{background: url( "{}" )}}</style>',
    ],
)
def test_images_in_style_sheets(html: str) -> None:
    image = MessageFile("image", "bg.png", "image/png", PNG)
    rendered = render(html.format("bg.png"), files=(image,))
    found = re.search(r"url\((cid:[^()\"' ]+)\)", rendered.html, re.IGNORECASE)
    assert found is not None
    shown = next(part for part in rendered.mail.walk() if part.get_content_type() == "image/png")
    assert found[1] == f"cid:{shown['Content-ID'].strip('<>')}"
    assert "(data:image/png;base64," in rendered.compiled.render_html(ADA)
    assert rendered.html.count("cid:") == 1
    assert render(html.format("bg.png")).html == html.format("bg.png")


def test_files_arrive_as_they_are() -> None:
    rendered = render('<img src="img/logo.png?v=1"><img src="other.png">', files=(LOGO, PDF))
    (attachment,) = rendered.mail.iter_attachments()
    assert attachment.get_filename() == PDF.name
    assert attachment.get_content() == PDF.content
    (image,) = (part for part in rendered.mail.walk() if part.get_content_type() == "image/png")
    assert image.get_payload(decode=True) == PNG
    assert image.get_filename() == "logo.png"
    address = image["Content-ID"].strip("<>")
    assert rendered.html == f'<img src="cid:{address}"><img src="other.png">'
    assert rendered.compiled.render_html(ADA).startswith(
        f'<img src="data:image/png;base64,{base64.b64encode(PNG).decode()}"'
    )


@pytest.mark.parametrize(
    ("name", "content_type", "read_name", "read_type"),
    [
        ("a.txt", "text/plain", "a.txt", "text/plain"),
        ('a"b\\c.txt', "TEXT/PLAIN", 'a"b\\c.txt', "text/plain"),
        ("a\r\nBcc: x@example.com", "image/x\r\nBcc: y", "a Bcc: x@example.com", "application/octet-stream"),
        ("é" * 120 + ".pdf", "application/pdf", "é" * 120 + ".pdf", "application/pdf"),
        ("a.eml", "message/rfc822", "a.eml", "application/octet-stream"),
        ("a", "multipart/mixed; boundary=x", "a", "application/octet-stream"),
        ("../../etc/passwd", "", "../../etc/passwd", "application/octet-stream"),
    ],
)
def test_names_of_files(name: str, content_type: str, read_name: str, read_type: str) -> None:
    rendered = render(text="x", files=(MessageFile("attachment", name, content_type, b"content"),))
    (attachment,) = rendered.mail.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content_type()) == (read_name, read_type)
    assert attachment.get_payload(decode=True) == b"content"
    assert "Bcc" not in rendered.mail
    assert attachment.keys() == ["Content-Type", "Content-Transfer-Encoding", "Content-Disposition"]


def test_large_attachment_is_encoded_once() -> None:
    content = bytes(range(256)) * 4096 * 25
    files = (MessageFile("attachment", "a.bin", "application/x-a", content),)
    raw = compile_message(MessageContent(subject="x", text="x", files=files), make_context()).render(ADA).content
    encoded = raw.rpartition(b"\r\n\r\n")[2].partition(b"\r\n--=_m")[0]
    assert base64.b64decode(encoded) == content


@pytest.mark.parametrize(
    ("charset", "text", "value", "expected"),
    [
        ("utf-8", "è", "è", "utf-8"),
        ("iso-8859-1", "è", "è", "iso-8859-1"),
        ("iso-8859-1", "è", "€", "utf-8"),
        ("iso-8859-1", "€", "è", "utf-8"),
        ("windows-1252", "€", "è", "windows-1252"),
        ("koi8-r", "привет", "мир", "koi8-r"),
        ("shift_jis", "日本ソ", "語", "shift_jis"),
        ("iso-2022-jp", "日本", "語", "iso-2022-jp"),
        ("utf-16", "è", "è", "utf-8"),
        ("utf-7", "è", "è", "utf-8"),
        ("raw_unicode_escape", "è", "è", "utf-8"),
        ("base64", "è", "è", "utf-8"),
        ("no-such-thing", "è", "è", "utf-8"),
    ],
)
def test_charset_of_the_list(charset: str, text: str, value: str, expected: str) -> None:
    rendered = render(
        f"<p>{text} [nome]</p>",
        text=f"{text} [nome]",
        person=ADA._replace(fields={"1": value}),
        listed={"charset": charset},
    )
    assert rendered.text == f"{text} {value}"
    assert rendered.html == f"<p>{text} {value}</p>"
    assert {part.get_content_charset() for part in rendered.mail.iter_parts()} == {expected}
    # The next one gets the list's own again.
    again = rendered.compiled.render(ADA._replace(fields={"1": "x"})).content
    assert (f"charset={charset}".encode() in again) == (expected == charset or value == "€")


def test_text_part_made_from_html() -> None:
    html = (
        "<html><head><style>p {}</style><title>t</title></head><body><h1>Hello [nome]</h1><p>One<br>two &amp; three</p>"
        '<p><a href="https://x.example/?a=1&copy=2">Shop</a> <a href="https://y.example/">https://y.example/</a></p>'
        '<p><a href="mailto:a@example.net">a@example.net</a> <a href="#top">up</a></p>'
        '<ul><li>A</li><li>B</li></ul><a href="http://[unsubscribe]/">Leave</a></body></html>'
    )
    text = render(html).text
    assert text.startswith("Hello Ada\n\nOne\ntwo & three\n\nShop <https://x.example/?a=1&copy=2> https://y.example/")
    assert "a@example.net up" in text
    assert re.search(r"Leave <https://mail\.example\.com/unsubscribe/[\w-]+>$", text)


@pytest.mark.parametrize("html", ["<", "<!-- x", "&nbsp;", "<p", "\x01<p>x\x0c</p>", "<div>" * 500 + "x", "<?xml x"])
def test_text_part_made_from_odd_html(html: str) -> None:
    assert isinstance(render(html).text, str)


def test_own_text_is_left_alone() -> None:
    assert render("<p>html</p>", text="  own\n\n text ", listed={"text_part": True}).text == "  own\n\n text "


def test_disclaimer_and_conversion_code() -> None:
    listed = {"disclaimer": "Shop & Co, [host]\nhttp://[unsubscribe]/", "conversion_code": "<!-- code [nome] -->"}
    rendered = render("<body><p>x</p></body>", listed=listed)
    link = re.search(r"https://mail\.example\.com/unsubscribe/[\w-]+", rendered.text)
    assert link is not None
    expected = f"<p>Shop &amp; Co, mail.example.com<br>{link[0]}</p><!-- code Ada -->"
    assert rendered.html == f"<body><p>x</p>{expected}</body>"
    assert rendered.text.endswith(f"\n\nShop & Co, mail.example.com\n{link[0]}")


def test_disclaimer_with_markup_stays_markup() -> None:
    rendered = render(
        "<p>x</p>", text="y", listed={"disclaimer": '<b>Shop</b> <a href="http://[unsubscribe]/">bye</a>'}
    )
    assert rendered.html.startswith('<p>x</p><b>Shop</b> <a href="https://mail.example.com/unsubscribe/')
    assert rendered.text.startswith("y\n\nShop bye <https://mail.example.com/unsubscribe/")


def test_usual_header() -> None:
    rendered = render("<p>x</p>", subject="News for [nome]", listed={"to_name": "field:1,field:2", "abuse_header": "A"})
    mail = rendered.mail
    assert mail.keys() == [
        "Message-ID",
        "Date",
        "From",
        "To",
        "Subject",
        "MIME-Version",
        "X-Abuse",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
        "List-ID",
        "Feedback-ID",
        "Precedence",
        "Content-Type",
    ]
    assert not [part.defects for part in mail.walk() if part.defects]
    assert mail["Date"].datetime == datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
    assert mail["From"] == "Shop <shop@example.com>"
    assert mail["To"] == "Ada Lovelace <ada@example.org>"
    assert mail["Subject"] == "News for Ada"
    assert mail["X-Abuse"] == "A"
    assert mail["List-ID"] == "News <l3.a7.mail.example.com>"
    assert mail["Feedback-ID"] == "12:3:7:mail.example.com"
    assert mail["Precedence"] == "bulk"
    assert re.fullmatch(r"<5\.77\.12\.[0-9a-f]{20}@mail\.example\.com>", mail["Message-ID"])
    assert rendered.recipient == "ada@example.org"


def test_the_same_person_gets_the_same_bytes() -> None:
    rendered = render("<p>[nome]</p>", files=(LOGO, PDF))
    assert rendered.compiled.render(ADA).content == rendered.raw == render("<p>[nome]</p>", files=(LOGO, PDF)).raw
    assert rendered["Message-ID"] != render("<p>[nome]</p>", ADA._replace(delivery_id=6))["Message-ID"]
    assert rendered["Message-ID"] != render("<p>[nome]</p>", secret_key="1" * 64)["Message-ID"]


def test_mail_that_is_not_bulk_does_not_say_so() -> None:
    mail = render(text="x", bulk=False).mail
    assert not {"List-Unsubscribe", "List-Unsubscribe-Post", "List-ID", "Feedback-ID", "Precedence"} & set(mail.keys())
    assert "Auto-Submitted" not in mail


PAGE = r"<https://mail\.example\.com/unsubscribe/[\w-]+>"
MAILBOX = r"<mailto:bounces\+u[0-9a-f]+@bounce\.example\.com>"


@pytest.mark.parametrize(
    ("header", "domain", "expected", "one_click"),
    [
        ("", "bounce.example.com", f"{PAGE}, {MAILBOX}", True),
        ("", "", PAGE, True),
        ("<[listunsubscribe]>,<[mailto_uns]>", "bounce.example.com", f"{PAGE}, {MAILBOX}", True),
        ("<mailto:[mailto_uns]>, <[LISTUNSUBSCRIBE]>", "bounce.example.com", f"{MAILBOX}, {PAGE}", True),
        ("<[mailto_uns]>", "bounce.example.com", MAILBOX, False),
        ("<[mailto_uns]>", "", PAGE, True),
        ("<http://[listunsubscribe]/>", "", PAGE, True),
        ("<https://x.example/u?e=[email]>", "", r"<https://x\.example/u\?e=ada%40example\.org>", False),
        ("<mailto:bye@example.com?subject=[idu] [nome]>", "", "<mailto:bye@example.com\\?subject=77%20Ada>", False),
        ("nothing", "", PAGE, True),
        ("<javascript:x>", "", PAGE, True),
        ("<x\r\nBcc: y>", "", PAGE, True),
    ],
)
def test_list_unsubscribe(header: str, domain: str, expected: str, one_click: bool) -> None:
    mail = render(text="x", listed={"unsubscribe_header": header}, bounce_domain=domain).mail
    assert re.fullmatch(expected, str(mail["List-Unsubscribe"]))
    assert mail["List-Unsubscribe-Post"] == ("List-Unsubscribe=One-Click" if one_click else None)
    assert "Bcc" not in mail


@pytest.mark.parametrize(
    ("form", "fields", "expected"),
    [
        ("", {}, "ada@example.org"),
        ("field:1", {"1": "Ada"}, "Ada <ada@example.org>"),
        ("field:1, field:2", {"1": "Ada"}, "Ada <ada@example.org>"),
        ("field:1;field:2", {"1": "Ada", "2": "King"}, "Ada King <ada@example.org>"),
        ("field:1", {}, "friend <ada@example.org>"),
        ("field:2", {}, "ada@example.org"),
        ("Dear field:1", {"1": "Ada"}, "Dear Ada <ada@example.org>"),
        ("Members", {}, "Members <ada@example.org>"),
        ("field:1", {"1": 'A. "B" \\ C'}, '"A. \\"B\\" \\\\ C" <ada@example.org>'),
        ("field:1", {"1": "Ada <x@example.net>, y"}, '"Ada <x@example.net>, y" <ada@example.org>'),
        ("field:1", {"1": "Zoë 🎉 שלום"}, "Zoë 🎉 שלום <ada@example.org>"),
        ("field:1", {"1": "=?utf-8?q?x?="}, "=?utf-8?q?x?= <ada@example.org>"),
    ],
)
def test_name_of_the_recipient(form: str, fields: dict[str, str], expected: str) -> None:
    mail = render(text="x", person=ADA._replace(fields=fields), listed={"to_name": form}).mail
    (address,) = mail["To"].addresses
    assert address.addr_spec == "ada@example.org"
    assert str(address) == expected


@pytest.mark.parametrize(
    ("sender", "listed", "from_", "reply_to"),
    [
        (Sender(), {}, "Shop <shop@example.com>", None),
        (Sender(email="x@example.net"), {}, "Shop <x@example.net>", None),
        (Sender(name="Zoë, & Co"), {}, '"Zoë, & Co" <shop@example.com>', None),
        (Sender(reply_to="r@example.net"), {"reply_to": "l@example.com"}, "Shop <shop@example.com>", "r@example.net"),
        (Sender(), {"reply_to": "l@example.com", "sender_name": ""}, "shop@example.com", "l@example.com"),
        (Sender(email="shop@bücher.example"), {}, "Shop <shop@xn--bcher-kva.example>", None),
    ],
)
def test_sender(sender: Sender, listed: dict[str, Any], from_: str, reply_to: str | None) -> None:
    mail = render(text="x", sender=sender, listed=listed).mail
    assert mail["From"] == from_
    assert mail["Reply-To"] == reply_to


@pytest.mark.parametrize(
    ("email", "envelope"),
    [
        ("bob@bücher.example", "bob@xn--bcher-kva.example"),
        ("bob@faß.example", "bob@xn--fa-hia.example"),
        ("jörg@bücher.example", "jörg@xn--bcher-kva.example"),
        ("用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v"),
        ("o'brien+x@example.com", "o'brien+x@example.com"),
    ],
)
def test_international_address(email: str, envelope: str) -> None:
    rendered = render(text="[email]", person=ADA._replace(email=email))
    assert rendered.recipient == envelope
    assert f"To: <{envelope}>\r\n".encode() in rendered.raw
    assert rendered.text == email


@pytest.mark.parametrize(
    "email",
    [
        "a@b@example.com",
        "a@example.com\r\nBcc: x",
        "a b@example.com",
        "a,b@example.com",
        "<a@example.com>",
        "",
        "a",
        "a@",
        "a\0@example.com",
        "a\u2028@example.com",
        "a\ud800@example.com",
    ],
)
def test_address_that_could_be_two(email: str) -> None:
    compiled = render(text="x").compiled
    with pytest.raises(InvalidMessage):
        compiled.render(ADA._replace(email=email))


def test_return_path() -> None:
    expected = write_return_path("ab" * 32, 7, 12, 77, "bounce.example.com")
    assert render(text="x", secret_key="ab" * 32).return_path == expected
    assert render(text="x", bounce_domain="").return_path == "shop@example.com"
    assert (
        render(text="x", bounce_domain="", listed={"bounce_email": "b@bücher.example"}).return_path
        == "b@xn--bcher-kva.example"
    )
    assert render(text="x", bounce_domain="", sender=Sender(email="s@example.net")).return_path == "s@example.net"


def test_time_zone_of_the_date() -> None:
    issued = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=-3)))
    assert render(text="x", issued_at=issued)["Date"] == "Fri, 02 Jan 2026 03:04:05 -0300"


@pytest.mark.parametrize(
    ("html", "text", "listed"),
    [
        ("", "", {}),
        (" \n", "\t", {}),
        ("<p>x", "", {"sender_email": ""}),
        ("<p>x", "", {"sender_email": "shop"}),
        ("<p>x", "", {"sender_email": "a@example.com\nBcc: x"}),
        ("<p>x", "", {"reply_to": "a@example.com\nBcc: x"}),
        ("<p>x", "", {"sender_email": "a@\u0378.example"}),
    ],
)
def test_what_can_never_be_sent(html: str, text: str, listed: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage):
        render(html, text=text, listed=listed)


def test_what_is_secret_is_not_shown() -> None:
    compiled = render('<a href="http://[confirm]/">[_hash]</a>', secret_key="ab" * 32).compiled
    assert "abab" not in repr((compiled._context, compiled._usual, compiled._usual.form._sources))
