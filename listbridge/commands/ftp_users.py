"""`listbridge ftp-user`: the users of the file doors, what they may do, and their public keys."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from audience.accounts import find_account
from audience.ftp_users import (
    FtpRights,
    FtpUser,
    add_ftp_user,
    add_key,
    keys_of,
    last_login_of,
    list_ftp_users,
    load_ftp_user,
    remove_ftp_user,
    remove_key,
    set_ftp_password,
    set_rights,
)
from listbridge.commands.options import AccountOption, PasswordOption, application, require_password, write
from listbridge.errors import CommandError
from listbridge.output import JsonOption, Row, print_json, print_rows, print_values

app = typer.Typer(
    help="Users of FTP, FTPS, SFTP and SCP; each sees the home of its account and nothing else.", no_args_is_help=True
)
keys = typer.Typer(help="Public keys that users log in with over SSH.", no_args_is_help=True)
app.add_typer(keys, name="key")

_MIB = 1024 * 1024
_MIN_RSA_BITS = 2048
_NUMBERS = ("max_sessions", "bytes_per_second", "quota_bytes", "quota_files")

Name = Annotated[str, typer.Argument(help="Name of the user.")]
KeyFile = Annotated[Path, typer.Argument(help="File with the public key, as ssh-keygen writes it.")]
ReadOnlyOption = Annotated[bool, typer.Option("--read-only", help="The user may fetch files and not store any.")]
WriteOnlyOption = Annotated[bool, typer.Option("--write-only", help="The user may store files and not fetch any.")]
AllowOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow", metavar="NETWORK", help="Address or network to log in from; may be given again.", show_default=False
    ),
]
RequireTlsOption = Annotated[
    bool | None,
    typer.Option("--require-tls/--no-require-tls", help="Refuse FTP without TLS, or not.", show_default=False),
]
MaxSessionsOption = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Most sessions at a time; 0: no limit.", show_default=False)
]
RateOption = Annotated[
    int | None,
    typer.Option(
        "--rate", min=0, metavar="BYTES", help="Bytes per second of all transfers; 0: no limit.", show_default=False
    ),
]
QuotaMbOption = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="MiB that the home may hold; 0: no limit.", show_default=False)
]
QuotaFilesOption = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Files that the home may hold; 0: no limit.", show_default=False)
]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Name to log in with.")],
    account: AccountOption,
    password: PasswordOption = None,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="The user logs in with the key of --key alone.")
    ] = False,
    key: Annotated[Path | None, typer.Option(help="File with a public key.", show_default=False)] = None,
    read_only: ReadOnlyOption = False,
    write_only: WriteOnlyOption = False,
    allow: AllowOption = None,
    require_tls: RequireTlsOption = None,
    max_sessions: MaxSessionsOption = None,
    rate: RateOption = None,
    quota_mb: QuotaMbOption = None,
    quota_files: QuotaFilesOption = None,
) -> None:
    """Add an FTP user to an account."""
    if no_password and key is None:
        raise CommandError("A user without a password needs a public key: give --key.")
    rights = _access(FtpRights(), read_only=read_only, write_only=write_only, read_write=False)
    rights = _limits(rights, allow, require_tls, max_sessions, rate, quota_mb, quota_files)
    secret = None if no_password else require_password(password)
    public_key = _read_key(key) if key is not None else None

    def work(connection: Connection) -> None:
        add_ftp_user(connection, find_account(connection, account).id, name, password=secret, rights=rights)
        if public_key is not None:
            add_key(connection, name, *public_key)

    with application() as opened:
        write(opened, work)
    print(f"FTP user {name} of account {account} added.")


@app.command("list")
def list_users(
    account: Annotated[int | None, typer.Option(help="Only of this account.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """List the FTP users by name."""
    with application() as opened, opened.database.read() as connection:
        account_id = find_account(connection, account).id if account is not None else None
        rows = [_describe_briefly(*item) for item in list_ftp_users(connection, account_id)]
    print_rows(rows, as_json=as_json, nothing="There are no FTP users.")


@app.command()
def show(name: Name, as_json: JsonOption = False) -> None:
    """Show an FTP user: its account, what it may do, its limits and its keys."""
    with application() as opened, opened.database.read() as connection:
        user = load_ftp_user(connection, name)
        values = _describe(user, last_login_of(connection, user.id))
        fingerprints = [key.fingerprint for key in keys_of(connection, name)]
    if as_json:
        print_json(values | {"networks": list(user.rights.networks), "keys": fingerprints})
    else:
        networks = ", ".join(user.rights.networks) or None
        print_values(values | {"networks": networks, "keys": ", ".join(fingerprints) or None})


@app.command("set")
def set_user(
    name: Name,
    active: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Let the user in, or not.", show_default=False)
    ] = None,
    read_only: ReadOnlyOption = False,
    write_only: WriteOnlyOption = False,
    read_write: Annotated[bool, typer.Option("--read-write", help="The user may fetch and store files.")] = False,
    allow: AllowOption = None,
    allow_all: Annotated[bool, typer.Option("--allow-all", help="The user may log in from every address.")] = False,
    require_tls: RequireTlsOption = None,
    max_sessions: MaxSessionsOption = None,
    rate: RateOption = None,
    quota_mb: QuotaMbOption = None,
    quota_files: QuotaFilesOption = None,
) -> None:
    """Change what an FTP user may do; what is not named stays as it is. The user's sessions end within seconds."""

    def work(connection: Connection) -> None:
        rights = load_ftp_user(connection, name).rights
        rights = _access(rights, read_only=read_only, write_only=write_only, read_write=read_write)
        networks = [] if allow_all else allow
        rights = _limits(rights, networks, require_tls, max_sessions, rate, quota_mb, quota_files)
        set_rights(connection, name, rights if active is None else replace(rights, active=active))

    with application() as opened:
        write(opened, work)
    print(f"FTP user {name} changed.")


