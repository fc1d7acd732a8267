"""Merge tags (specification §6.1, §8 row 36): what each becomes, and what is left as it is."""

from __future__ import annotations

import re
import uuid

import pytest
from rendered_mail import ADA, render

from delivery.messages import MessageSettings

TAGS = [
    ("[email]", "ada@example.org"),
    ("[EMail]", "ada@example.org"),
    ("[prefix]", "+39"),
    ("[number]", "3331234567"),
    ("[idu]", "77"),
    ("[_idoptin]", "77"),
    ("[host]", "mail.example.com"),
    ("http://[host]/p", "http://mail.example.com/p"),
    ("[campo1]", "Ada"),
    ("[CAMPO2]", "Lovelace"),
    ("[nome]", "Ada"),
    ("[NOME] [cognome]", "Ada Lovelace"),
    ("[ nome ]", "Ada"),
    ("[Città]", "Roma & Ostia"),
    ("[CITTÀ]", "Roma & Ostia"),
    ("[campo9]", "Roma & Ostia"),
    ("[campo30]", ""),
    ("[campo0]", "[campo0]"),
    ("[campo]", "[campo]"),
    ("[campo1x]", "[campo1x]"),
    ("[campo-1]", "[campo-1]"),
    ("[campo١]", "[campo١]"),
    ("[nobody knows]", "[nobody knows]"),
    ("[]", "[]"),
    ("[[nome]]", "[Ada]"),
    ("[nome][nome]", "AdaAda"),
    ("[no\nme]", "[no\nme]"),
    ("[nome", "[nome"),
    ("a[1] = b[2]", "a[1] = b[2]"),
    ("[unsubscribe]", "[unsubscribe]"),
]


@pytest.mark.parametrize(("tag", "expected"), TAGS)
def test_tag_in_text(tag: str, expected: str) -> None:
    assert render(text=f"<{tag}>").text == f"<{expected}>"


@pytest.mark.parametrize(("tag", "expected"), TAGS)
def test_tag_in_html(tag: str, expected: str) -> None:
    escaped = expected.replace("Roma & Ostia", "Roma &amp; Ostia")
    assert render(f"<p>{tag}</p>").html == f"<p>{escaped}</p>"


@pytest.mark.parametrize(("tag", "expected"), [row for row in TAGS if "\n" not in row[0]])
def test_tag_in_subject(tag: str, expected: str) -> None:
    assert render(text="x", subject=f"A {tag}")["Subject"] == f"A {expected}".strip()


def test_hash_is_a_guid_that_stays() -> None:
    first = render(text="[_hash]").text
    assert str(uuid.UUID(first)) == first == render(text="Dear [_HASH]").text.removeprefix("Dear ")
    assert first != render(text="[_hash]", person=ADA._replace(recipient_id=78)).text
    assert first != render(text="[_hash]", secret_key="0" * 64).text


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({}, "friend"), ({"1": ""}, "friend"), ({"1": " "}, " "), ({"1": "Bob"}, "Bob"), ({"1": "0"}, "0")],
)
def test_default_only_where_there_is_no_value(fields: dict[str, str], expected: str) -> None:
    assert render(text="<[nome]>", person=ADA._replace(fields=fields)).text == f"<{expected}>"


@pytest.mark.parametrize("mobile", [None, ""])
def test_no_mobile_number(mobile: str | None) -> None:
    assert render(text="<[prefix][number]>", person=ADA._replace(mobile=mobile)).text == "<>"


@pytest.mark.parametrize(
    ("mobile", "prefix", "number"),
    [("+390212345678", "+39", "0212345678"), ("+14155550100", "+1", "4155550100"), ("+999123456", "", "+999123456")],
)
def test_mobile_number_in_two_parts(mobile: str, prefix: str, number: str) -> None:
    person = ADA._replace(mobile=mobile)
    assert render(text="<[prefix]|[number]>", person=person).text == f"<{prefix}|{number}>"


def test_tags_stay_where_the_message_has_none() -> None:
    rendered = render(
        '<p>[nome] [email]</p><a href="http://[host]/p">p</a><a href="http://[unsubscribe]/">u</a>',
        subject="[nome]",
        settings=MessageSettings(merge_fields=False),
    )
    assert "<p>[nome] [email]</p>" in rendered.html
    assert 'href="http://mail.example.com/p"' in rendered.html
    assert 'href="https://mail.example.com/unsubscribe/' in rendered.html
    assert rendered["Subject"] == "[nome]"


