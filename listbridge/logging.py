"""How events are written: one line each on standard error, as JSON for machines or as text for people.

Events carry ids; addresses, passwords and content never belong into them. Tracebacks are written without the values
of variables for the same reason.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from listbridge.settings import Settings


def configure_logging(settings: Settings, role: str) -> None:
    """Send this process's events to standard error.

    Args:
        settings: supply level and format.
        role: `web`, `ftp`, `worker` or `serve`, written with each event.
    """
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared = _shared_processors(role)
    structlog.configure(
        processors=[*shared, *_final_processors(as_text)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    _configure_libraries(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_final_processors(as_text)],
            foreign_pre_chain=shared,
        ),
        level,
    )


def configure_command_logging(settings: Settings) -> None:
    """Let a command, which prints its results itself, log warnings only; with level `debug` it logs everything."""
    quiet = settings.model_copy(update={"log_level": "warning"})
    configure_logging(settings if settings.log_level in ("debug", "error") else quiet, "command")


def _shared_processors(role: str) -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _name_role(role),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _name_role(role: str) -> Processor:
    def name_role(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event["role"] = role
        return event

    return name_role


def _final_processors(as_text: bool) -> list[Processor]:
    if as_text:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        return [renderer]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _configure_libraries(formatter: logging.Formatter, level: int) -> None:
    """Write the warnings of libraries in the same form; their lesser events may name people and are left out."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
