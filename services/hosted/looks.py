"""What a hosted page looks like: the language and the colours of its list, in which text stays readable."""

from __future__ import annotations

import re
from dataclasses import dataclass

from audience.list_settings import ListSettings
from services.hosted.texts import known_language

_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")
_LIGHT, _DARK = "#ffffff", "#000000"


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
        return max(_LIGHT, _DARK, key=lambda text: contrast(text, self.color))


def look_of(settings: ListSettings, title: str) -> Look:
    """Return the look of a list; a colour that is none is replaced, for it goes into a style sheet."""
    color = settings.color if _COLOR.fullmatch(settings.color) else ListSettings().color
    return Look(known_language(settings.language), color, title, settings.description)


def plain_look(language: str) -> Look:
    """Return the look of pages that are no list's."""
    return Look(known_language(language), ListSettings().color)


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colours, 1 to 21 (WCAG 2.2, definition of contrast ratio)."""
    darker, lighter = sorted(map(_luminance, (first, second)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    """Return the relative luminance of a colour, 0 to 1 (WCAG 2.2, definition of relative luminance)."""
    red, green, blue = (_linear(int(color[start : start + 2], 16) / 255) for start in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)
