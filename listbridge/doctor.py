"""Examines an installation, whether its server runs or not, and tells one finding per check."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Literal

from sqlalchemy import ColumnElement, Table, exists, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from db.tables import group_member, list_group, mailing_list, recipient, subscription
from ftp_server.certificates import UnusableCertificate, load_context, own_certificate, read_certificate
from ftp_server.host_keys import read_host_keys
from jobs.readiness import OK, readiness
from listbridge.app import Application, certificate_files, connect
from listbridge.settings import Settings

LIBRARIES = ("SQLAlchemy", "psycopg", "spyne", "lxml", "pyftpdlib", "asyncssh", "granian", "APScheduler")
RUNNING_CHECKS = ("scheduler", "ftp", "mail")
"""Checks of `readiness` that only a running server can pass."""
ENDS_SOON = timedelta(days=30)

Verdict = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    check: str
    verdict: Verdict
    text: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Make all checks, one after the other; a check that cannot be made is a finding too."""
    application = connect(settings)
    try:
        yield _describe_versions()
        yield _describe_settings(application)
        for check, result in readiness(application.database, application.storage).items():
            yield _judge_readiness(check, result)
        yield _guard("host keys", lambda: _describe_host_keys(application))
        yield _guard("certificate", lambda: _examine_certificate(settings))
        yield _guard("free disk", lambda: _examine_disk(application))
        yield _guard("integrity", lambda: _examine_integrity(application))
        yield _guard("orphans", lambda: _examine_orphans(application))
    finally:
        application.database.close()


def _describe_versions() -> Finding:
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return Finding(
        "versions", "ok", f"listbridge {version('listbridge')}, Python {platform.python_version()}, {libraries}"
    )


def _describe_settings(application: Application) -> Finding:
    kind = application.database.engine.dialect.name
    return Finding("settings", "ok", f"data in {application.settings.data_dir}, database {kind}")


def _judge_readiness(check: str, result: str) -> Finding:
    if result != OK and check in RUNNING_CHECKS:
        return Finding(check, "note", f"not running ({result})")
    return Finding(check, "ok" if result == OK else "wrong", result)


def _guard(check: str, examine_one: Callable[[], Finding]) -> Finding:
    try:
        return examine_one()
    except (SQLAlchemyError, OSError) as error:
        return Finding(check, "wrong", f"the check failed: {type(error).__name__}")


def _describe_host_keys(application: Application) -> Finding:
    keys = read_host_keys(application.storage)
    told = ", ".join(f"{key.kind} {key.fingerprint}" for key in keys)
    return Finding("host keys", "ok" if keys else "note", told or "made when SFTP is served for the first time")


def _examine_certificate(settings: Settings) -> Finding:
    """Look at the certificate that FTPS shows; the server makes its own at its first start."""
    files = certificate_files(settings) or own_certificate(settings.data_dir)
    if settings.ftp_certificate is None and not files.certificate.exists():
        return Finding("certificate", "note", "made when the server starts for the first time")
    try:
        load_context(files)
        certificate = read_certificate(files.certificate)
    except UnusableCertificate as error:
        return Finding("certificate", "wrong", str(error))
    begins, ends, now = certificate.not_valid_before_utc, certificate.not_valid_after_utc, datetime.now(UTC)
    verdict: Verdict = "wrong" if not begins <= now <= ends else "note" if ends - now < ENDS_SOON else "ok"
    return Finding("certificate", verdict, f"valid from {begins:%Y-%m-%d} to {ends:%Y-%m-%d}")


def _examine_disk(application: Application) -> Finding:
    root = application.storage.root
    free = shutil.disk_usage(root).free // (1024 * 1024)
    reserve = application.settings.disk_reserve_mb
    return Finding("free disk", "ok" if free > reserve else "wrong", f"{free:,} MiB, the reserve is {reserve:,} MiB")


def _examine_integrity(application: Application) -> Finding:
    if not application.database.is_sqlite:
        return Finding("integrity", "ok", "PostgreSQL looks after it")
    with application.database.read() as connection:
        found = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
    return Finding("integrity", "ok" if found == "ok" else "wrong", str(found))


def _examine_orphans(application: Application) -> Finding:
    """Count rows of the bulk tables whose other half is missing; those tables have no foreign keys to prevent it."""
    with application.database.read() as connection:
        counts = {
            table.name: connection.execute(select(func.count()).select_from(table).where(condition)).scalar_one()
            for table, condition in _orphan_conditions()
        }
    told = ", ".join(f"{count:,} in {name}" for name, count in counts.items())
    return Finding("orphans", "wrong" if any(counts.values()) else "ok", told)


def _orphan_conditions() -> list[tuple[Table, ColumnElement[bool]]]:
    return [
        (
            subscription,
            ~exists().where(recipient.c.id == subscription.c.recipient_id)
            | ~exists().where(mailing_list.c.id == subscription.c.list_id),
        ),
        (
            group_member,
            ~exists().where(recipient.c.id == group_member.c.recipient_id)
            | ~exists().where(list_group.c.id == group_member.c.group_id),
        ),
    ]
