"""Where something stands in HTML; all of it comes out again, and hostile HTML takes no longer than other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.html_scanner import escape_bare, read_value, scan


def places(html: str) -> list[tuple[str, str]]:
    return [(place, text) for place, text in scan(html) if text]


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("a < b & c", [("text", "a < b & c")]),
        ("<p>x", [("tag", "<p>"), ("text", "x")]),
        ("</p >", [("tag", "</p >")]),
        ("<a href=x>", [("tag", "<a href="), ("link", "x"), ("tag", ">")]),
        ("<a HREF = 'x>y' b>", [("tag", "<a HREF = '"), ("link", "x>y"), ("tag", "' b>")]),
        ('<p title="a>b">c', [("tag", '<p title="'), ("value", "a>b"), ("tag", '">'), ("text", "c")]),
        (
            "<p title=don't>x</p>",
            [("tag", "<p title="), ("tag", "don't"), ("tag", ">"), ("text", "x"), ("tag", "</p>")],
        ),
        ('<img src="x"/>', [("tag", '<img src="'), ("source", "x"), ("tag", '"/>')]),
        ('<link href="x">', [("tag", '<link href="'), ("source", "x"), ("tag", '">')]),
        ("<[x]>", [("tag", "<[x]>")]),
        (
            "<!-- <a href=x> -->",
            [("text", "<!-- "), ("tag", "<a href="), ("link", "x"), ("tag", ">"), ("text", " -->")],
        ),
        ('<a href="x', [("tag", '<a href="'), ("link", "x")]),
        ("<a href=", [("tag", "<a href=")]),
        ('<a "b" href=x>', [("tag", '<a "b" href='), ("link", "x"), ("tag", ">")]),
        ("<a =b href=x>", [("tag", "<a =b href="), ("link", "x"), ("tag", ">")]),
        ('<a href="">', [("tag", '<a href="'), ("tag", '">')]),
        ('<p style="a">', [("tag", '<p style="'), ("style", "a"), ("tag", '">')]),
        ("<style>a<b></STYLE >", [("tag", "<style>"), ("sheet", "a<b>"), ("tag", "</STYLE >")]),
        (
            "<Script src=x>a</scripts></script",
            [("tag", "<Script src="), ("source", "x"), ("tag", ">"), ("script", "a</scripts></script")],
        ),
        ("<styles>a<b>", [("tag", "<styles>"), ("text", "a"), ("tag", "<b>")]),
        ("<!-- <style> -->a<b>", [("text", "<!-- "), ("tag", "<style>"), ("text", " -->a"), ("tag", "<b>")]),
        ("<!--a--><style><b>", [("text", "<!--a-->"), ("tag", "<style>"), ("sheet", "<b>")]),
    ],
)
def test_places(html: str, expected: list[tuple[str, str]]) -> None:
    assert places(html) == expected


@given(
    st.text(alphabet="<>/\"'= \n[]!-aphrefsrc&;", max_size=80)
    | st.lists(st.sampled_from(["<style>", "</style>", "<!--", "-->", "a"])).map("".join)
)
def test_nothing_is_lost(html: str) -> None:
    assert "".join(text for _, text in scan(html)) == html


@pytest.mark.parametrize(
    "piece",
    [
        "<",
        "<a",
        '<a "',
        "<a href='",
        "<a href=",
        "<!--",
        "<a b ",
        "</",
        "<[",
        "&",
        '<a href="x" ',
        "<style>",
        "<!--<style>",
    ],
)
def test_hostile_html_takes_linear_time(piece: str) -> None:
    # What is quadratic would take minutes.
    html = piece * (300_000 // len(piece))
    assert sum(len(text) for _, text in scan(html)) == len(html)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a&amp;b", "a&b"),
        ("a&#38;b&#x26;c", "a&b&c"),
        ("a&copy=1", "a&copy=1"),
        ("&copy;", "©"),
        ("&nosuch;", "&nosuch;"),
        ("&#0;", "\ufffd"),
    ],
)
def test_values_of_attributes(text: str, expected: str) -> None:
    assert read_value(text) == expected


def test_bare_values_end_nothing() -> None:
    assert escape_bare("a_1.b >\t\"'`=/") == "a&#95;1.b&#32;&#62;&#9;&#34;&#39;&#96;&#61;&#47;"
