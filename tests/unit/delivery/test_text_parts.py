"""Text made from HTML: it reads well, and odd or hostile HTML takes no longer than other."""

from __future__ import annotations

import pytest
from rendered_mail import ADA, make_context

from delivery.compiling import compile_message
from delivery.message_context import MessageContent
from delivery.messages import MessageSettings
from delivery.text_parts import make_text

TABLE = "<table><tr><td>A</td><td>1</td></tr><tr><td>B</td><td>2</td></tr></table>"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>a</p><p>b</p>", "a\n\nb"),
        ("a<br>b", "a\nb"),
        ("<h1>T</h1>x", "T\n\nx"),
        ("a &amp; b &lt;c&gt; &amp;lt; &copy; &amp;copy;", "a & b <c> &lt; © &copy;"),
        ("<script>x()</script><style>p{}</style>y", "y"),
        ("<!-- x -->y", "y"),
        ('<a href="https://x.example/">Shop</a>', "Shop <https://x.example/>"),
        ('<a href="https://x.example/?a=1&amp;b=2&copy=3"><img src="x"></a>', "<https://x.example/?a=1&b=2&copy=3>"),
        ('<a href="https://x.example/">https://x.example/</a>', "https://x.example/"),
        ('<a name="x">y</a><a href="#x">z</a>', "yz"),
        ("<a href='http://[unsubscribe]/'>Bye [nome]</a>", "Bye [nome] <http://[unsubscribe]/>"),
        ('<a href="https://x.example/a b">c</a>', "c <https://x.example/a%20b>"),
        (
            '<a href="https://x.example/a b">https://x.example/a b</a>',
            "https://x.example/a b <https://x.example/a%20b>",
        ),
        ('<a href="https://x.example/?a[]=%22&quot;&lt;&gt;">c</a>', "c <https://x.example/?a%5B%5D=%22%22%3C%3E>"),
        ('<a href="https://x.example/[Order No]">c</a>', "c <https://x.example/[Order No]>"),
        ('<a href=" https://x.exam\nple/a\t ">c</a>', "c <https://x.example/a>"),
        (TABLE, "A  1\nB  2"),
        ("<p>a</p>" + "<br>" * 9 + "<p>b</p>", "a\n\nb"),
        ("<ul><li>a<li>b</ul>", "* a\n  * b"),
        ("\0\x01a\x0cb\ud800", "ab"),
        ("", ""),
    ],
)
def test_text(html: str, text: str) -> None:
    assert make_text(html) == text


@pytest.mark.parametrize(
    "html",
    [
        "http://x" + ")" * 100_000,
        "<pre>" + " " * 100_000 + "x",
        "[" * 100_000,
        "http://[" * 12_000,
        "&" * 100_000,
        "<div>" * 20_000,
        "<table><tr><td>" * 6_000,
        "<a href='http://x.example/[nome]'>" * 1_000,
    ],
    ids=lambda html: html[:20],
)
def test_hostile_html_takes_linear_time(html: str) -> None:
    # What is quadratic would take minutes.
    content = MessageContent(subject="x", html=html, settings=MessageSettings(track_links=True))
    assert compile_message(content, make_context()).render(ADA).content
