"""What an SFTP or SCP client is told when something goes wrong: never a word about the machine."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import asyncssh
import structlog
from asyncssh import SFTPError

from ftp_server.names import Refused

log = structlog.get_logger()

_REFUSALS: dict[str, Callable[[str], SFTPError]] = {
    "452": asyncssh.SFTPNoSpaceOnFilesystem,
    "550": asyncssh.SFTPPermissionDenied,
    "552": asyncssh.SFTPQuotaExceeded,
    "553": asyncssh.SFTPInvalidFilename,
}
_ERRORS: dict[int | None, tuple[Callable[[str], SFTPError], str]] = {
    errno.ENOENT: (asyncssh.SFTPNoSuchFile, "There is no such file or folder."),
    errno.EEXIST: (asyncssh.SFTPFileAlreadyExists, "There is something of that name already."),
    errno.ENOTDIR: (asyncssh.SFTPNotADirectory, "This is not a folder."),
    errno.EISDIR: (asyncssh.SFTPFileIsADirectory, "This is a folder."),
    errno.ENOTEMPTY: (asyncssh.SFTPDirNotEmpty, "The folder is not empty."),
    errno.ENOSPC: (asyncssh.SFTPNoSpaceOnFilesystem, "Not enough space."),
    errno.EDQUOT: (asyncssh.SFTPNoSpaceOnFilesystem, "Not enough space."),
    errno.ENAMETOOLONG: (asyncssh.SFTPInvalidFilename, "The name is too long."),
}
_OTHER_ERROR: tuple[Callable[[str], SFTPError], str] = (asyncssh.SFTPFailure, "The server cannot do that.")


@contextmanager
def answering() -> Iterator[None]:
    """Turn whatever goes wrong inside into an answer for the client, without a word about the machine."""
    try:
        yield
    except SFTPError:
        raise
    except Refused as refusal:
        code, _, text = str(refusal).partition(" ")
        raise _REFUSALS.get(code, asyncssh.SFTPFailure)(text) from None
    except OSError as error:
        kind, text = _ERRORS.get(error.errno, _OTHER_ERROR)
        raise kind(text) from None
    except Exception as error:
        log.error("sftp_request_failed", error=type(error).__name__)
        raise asyncssh.SFTPFailure("The server cannot do that at the moment; try again later.") from None


def unsupported() -> SFTPError:
    """Return the answer to what this server does not do."""
    return asyncssh.SFTPOpUnsupported("This server does not do that.")
