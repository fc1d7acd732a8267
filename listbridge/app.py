"""Wires the rooms together and starts each role; the settings are turned into the rooms' own options here alone."""

from __future__ import annotations

import errno
import gc
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy.exc import OperationalError

from db.engine import Database
from db.migration import is_current, migrate
from jobs.storage import Storage
from listbridge.errors import CommandError
from listbridge.lifeline import follow_parent
from listbridge.logging import configure_logging
from listbridge.settings import Address, Settings, load_settings, parse_networks, parse_relay

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from ftp_server.certificates import CertificateFiles
    from ftp_server.ftp import FtpOptions
    from jobs.mail import MailOptions
    from services.http.options import HttpOptions

KIB = 1024
SECONDS_PER_MINUTE = 60
WEB_TARGET = "listbridge.app:create_web_application"


@dataclass(frozen=True, slots=True)
class Application:
    """What every role and command works with."""

    settings: Settings
    database: Database
    storage: Storage


def connect(settings: Settings) -> Application:
    """Wire database and storage; neither is touched yet."""
    storage = Storage(settings.data_dir, reserve=settings.disk_reserve_mb * KIB * KIB)
    return Application(settings, Database(settings.database_url), storage)


@contextmanager
def open_application(settings: Settings) -> Iterator[Application]:
    """Give a command or role its application, ready to use, and close it afterwards.

    Raises:
        CommandError: the database cannot be reached, or has not the tables of this version.
    """
    application = connect(settings)
    try:
        application.storage.prepare()
        if not is_current(application.database):
            raise CommandError("The database has not the tables of this version; run `listbridge migrate` first.")
        yield application
    except OperationalError as error:
        raise CommandError(f"The database cannot be used: {describe_database_error(error)}") from error
    finally:
        application.database.close()


def prepare(settings: Settings) -> None:
    """Make the directories and bring the database to this version.

    Raises:
        CommandError: one of them cannot be made.
    """
    application = connect(settings)
    try:
        application.storage.prepare()
        migrate(application.database)
    except OperationalError as error:
        raise CommandError(f"The database cannot be used: {describe_database_error(error)}") from error
    except OSError as error:
        raise CommandError(f"The data directory {settings.data_dir} cannot be used: {error.strerror}.") from error
    finally:
        application.database.close()


def describe_database_error(error: OperationalError) -> str:
    """Return the first line of what the driver said; it names host and port, never a password."""
    return str(error.orig).strip().partition("\n")[0]


