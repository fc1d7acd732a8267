"""Describes unexpected exceptions for the log: what and where, never the message, which may quote a caller's data."""

from __future__ import annotations

import traceback
from pathlib import Path


def describe_failure(error: BaseException) -> dict[str, object]:
    """Return the exception's type and the places in the code that it came through, outermost first."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    return {"error": type(error).__name__, "places": places}
