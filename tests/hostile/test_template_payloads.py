"""Template languages: their escapes are text here, in messages as well as in values, and come out as they went in."""

from __future__ import annotations

from html import escape

import pytest
from rendered_mail import ADA, render

PAYLOADS = [
    "{{7*7}}",
    "{{ 7*'7' }}",
    "{{config}}",
    "{{config.items()}}",
    "{{self.__init__.__globals__}}",
    "{{''.__class__.__mro__[1].__subclasses__()}}",
    "{{request.application.__globals__.__builtins__.__import__('os').popen('id').read()}}",
    "{{cycler.__init__.__globals__.os.popen('id').read()}}",
    "{{lipsum.__globals__['os'].popen('id').read()}}",
    "{%import os%}{{os.system('id')}}",
    "{% include '/etc/passwd' %}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{{x}}{% endfor %}",
    "{% debug %}",
    "{% raw %}{{x}}{% endraw %}",
    "{# comment #}",
    "{{{constructor.constructor('return process')()}}}",
    "{{#with 's' as |string|}}{{/with}}",
    "${7*7}",
    "${self.module.cache.util.os.system('id')}",
    "${T(java.lang.Runtime).getRuntime().exec('id')}",
    "<%= 7*7 %>",
    "<% import os %>",
    "<%= system('id') %>",
    "#{7*7}",
    "#set($x=7*7)$x",
    "#include('/etc/passwd')",
    "@(7*7)",
    "*{7*7}",
    "[[${7*7}]]",
    "[(${7*7})]",
    "$(id)",
    "`id`",
    "$email",
    "${email}",
    "{email}",
    "{0.__globals__}",
    "{person.email.__class__}",
    "{!r}",
    "%(email)s",
    "%(x)s",
    "%s%n%x",
    "%d",
    "[field.__class__]",
    "[email.__class__.__mro__]",
    "[__globals__]",
    "[values]",
    "[fields]",
    "[1]",
    "[campo1.__class__]",
    "[campo1|upper]",
    "[campo-1]",
    "[secret_key]",
    "[context.secret_key]",
    "[..]",
    "[0]",
    "<!--#exec cmd='id' -->",
    "<?php system('id') ?>",
    "<?= 7*7 ?>",
    "{php}echo 7*7;{/php}",
    "{$smarty.version}",
    "{{=7*7}}",
    "~[7*7]~",
    "\\[nome]\\",
    "\\g<0>\\1",
    "=1+1",
    "&{x}",
]


def test_there_are_enough() -> None:
    assert len(set(PAYLOADS)) == len(PAYLOADS) >= 40


@pytest.mark.parametrize("payload", PAYLOADS)
def test_payload_in_a_value_is_text(payload: str) -> None:
    html = '<p>[nome]</p><p title="[nome]">x</p>'
    rendered = render(html, ADA._replace(fields={"1": payload}), text="[nome]", subject="Hi [nome]")
    assert rendered.text == payload
    assert rendered.html == f'<p>{escape(payload)}</p><p title="{escape(payload)}">x</p>'
    assert rendered["Subject"] == f"Hi {payload}"


@pytest.mark.parametrize("payload", [payload for payload in PAYLOADS if "[nome]" not in payload])
def test_payload_in_a_message_is_text(payload: str) -> None:
    rendered = render(f"<p>{payload}</p>", text=payload, subject=payload)
    assert rendered.html == f"<p>{payload}</p>"
    assert rendered.text == payload
    assert rendered["Subject"] == payload


@pytest.mark.parametrize("payload", PAYLOADS)
def test_payload_as_name_of_a_field_is_a_name(payload: str) -> None:
    rendered = render(text=f"[{payload}] [nome]", field_names={1: "nome", 5: payload})
    assert rendered.text.endswith(" Ada")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_payload_in_a_row_is_text(payload: str) -> None:
    person = ADA._replace(values={payload: payload, "offer": payload})
    assert render(text="[offer]", person=person).text == payload


def test_value_with_a_tag_is_not_read_again() -> None:
    person = ADA._replace(fields={"1": "[email] http://[unsubscribe]/ [campo2]", "2": "[campo1]"})
    assert render(text="[nome]|[cognome]", person=person).text == "[email] http://[unsubscribe]/ [campo2]|[campo1]"
