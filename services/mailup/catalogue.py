"""The catalogue of an account's public lists, with a subscription form for each, as a page that browsers show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader

from audience.list_settings import read_settings
from audience.lists import MailingList
from services.hosted.looks import Look, look_of, plain_look

_TEMPLATES = Environment(loader=PackageLoader("services.mailup"), autoescape=True, trim_blocks=True, lstrip_blocks=True)

TEXTS = {
    "en": {
        "title": "Newsletters",
        "nothing": "There is nothing to subscribe to here.",
        "email": "E-mail address",
        "subscribe": "Subscribe",
    },
    "it": {
        "title": "Newsletter",
        "nothing": "Qui non c'è nulla a cui iscriversi.",
        "email": "Indirizzo e-mail",
        "subscribe": "Iscriviti",
    },
    "de": {
        "title": "Newsletter",
        "nothing": "Hier gibt es nichts zu abonnieren.",
        "email": "E-Mail-Adresse",
        "subscribe": "Anmelden",
    },
    "fr": {
        "title": "Lettres d'information",
        "nothing": "Il n'y a rien à quoi s'inscrire ici.",
        "email": "Adresse e-mail",
        "subscribe": "S'inscrire",
    },
    "es": {
        "title": "Boletines",
        "nothing": "Aquí no hay nada a lo que suscribirse.",
        "email": "Correo electrónico",
        "subscribe": "Suscribirse",
    },
}
"""By language and key."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A list as the catalogue shows it."""

    number: int
    guid: str
    name: str
    look: Look
    has_form: bool


def render_catalogue(lists: Sequence[MailingList]) -> str:
    """Return the page for those of some lists that are public, in the first one's language, each in its own."""
    entries = []
    for mailing in lists:
        settings = read_settings(mailing.settings)
        if settings.public:
            look = look_of(settings, mailing.name)
            entries.append(Entry(mailing.number, mailing.guid, mailing.name, look, settings.hosted_forms))
    look = entries[0].look if entries else plain_look("en")
    return _TEMPLATES.get_template("nl_catalog.html").render(entries=entries, look=look, texts=TEXTS)