def require_free_port(address: Address, setting: str) -> None:
    """Fail early and clearly when a door cannot be opened.

    Raises:
        CommandError: the address is in use or not of this machine.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            cause = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be opened ({error.strerror})"
            raise CommandError(f"{address} {cause}; choose another one (setting {setting}).") from error


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def run_web(settings: Settings) -> None:
    """Serve SOAP and HTTP callers until a signal says stop.

    Raises:
        CommandError: the address is in use, or the database is not ready.
    """
    from services.http.server import run_web_server

    configure_logging(settings, "web")
    require_free_port(settings.http, "http")
    with open_application(settings):
        pass
    # The server's processes read their settings from the environment.
    os.environ.update(settings.to_environment())
    run_web_server(settings.http.host, settings.http.port, settings.workers, WEB_TARGET)


def create_web_application() -> WSGIApplication:
    """Return the WSGI application; called once in each process of the web role."""
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        # Until the server has set handlers of its own, those inherited from its first process would swallow signals.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        follow_parent(parent.pid)

    from services.http.application import create_application

    settings = load_settings()
    configure_logging(settings, "web")
    application = connect(settings)
    web = create_application(application.database, application.storage, _http_options(settings))
    # What was made so far stays; to look through it again and again for garbage would cost each request a little.
    gc.collect()
    gc.freeze()
    return web


def _http_options(settings: Settings) -> HttpOptions:
    from delivery.sending_requests import SendingRules
    from services.http.options import HttpOptions
    from services.soap.limits import XmlLimits

    limits = XmlLimits(
        depth=settings.max_xml_depth,
        nodes=settings.max_xml_nodes,
        attributes=settings.max_xml_attributes,
        name=settings.max_xml_name,
        tag=settings.max_xml_tag_kb * KIB,
        text=settings.max_xml_text_kb * KIB,
        message=settings.max_soap_kb * KIB,
        large_message=settings.max_large_soap_mb * KIB * KIB,
    )
    return HttpOptions(
        trust_forwarded=settings.trust_forwarded,
        max_body=settings.max_form_kb * KIB,
        xml=limits,
        body_seconds=settings.body_seconds,
        page_rate_per_address=settings.page_rate_per_address,
        page_rate_per_account=settings.page_rate_per_account,
        public_url=settings.public_url,
        form_rate_per_address=settings.form_rate_per_address,
        content_networks=parse_networks(settings.webhook_allowed_networks),
        sending_rules=SendingRules(require_verified_senders=settings.require_verified_senders),
    )


def run_ftp(settings: Settings) -> None:
    """Serve FTP clients until a signal says stop.

    Raises:
        CommandError: the address or the data directory is in use, or the database is not ready.
    """
    from ftp_server.certificates import UnusableCertificate
    from ftp_server.ftp import StorageInUse, run_ftp_server

    configure_logging(settings, "ftp")
    require_free_port(settings.ftp, "ftp")
    if settings.ftps_implicit is not None:
        require_free_port(settings.ftps_implicit, "ftps_implicit")
    if settings.sftp is not None:
        require_free_port(settings.sftp, "sftp")
    options = _ftp_options(settings)
    stop = stop_on_signals()
    with open_application(settings) as application:
        try:
            run_ftp_server(application.database, application.storage, options, stop)
        except (StorageInUse, UnusableCertificate) as error:
            raise CommandError(str(error)) from error


def _ftp_options(settings: Settings) -> FtpOptions:
    from ftp_server.accounts import LoginLimits
    from ftp_server.ftp import FtpOptions
    from ftp_server.sftp import SftpOptions

    return FtpOptions(
        host=settings.ftp.host,
        port=settings.ftp.port,
        passive_ports=settings.ftp_passive_ports,
        masquerade_address=settings.ftp_masquerade_address,
        max_per_address=settings.ftp_connections_per_address,
        connections_per_minute=settings.ftp_connections_per_minute,
        logins=LoginLimits(
            address_failures=settings.ftp_ban_failures, address_seconds=settings.ftp_ban_minutes * SECONDS_PER_MINUTE
        ),
        implicit=settings.ftps_implicit,
        certificate=certificate_files(settings),
        require_tls=settings.ftp_require_tls,
        require_protection=settings.ftp_require_protection,
        sftp=SftpOptions(settings.sftp.host, settings.sftp.port) if settings.sftp is not None else None,
    )


def certificate_files(settings: Settings) -> CertificateFiles | None:
    """Return where the certificate of FTPS is that the settings name; None: the server makes its own."""
    from ftp_server.certificates import CertificateFiles

    certificate = settings.ftp_certificate
    if certificate is None:
        return None
    return CertificateFiles(certificate, settings.ftp_certificate_key or certificate)


def run_worker(settings: Settings) -> None:
    """Import, export, notify and keep house until a signal says stop.

    Raises:
        CommandError: the database is not ready.
    """
    from delivery.sending_requests import SendingRules
    from jobs.worker import WorkerOptions
    from jobs.worker import run_worker as run
    from services.mailup.notification_parameters import WORDING

    configure_logging(settings, "worker")
    options = WorkerOptions(
        webhook_allowed_networks=parse_networks(settings.webhook_allowed_networks),
        transfer_allowed_networks=parse_networks(settings.transfer_allowed_networks),
        webhook_wording=WORDING,
        sending_rules=SendingRules(require_verified_senders=settings.require_verified_senders),
    )
    stop = stop_on_signals()
    with open_application(settings) as application:
        run(application.database, application.storage, options, stop)


def run_mail(settings: Settings) -> None:
    """Send messages and read what comes back until a signal says stop.

    Raises:
        CommandError: the database is not ready.
    """
    from jobs.mail import run_mail as run

    configure_logging(settings, "mail")
    stop = stop_on_signals()
    with open_application(settings) as application:
        run(application.database, mail_options(settings), stop)


def mail_options(settings: Settings) -> MailOptions:
    """Return how the settings say that messages go out and come back."""
    from delivery.smtp import SmtpOptions
    from jobs.mail import MailOptions
    from services.mailup.merge_tags import VOCABULARY

    host = urlsplit(settings.public_url).hostname or "localhost"
    smtp = SmtpOptions(
        relay=parse_relay(settings.smtp_relay),
        security=settings.smtp_security,
        username=settings.smtp_username,
        password=settings.smtp_password,
        hello_name=settings.smtp_hello_name or host,
        connections=settings.smtp_connections,
        connections_per_domain=settings.smtp_connections_per_domain,
        per_minute_per_domain=settings.smtp_per_minute_per_domain,
        retry_hours=settings.smtp_retry_hours,
    )
    return MailOptions(
        smtp=smtp,
        public_url=settings.public_url,
        host=host,
        bounce_domain=settings.bounce_domain,
        soft_bounce_limit=settings.soft_bounce_limit,
        require_verified_senders=settings.require_verified_senders,
        bounce_smtp=settings.bounce_smtp,
        bounce_lmtp=settings.bounce_lmtp,
        bounce_imap=settings.bounce_imap,
        sms_gateway=settings.sms_gateway,
        sms_per_second=settings.sms_per_second,
        vocabulary=VOCABULARY,
    )
