"""Colours in which text stays readable, for pages and mails in the colours of a list."""

from __future__ import annotations

_LIGHT, _DARK = "#ffffff", "#000000"


def text_color_on(color: str) -> str:
    """Return black or white, whichever is better to read: always 4.5 to 1 or more (WCAG 2.2, 1.4.3)."""
    return max(_LIGHT, _DARK, key=lambda text: contrast(text, color))


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
