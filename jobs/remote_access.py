"""Opens sessions with partners' servers: to addresses that were checked alone, and to servers that prove themselves."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from delivery.outgoing_http import Network, RequestFailed, Resolver, TargetCheck, TargetRefused, resolve
from jobs.remote_ftp import CertificateDiffers, FtpSession
from jobs.remote_servers import Access
from jobs.remote_sessions import Patience, RemoteError, RemoteRefused, RemoteSession
from jobs.remote_sftp import SftpSession, UnknownHostKey

NOT_PINNED = "An sftp server is believed by its pinned host key alone; pin the fingerprint that `remote probe` shows."


class Dialer:
    """Makes connections; safe to share between threads."""

    def __init__(
        self, allowed: Iterable[Network] = (), *, patience: Patience | None = None, resolver: Resolver = resolve
    ) -> None:
        """Set the rules.

        Args:
            allowed: networks that servers may lie in although they are not public.
            patience: how long servers may take.
            resolver: gives the addresses of host names.
        """
        # It logs every session with user and address; what matters is in the program's own log.
        logging.getLogger("asyncssh").setLevel(logging.ERROR)
        self._targets = TargetCheck(allowed, resolver)
        self._patience = patience or Patience()

    @contextmanager
    def open(self, access: Access) -> Iterator[RemoteSession]:
        """Log in at a server for the time of a `with` block.

        Raises:
            RemoteRefused: it must not be connected to, is not the one that was pinned, or refuses the login.
            RemoteError: it cannot be reached, or fails later.
        """
        if access.protocol == "sftp" and access.fingerprint is None:
            raise RemoteRefused(NOT_PINNED)
        session = self._open_sftp(access) if access.protocol == "sftp" else self._open_ftp(access)
        try:
            yield session
        finally:
            session.close()

    def see_fingerprint(self, access: Access) -> str | None:
        """Return what a server shows, whether it is believed or not; no name and no password is sent to it.

        Raises:
            RemoteError: it cannot be reached or shows nothing.
        """
        if access.protocol == "ftp":
            return None
        if access.protocol == "sftp":
            return self._see_host_key(access)
        # No certificate has such a digest, so that none is accepted and each is told.
        connection = self._connect(access)
        try:
            session = FtpSession(
                connection,
                access.host,
                tls=True,
                implicit=access.protocol == "ftps-implicit",
                pinned="",
                patience=self._patience,
            )
        except CertificateDiffers as error:
            return error.shown
        session.close()
        return session.fingerprint

    def _open_ftp(self, access: Access) -> RemoteSession:
        session = FtpSession(
            self._connect(access),
            access.host,
            tls=access.protocol != "ftp",
            implicit=access.protocol == "ftps-implicit",
            pinned=access.fingerprint,
            patience=self._patience,
        )
        try:
            session.log_in(access.user_name, access.password or "")
        except BaseException:
            session.close()
            raise
        return session

    def _open_sftp(self, access: Access) -> RemoteSession:
        failure = RemoteError("There is no address to connect to.")
        for address in self._addresses(access):
            try:
                return SftpSession(
                    (address, access.port),
                    user=access.user_name,
                    password=access.password,
                    private_key=access.private_key,
                    pinned=access.fingerprint,
                    patience=self._patience,
                )
            except RemoteRefused:
                raise
            except RemoteError as error:
                failure = error
        raise failure

    def _see_host_key(self, access: Access) -> str:
        try:
            self._open_sftp(replace(access, fingerprint=None))
        except UnknownHostKey as error:
            return error.shown[0]
        raise RemoteError("The server showed no host key.")

    def _connect(self, access: Access) -> socket.socket:
        failure = RemoteError("There is no address to connect to.")
        for address in self._addresses(access):
            try:
                return socket.create_connection((address, access.port), self._patience.connect)
            except TimeoutError:
                failure = RemoteError("No connection in time.")
            except OSError:
                failure = RemoteError("The connection was not accepted.")
        raise failure

    def _addresses(self, access: Access) -> list[str]:
        """Return the addresses of the host, which were checked and are the ones to connect to."""
        deadline = time.monotonic() + self._patience.connect
        try:
            return self._targets.find_addresses(access.host, access.port, deadline)
        except TargetRefused as error:
            raise RemoteRefused(f"{error} The setting transfer_allowed_networks can allow it.") from None
        except RequestFailed as error:
            raise RemoteError(str(error)) from None
