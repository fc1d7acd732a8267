"""What a hosted page looks like: the language and the colours of its list, in which text stays readable."""

from __future__ import annotations

import re
from dataclasses import dataclass

from audience.list_settings import ListSettings
from delivery.colors import text_color_on
from services.hosted.texts import known_language

_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")


@dataclass(frozen=True, slots=True)
class Look:
    """Of one page."""

    language: str
    color: str
    """Of its band and buttons: `#` and six hexadecimal digits."""
    title: str = ""
    """What stands in the band."""
    description: str = ""

    @property
    def text_color(self) -> str:
        """Black or white, whichever is better to read on the colour: always 4.5 to 1 or more (WCAG 2.2, 1.4.3)."""
        return text_color_on(self.color)


def look_of(settings: ListSettings, title: str) -> Look:
    """Return the look of a list; a colour that is none is replaced, for it goes into a style sheet."""
    color = settings.color if _COLOR.fullmatch(settings.color) else ListSettings().color
    return Look(known_language(settings.language), color, title, settings.description)


def plain_look(language: str) -> Look:
    """Return the look of pages that are no list's."""
    return Look(known_language(language), ListSettings().color)
