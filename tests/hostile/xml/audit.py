"""Feeds every request that points somewhere to the services, and prints what Python opened meanwhile: nothing.

Runs as a program, since an audit hook stays until the end of its process.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from hostile.xml.attacks import DOCUMENT_TYPES, LISTS, PATH, REFERENCES, TEXT, Attack, envelope

from db.engine import Database
from jobs.storage import Storage
from services.http.application import HttpOptions, create_application

WATCHED = ("open", "os.", "socket.", "subprocess.", "urllib.", "ftplib.", "import", "compile", "exec", "ctypes.")


class Audit:
    """Remembers what the interpreter tells of, once it is begun."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.begun = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.begun and event.startswith(WATCHED):
            self.seen.append(f"{event} {arguments}")


def post(application: Any, path: str, content: bytes, content_type: str = TEXT) -> None:
    """Send a request to a WSGI application."""
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(len(content)),
        "REMOTE_ADDR": "192.0.2.1",
        "wsgi.input": io.BytesIO(content),
    }
    list(application(environ, lambda _status, _headers, _error=None: None))


def main() -> None:
    folder = Path(sys.argv[1])
    application = create_application(Database(f"sqlite:///{folder}/a.db"), Storage(folder), HttpOptions())
    attacks: list[tuple[Attack, bytes]] = [(attack, attack.build()) for attack in (*DOCUMENT_TYPES, *REFERENCES)]
    audit = Audit()
    sys.addaudithook(audit)
    # Modules are imported when they are first needed.
    for content in (envelope(LISTS), b"<"):
        post(application, PATH, content)
    audit.begun = True
    for attack, content in attacks:
        post(application, attack.path, content, attack.content_type)
    audit.begun = False
    print(len(attacks), audit.seen)


if __name__ == "__main__":
    main()
