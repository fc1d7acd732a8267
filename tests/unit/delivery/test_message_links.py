"""Special links and tracked links (specification §6.2): what stands in a mail in place of each."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from rendered_mail import ADA, SECRET, make_context, render

from delivery.messages import MessageSettings
from delivery.tracking_links import LinkSigner

LINKS = LinkSigner(SECRET, 7, "https://mail.example.com").of_recipient(12, 77, "ada@example.org")
UNSUBSCRIBE = LINKS.unsubscribe_url((3,), make_context().issued_at)
WEB = LINKS.web_version_url()
CLICK = LINKS.click_url(0)
TRACKING = MessageSettings(track_links=True)

SPECIAL = [
    ("http://[unsubscribe]/", UNSUBSCRIBE),
    ("http://[unsubscribe]", UNSUBSCRIBE),
    ("https://[UNSUBSCRIBE]/", UNSUBSCRIBE),
    ("http://[unsubscribe]/?x=1", UNSUBSCRIBE),
    ("/frontend/nl_preview_window.aspx?idNL=12", WEB),
    ("http://[host]/frontend/nl_preview_window.aspx?idNL=12&amp;x=[email]", WEB),
    ("http://[track]/https://x.example/a?b=1", CLICK),
    ("http://[TRACK]/mailto:bob@example.net", CLICK),
    ("http://[track]/ftp://x.example/a", CLICK),
    ("http://[track]/javascript:alert(1)", "javascript:alert(1)"),
    ("http://[track]/", "http://[track]/"),
    ("https://x.example/", "https://x.example/"),
    ("#top", "#top"),
    ("", ""),
]


@pytest.mark.parametrize(("url", "expected"), SPECIAL)
@pytest.mark.parametrize("form", ['<a href="{}">x</a>', "<a class=b href='{}'>x</a>", '<AREA\nHREF = "{}" >'])
def test_special_link_in_html(form: str, url: str, expected: str) -> None:
    assert render(form.format(url)).html == form.format(expected)


@pytest.mark.parametrize(("url", "expected"), [row for row in SPECIAL if "://" in row[0] and "java" not in row[0]])
def test_special_link_in_text(url: str, expected: str) -> None:
    url = unescape(url)
    assert render(text=f"Click ({url}), or not: {url}.").text == f"Click ({expected}), or not: {expected}."


def test_special_links_shown_in_html() -> None:
    assert render("<p>http://[unsubscribe]/ x</p>").html == f"<p>{UNSUBSCRIBE} x</p>"


def test_confirm_link() -> None:
    rendered = render('<a href="http://[confirm]/">x</a>')
    found = re.fullmatch(r'<a href="https://mail\.example\.com/confirm/[\w-]{30,}">x</a>', rendered.html)
    assert found
    assert rendered.text.startswith("x <https://mail.example.com/confirm/")


TRACKED = [
    # Link, settings, and where it leads if it is tracked.
    ("https://x.example/", {}, "https://x.example/"),
    ("http://x.example/", {"tracked_schemes": ("https",)}, None),
    ("HTTPS://x.example/", {"tracked_schemes": ("https",)}, "HTTPS://x.example/"),
    ("mailto:bob@example.net", {}, None),
    ("mailto:bob@example.net", {"tracked_schemes": ("mailto",)}, "mailto:bob@example.net"),
    ("ftp://x.example/", {"tracked_schemes": ("ftp",)}, "ftp://x.example/"),
    ("news:comp.lang", {"tracked_schemes": ("news",)}, "news:comp.lang"),
    ("javascript:x()", {"tracked_schemes": ("javascript",)}, None),
    ("/relative", {}, None),
    ("#top", {}, None),
    ("tel:+39123", {}, None),
    ("https://x.example/?a=1&amp;b=2", {}, "https://x.example/?a=1&b=2"),
    ("https://x.example/?a=1&copy=2", {}, "https://x.example/?a=1&copy=2"),
    ("https://x.example/", {"link_parameters": "utm=1"}, "https://x.example/?utm=1"),
    ("https://x.example/?a=1", {"link_parameters": "?utm=1&v=2"}, "https://x.example/?a=1&utm=1&v=2"),
    ("https://x.example/?a=1#f", {"link_parameters": "&utm=1"}, "https://x.example/?a=1&utm=1#f"),
    ("https://x.example/#f", {"link_parameters": "utm=1"}, "https://x.example/?utm=1#f"),
    ("https://x.example/?", {"link_parameters": "utm=1"}, "https://x.example/?utm=1"),
    ("mailto:b@example.net", {"tracked_schemes": ("mailto",), "link_parameters": "u=1"}, "mailto:b@example.net"),
    ("http://[track]/https://x.example/", {"link_parameters": "utm=1"}, "https://x.example/?utm=1"),
    ("http://[host]/p", {}, "http://mail.example.com/p"),
    ("http://[host]/p", {"link_parameters": "utm=1"}, "http://mail.example.com/p?utm=1"),
    ("mailto:?subject=Hi", {"tracked_schemes": ("mailto",)}, "mailto:?subject=Hi"),
    ("https://x.exam\r\n\tple/a\nb", {}, "https://x.example/ab"),
    ("http://user:pw@x.example/", {}, None),
    ("http:x.example", {}, None),
    ("https://x.example:99999/", {}, None),
    ("https://ex%61mple.com/", {}, None),
    ("https://x.example/" + "a" * 8000, {}, None),
]


@pytest.mark.parametrize(("url", "settings", "target"), TRACKED)
def test_tracked_link(url: str, settings: dict[str, Any], target: str | None) -> None:
    rendered = render(f'<a href="{url}">x</a>', settings=MessageSettings(track_links=True, **settings))
    assert rendered.compiled.links == ((target,) if target else ())
    assert rendered.html == f'<a href="{CLICK if target else url}">x</a>'


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://x.example/?e=[email]", "https://x.example/?e=ada%40example.org"),
        ("https://x.example/[nome]", "https://x.example/Ada"),
        ("[campo7]", "https://example.net/a?b=1"),
        ("http://[host]/p?n=[nome]", "http://mail.example.com/p?n=Ada"),
        ("http:[nome]", "http:Ada"),
    ],
)
def test_tracked_link_that_is_each_recipients_own(url: str, target: str) -> None:
    rendered = render(f'<a href="{url}">x</a>', settings=TRACKING)
    assert rendered.compiled.links == (url,)
    assert rendered.html == f'<a href="{LINKS.click_url(0, target)}">x</a>'


def test_own_link_that_leads_nowhere() -> None:
    person = ADA._replace(fields={"7": "javascript:alert(1)"})
    assert render('<a href="[campo7]">x</a>', person, settings=TRACKING).html == '<a href="">x</a>'


def test_places_count_from_0_and_both_parts_share_them() -> None:
    html = '<a href="https://x.example/b">1</a><a href="https://x.example/a">2</a><a href="https://x.example/b">3</a>'
    rendered = render(html, text="https://x.example/a and https://x.example/c", settings=TRACKING)
    assert rendered.compiled.links == ("https://x.example/a", "https://x.example/c", "https://x.example/b")
    places = [int(place) for place in re.findall(r"/c/[\w-]+/(\d+)", rendered.html)]
    assert places == [2, 0, 2]
    assert re.findall(r"/c/[\w-]+/(\d+)", rendered.text) == ["0", "1"]


def test_places_stay_for_rows_with_values() -> None:
    html = '<a href="https://x.example/[code]">1</a><a href="https://x.example/a">2</a>'
    rendered = render(html, settings=TRACKING)
    before = rendered.compiled.links
    page = rendered.compiled.render_html(ADA._replace(values={"code": "A 7"}))
    assert rendered.compiled.links == before == ("https://x.example/[code]", "https://x.example/a")
    assert LINKS.click_url(0, "https://x.example/A%207") in page


@pytest.mark.parametrize(
    "html",
    [
        '<link href="https://x.example/style.css">',
        '<base href="https://x.example/">',
        '<img src="https://x.example/a.png">',
        "<p>https://x.example/</p>",
    ],
)
def test_what_is_no_link_is_not_tracked(html: str) -> None:
    assert render(html, settings=TRACKING).html == html


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("See https://x.example/a.", "https://x.example/a"),
        ("(https://x.example/a_(b))", "https://x.example/a_(b)"),
        ("<https://x.example/a>", "https://x.example/a"),
        ('"https://x.example/a"', "https://x.example/a"),
        ("https://x.example/a?b, c", "https://x.example/a?b"),
        ("https://x.example/[nome]!", "https://x.example/[nome]"),
    ],
)
def test_link_in_text_ends_where_it_ends(text: str, link: str) -> None:
    rendered = render(text=text, settings=TRACKING)
    assert rendered.compiled.links == (link,)
    start, _, end = text.partition(link)
    assert rendered.text.startswith(f"{start}https://mail.example.com/c/")
    assert rendered.text.endswith(end)


def test_without_a_sending_nothing_is_tracked() -> None:
    html = '<a href="http://[track]/https://x.example/">x</a><a href="https://x.example/b">x</a></body>'
    rendered = render(html, settings=TRACKING, sending_id=0, listed={"track_opens": True})
    assert rendered.html == '<a href="https://x.example/">x</a><a href="https://x.example/b">x</a></body>'
    assert rendered.compiled.links == ()


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<p>x</p></BODY></html>", "<p>x</p>{}</BODY></html>"),
        ("<p>x</p>", "<p>x</p>{}"),
        ("<!-- </body> --><p>x</p></body>", "<!-- </body> --><p>x</p>{}</body>"),
    ],
)
def test_open_pixel(html: str, expected: str) -> None:
    pixel = f'<img src="{LINKS.open_url()}" width="1" height="1" alt="">'
    rendered = render(html, listed={"track_opens": True})
    assert rendered.html == expected.format(pixel)
    assert rendered.compiled.render_html(ADA) == html
