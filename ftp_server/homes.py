"""What an FTP user sees: the home of the account as if it were the whole disk, without symbolic links."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from pyftpdlib.filesystems import AbstractedFS


class Home(AbstractedFS):  # type: ignore[misc]
    """One session's view of a home."""

    def validpath(self, path: str) -> bool:
        """Tell whether a path lies in the home and no part of it is a symbolic link."""
        root = Path(self.root)
        return Path(path).is_relative_to(root) and Path(path).resolve() == Path(path)

    def chdir(self, path: str) -> None:
        """Change the session's folder; the process stays where it is, since all sessions share it."""
        if not Path(path).is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory")
        self.cwd = self.fs2ftp(path)

    def listdir(self, path: str) -> list[str]:
        """Return the names in a folder."""
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if not entry.is_symlink()]

    def get_user_by_uid(self, uid: int) -> str:
        """Name no user of the machine."""
        return "ftp"

    def get_group_by_gid(self, gid: int) -> str:
        """Name no group of the machine."""
        return "ftp"


class Rights:
    """What pyftpdlib asks of an authorizer. Logins and the rights of places are decided elsewhere."""

    def __init__(self, *, may_read: bool = True, may_write: bool = True) -> None:
        """Show a user's rights in listings (RFC 3659 section 7.5.5)."""
        self._shown = "el" + "r" * may_read + "adfmwT" * may_write

    def has_perm(self, _user: str, _right: str, _path: str | None = None) -> bool:
        """Allow; `ftp_server.names` refuses, with a text that says why."""
        return True

    def get_perms(self, _user: str) -> str:
        """Return the rights that listings show."""
        return self._shown

    def get_msg_quit(self, _user: str) -> str:
        """Return the farewell."""
        return "Goodbye."

    def impersonate_user(self, _user: str, _password: str) -> None:
        """Do nothing: users are virtual."""

    def terminate_impersonation(self, _user: str) -> None:
        """Do nothing: users are virtual."""