@app.command("password")
def set_password(
    name: Name,
    password: PasswordOption = None,
    no_password: Annotated[bool, typer.Option("--no-password", help="Let the user log in with keys alone.")] = False,
) -> None:
    """Give an FTP user a new password, or none."""
    secret = None if no_password else require_password(password)
    with application() as opened:
        write(opened, lambda connection: set_ftp_password(connection, name, secret))
    print(f"FTP user {name} has no password any more." if no_password else f"New password for FTP user {name}.")


@app.command()
def remove(name: Name) -> None:
    """Remove an FTP user; the home and its files stay."""
    with application() as opened:
        write(opened, lambda connection: remove_ftp_user(connection, name))
    print(f"FTP user {name} removed.")


@keys.command("add")
def add_public_key(name: Name, file: KeyFile) -> None:
    """Let an FTP user log in with a public key."""
    public_key, fingerprint = _read_key(file)
    with application() as opened:
        write(opened, lambda connection: add_key(connection, name, public_key, fingerprint))
    print(f"FTP user {name} may log in with the key {fingerprint}.")


@keys.command("list")
def list_keys(name: Name, as_json: JsonOption = False) -> None:
    """List the public keys of an FTP user, the oldest first."""
    with application() as opened, opened.database.read() as connection:
        rows = [
            {"fingerprint": key.fingerprint, "kind": key.public_key.split(" ")[0], "created_at": key.created_at}
            for key in keys_of(connection, name)
        ]
    print_rows(rows, as_json=as_json, nothing=f"FTP user {name} has no keys.")


@keys.command("remove")
def remove_public_key(
    name: Name, fingerprint: Annotated[str, typer.Argument(help="SHA256:…, as `key list` shows it.")]
) -> None:
    """Take a public key from an FTP user."""
    with application() as opened:
        write(opened, lambda connection: remove_key(connection, name, fingerprint))
    print(f"FTP user {name} has the key {fingerprint} no more.")


def _access(rights: FtpRights, *, read_only: bool, write_only: bool, read_write: bool) -> FtpRights:
    if read_only + write_only + read_write > 1:
        raise CommandError("Give one of --read-only, --write-only and --read-write.")
    if read_only + write_only + read_write == 0:
        return rights
    return replace(rights, may_read=not write_only, may_write=not read_only)


def _limits(
    rights: FtpRights,
    networks: list[str] | None,
    require_tls: bool | None,
    max_sessions: int | None,
    rate: int | None,
    quota_mb: int | None,
    quota_files: int | None,
) -> FtpRights:
    """Return rights with what was given; 0 stands for no limit."""
    given = {
        "networks": tuple(networks) if networks is not None else None,
        "requires_tls": require_tls,
        "max_sessions": max_sessions,
        "bytes_per_second": rate,
        "quota_bytes": quota_mb * _MIB if quota_mb is not None else None,
        "quota_files": quota_files,
    }
    changes: dict[str, Any] = {}
    for name, value in given.items():
        if value is not None:
            changes[name] = None if value == 0 and name in _NUMBERS else value
    return replace(rights, **changes)


def _read_key(path: Path) -> tuple[str, str]:
    """Return a public key in OpenSSH's form, without its comment, and its fingerprint."""
    # Not needed by other commands, and slow to load.
    import asyncssh
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    try:
        key = asyncssh.import_public_key(path.read_bytes())
    except OSError as error:
        raise CommandError(f"The file {path} cannot be read: {error.strerror}.") from None
    except (asyncssh.KeyImportError, ValueError):
        raise CommandError(f"{path} is not a public key as ssh-keygen writes it.") from None
    bits = key.pyca_key.key_size if isinstance(key.pyca_key, RSAPublicKey) else _MIN_RSA_BITS
    if key.get_algorithm() == "ssh-dss" or bits < _MIN_RSA_BITS:
        raise CommandError(f"The key in {path} is too weak: make an Ed25519 key, or RSA of {_MIN_RSA_BITS} bits.")
    # The comment often is somebody's name.
    key.set_comment(None)
    return key.export_public_key().decode().strip(), key.get_fingerprint()


def _describe(user: FtpUser, last_login_at: datetime | None) -> Row:
    rights = user.rights
    return {
        "name": user.name,
        "account": user.account.number,
        "active": rights.active,
        "may_read": rights.may_read,
        "may_write": rights.may_write,
        "has_password": user.password_hash is not None,
        "requires_tls": rights.requires_tls,
        "max_sessions": rights.max_sessions,
        "bytes_per_second": rights.bytes_per_second,
        "quota_bytes": rights.quota_bytes,
        "quota_files": rights.quota_files,
        "last_login_at": last_login_at,
    }


def _describe_briefly(user: FtpUser, last_login_at: datetime | None) -> Row:
    shown = ("name", "account", "active", "may_read", "may_write", "requires_tls", "last_login_at")
    values = _describe(user, last_login_at)
    return {name: values[name] for name in shown} | {"keys": len(user.public_keys)}