def test_values_of_a_row_come_first_and_only_for_that_row() -> None:
    text = "[Order No]/[nome]/[email]/[campo1]"
    values = {"order no": "4711 <x>", "Nome": "Grace", "EMAIL": "g@example.net"}
    rendered = render(text=text, person=ADA._replace(values=values))
    assert rendered.text == "4711 <x>/Grace/g@example.net/Ada"
    again = rendered.compiled
    assert again.render_text(ADA) == "[Order No]/Ada/ada@example.org/Ada"
    assert again.render_text(ADA._replace(values=values | {"Nome": ""})) == "4711 <x>/Ada/g@example.net/Ada"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"campo1": "Dear", "Nome": "Dear"}, "Dear Dear"),
        ({"nome": "", "field:1": "Dear"}, "Dear Dear"),
        ({"nome": "", "field:1": ""}, "Ada Ada"),
        ({"nome": "Dear"}, "Dear Ada"),
        ({"field:9": ""}, "Ada Ada"),
    ],
)
def test_where_a_row_has_nothing_is_what_is_stored(values: dict[str, str], expected: str) -> None:
    assert render(text="[nome] [campo1]", person=ADA._replace(values=values)).text == expected


def test_where_neither_row_nor_recipient_has_anything_is_the_default() -> None:
    nobody = ADA._replace(fields={}, values={"nome": "", "città": "", "code": ""})
    assert render(text="[nome] [città] [code].", person=nobody).text == "friend Roma & Ostia ."


@pytest.mark.parametrize("element", ["style", "script", "STYLE media=all"])
def test_in_raw_text_elements_there_are_no_tags(element: str) -> None:
    name = element.partition(" ")[0]
    raw = f"<{element}>a[nome] {{b:'[campo9]'}} <a href='https://x.example/[nome]'></{name}>"
    person = ADA._replace(fields={"1": "A&B"})
    assert render(f"{raw}<p>[nome]</p>", person).html == f"{raw}<p>A&amp;B</p>"


def test_many_forms_of_rows_take_no_more_memory() -> None:
    compiled = render(text="[a1] [a99]").compiled
    for number in range(100):
        text = compiled.render(ADA._replace(values={f"a{number}": "x"})).content
        assert (b"\r\nx" in text) == (number in (1, 99))
    assert len(compiled._variants) <= 17


PLACES = [
    # In HTML, what it becomes with the value `a&<">' b` in it.
    ("<p>[nome]</p>", "<p>a&amp;&lt;&quot;&gt;&#x27; b</p>"),
    ('<p title="[nome]">', '<p title="a&amp;&lt;&quot;&gt;&#x27; b">'),
    ("<p title='[nome]'>", "<p title='a&amp;&lt;&quot;&gt;&#x27; b'>"),
    ("<p title=[nome]>", "<p title=a&#38;&#60;&#34;&#62;&#39;&#32;b>"),
    ("<p [nome]>", "<p a&#38;&#60;&#34;&#62;&#39;&#32;b>"),
    ("<[nome]>", "<a&#38;&#60;&#34;&#62;&#39;&#32;b>"),
    ('<a href="https://x.example/[nome]?q=[nome]">', None),
    ("<a href='https://x.example/[nome]?q=[nome]'>", None),
    ("<a href=https://x.example/[nome]?q=[nome]>", None),
    ('<img src="https://x.example/[nome]?q=[nome]">', None),
]


@pytest.mark.parametrize(("html", "expected"), PLACES)
def test_value_is_escaped_for_its_place(html: str, expected: str | None) -> None:
    value = "a&<\">' b"
    quoted = "a%26%3C%22%3E%27%20b"
    rendered = render(html + "x", person=ADA._replace(fields={"1": value})).html
    assert rendered == (expected or html.replace("[nome]", quoted)) + "x"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://example.net/a?b=1&c=2#d", "https://example.net/a?b=1&amp;c=2#d"),
        ("http://example.net/a b", "http://example.net/a%20b"),
        ("mailto:bob@example.net", "mailto:bob@example.net"),
        ("javascript:alert(1)", ""),
        ("JaVaScRiPt:alert(1)", ""),
        (" java\tscript:alert(1)", ""),
        ("data:text/html,x", ""),
        ("vbscript:x", ""),
        ("example.net", ""),
        ('https://example.net/"onclick="x', "https://example.net/%22onclick=%22x"),
        ("", ""),
    ],
)
def test_value_that_is_a_whole_address(value: str, expected: str) -> None:
    person = ADA._replace(fields={"7": value})
    assert render('<a href="[pagina personale]">x</a>', person=person).html == f'<a href="{expected}">x</a>'


@pytest.mark.parametrize(
    "value",
    [
        "x" * 3000,
        "è" * 2000,
        "a\nb\r\nc\rd",
        ".",
        ".\n.\n..",
        "line \n",
        "=" * 200,
        "a" * 75,
        "a" * 76,
        "a" * 77,
        "\ud83d",
        "🎉" * 90,
        "שלום עולם " * 40,
        "\t\x01\x7f",
    ],
)
def test_value_of_any_kind_in_both_parts(value: str) -> None:
    person = ADA._replace(fields={"1": value})
    rendered = render("<p>è [nome] è</p>", person=person, text="è [nome] è [nome]")
    expected = re.sub("\r\n?", "\n", value).replace("\ud83d", "?")
    assert rendered.text == f"è {expected} è {expected}".removesuffix("\n")
    assert rendered.html == f"<p>è {expected} è</p>"
