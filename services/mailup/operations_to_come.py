"""Operations that the contracts name and that do not work yet: callers are let in, and then told so."""

from __future__ import annotations

from dataclasses import dataclass

from services.soap.declarations import Operation


@dataclass(frozen=True, slots=True)
class OperationToCome(Operation):
    """An operation whose function does nothing but refuse."""
