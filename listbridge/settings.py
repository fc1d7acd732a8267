"""Every setting of the program: its name, default and meaning, and the places it can be given in.

A value is taken from the first place that has it: the command line, the environment (`LISTBRIDGE_<KEY>`), the file
named by `LISTBRIDGE_<KEY>_FILE` for secrets, `listbridge.toml` (in the working directory, or `LISTBRIDGE_CONFIG`).
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Annotated, Any, Literal, NamedTuple, Self, cast
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from listbridge.errors import SettingsError

PREFIX = "LISTBRIDGE_"
CONFIG_FILE = "listbridge.toml"
CONFIG_VARIABLE = PREFIX + "CONFIG"
SECRETS = ("database_url", "smtp_password", "bounce_imap", "sms_gateway")
"""Settings that can be given in a file of their own, so that they stand in no environment and no shared file."""

PASSWORD_VARIABLES = (PREFIX + "PASSWORD", PREFIX + "PASSWORD_FILE")
"""Read by the commands that make users, see `listbridge.commands.passwords`."""

SECRET_VARIABLES = (PREFIX + "SECRET", PREFIX + "SECRET_FILE")
"""Read by the commands that make webhooks, see `listbridge.commands.webhooks`."""

DATABASE_DRIVERS = ("sqlite", "postgresql+psycopg")
_PUBLIC_URL = re.compile(r"https?://[^\s/?#@\\]+(/[^\s?#\\]*)?", re.IGNORECASE)


class Address(NamedTuple):
    """Where a door listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def reachable(self) -> Address:
        """The address to call from this machine; a door that listens everywhere is called on the loopback."""
        return Address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host), self.port)


class PortRange(NamedTuple):
    """Ports, both ends included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def parse_address(value: object) -> Address:
    """Read `HOST:PORT`; an IPv6 host stands in brackets (RFC 3986 section 3.2.2).

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, Address):
        return value
    host, colon, port = str(value).rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host.strip("[]") or (":" in host and not bracketed):
        raise ValueError(f"{str(value)!r} is not HOST:PORT (an IPv6 host stands in brackets)")
    return Address(host[1:-1] if bracketed else host, _parse_port(port))


def parse_optional_address(value: object) -> Address | None:
    """Read `HOST:PORT`, or nothing.

    Raises:
        ValueError: it is something else.
    """
    return None if value in (None, "") else parse_address(value)


def parse_relay(value: str) -> Address | Literal["mx"] | None:
    """Read `HOST:PORT`, `mx` or nothing.

    Raises:
        ValueError: it is something else.
    """
    return "mx" if value.strip().lower() == "mx" else parse_optional_address(value.strip())


def parse_port_range(value: object) -> PortRange:
    """Read `FIRST-LAST`.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, PortRange):
        return value
    first, _, last = str(value).partition("-")
    ports = PortRange(_parse_port(first), _parse_port(last or first))
    if ports.last < ports.first:
        raise ValueError(f"{str(value)!r} is not FIRST-LAST")
    return ports


def parse_networks(value: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Read networks such as `192.0.2.0/24`, separated by commas.

    Raises:
        ValueError: one of them is something else.
    """
    parts = [part.strip() for part in value.split(",") if part.strip()]
    try:
        return tuple(map(ipaddress.ip_network, parts))
    except ValueError as error:
        raise ValueError(f"{value!r} are not networks such as 192.0.2.0/24, separated by commas: {error}") from None


def _parse_port(value: str) -> int:
    value = value.strip()
    if not (value.isascii() and value.isdigit() and 0 < int(value) < 65536):
        raise ValueError(f"{value!r} is not a port number (1 to 65535)")
    return int(value)


class SecretFileSource(PydanticBaseSettingsSource):
    """Takes secrets from the files that `LISTBRIDGE_<KEY>_FILE` names, without the line end."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = f"{PREFIX}{field_name.upper()}"
        path = os.environ.get(f"{variable}_FILE") if field_name in SECRETS else None
        if path is None:
            return None, field_name, False
        if variable in os.environ:
            raise SettingsError(f"{variable} and {variable}_FILE are both set; keep one of them.")
        return read_secret(path, f"{variable}_FILE"), field_name, False

    def __call__(self) -> dict[str, Any]:
        values = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in values.items() if value is not None}


class Settings(BaseSettings):
    """The settings of one process; see docs/settings.md."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, validate_default=True)

    data_dir: Path = Path("var")
    """Directory of homes, spool and the embedded database; all of it lies on one file system."""

    database_url: str = Field(default="", repr=False)
    """SQLAlchemy URL, `sqlite:///PATH` or `postgresql+psycopg://…`; empty: `listbridge.db` in the data directory."""

    http: Annotated[Address, NoDecode, BeforeValidator(parse_address)] = Address("127.0.0.1", 8080)
    """Where SOAP and HTTP callers are served."""

    public_url: str = ""
    """Under which the links in mails are opened, `http://…` or `https://…`; empty: where `http` listens."""

    ftp: Annotated[Address, NoDecode, BeforeValidator(parse_address)] = Address("127.0.0.1", 2121)
    """Where FTP clients are served."""

    sftp: Annotated[Address | None, NoDecode, BeforeValidator(parse_optional_address)] = Address("127.0.0.1", 2222)
    """Where SFTP and SCP clients are served; empty: nowhere."""

    ftp_passive_ports: Annotated[PortRange, NoDecode, BeforeValidator(parse_port_range)] = PortRange(50000, 50099)
    """Ports for the data connections of FTP clients, both ends included."""

    ftp_masquerade_address: str | None = None
    """IPv4 address told to FTP clients for data connections, when the server stands behind address translation."""

    ftps_implicit: Annotated[Address | None, NoDecode, BeforeValidator(parse_optional_address)] = None
    """Where FTP clients are served that begin with TLS; empty: nowhere. Explicit TLS is always offered on `ftp`."""

    ftp_certificate: Path | None = None
    """Certificate in PEM, with its chain; absent: the server makes its own in the data directory."""

    ftp_certificate_key: Path | None = None
    """Key of the certificate in PEM; absent: it is in the same file."""

    ftp_require_tls: bool = False
    """Refuse FTP logins without TLS."""

    ftp_require_protection: bool = False
    """Refuse FTP data connections without TLS."""

    ftp_connections_per_address: int = Field(default=20, ge=1)
    """Most connections of one address to the file doors at a time."""

    ftp_connections_per_minute: int = Field(default=600, ge=1)
    """Most new connections of one address to the file doors in a minute."""

    ftp_ban_failures: int = Field(default=20, ge=0)
    """Failed logins within `ftp_ban_minutes`, whatever the users, that ban an address; 0: none is banned."""

    ftp_ban_minutes: float = Field(default=15.0, gt=0)
    """How long an address stays banned from the file doors."""

    workers: int = Field(default=1, ge=1, le=64)
    """Processes that serve HTTP."""

    trust_forwarded: bool = False
    """Believe the `X-Forwarded-*` headers, for a server that only its own proxy can reach."""

    max_form_kb: int = Field(default=1024, ge=1)
    """Most KiB of a request to a page."""

    max_soap_kb: int = Field(default=2048, ge=64)
    """Most KiB of a SOAP message, large texts left out."""

    max_large_soap_mb: int = Field(default=512, ge=1)
    """Most MiB of the large texts in a SOAP message, such as the document of an import."""

    max_xml_depth: int = Field(default=100, ge=10)
    """Most levels of elements in a SOAP message."""

    max_xml_nodes: int = Field(default=5_000, ge=100)
    """Most elements and attributes in a SOAP message, and most name space declarations."""

    max_xml_attributes: int = Field(default=64, ge=8)
    """Most attributes of one element in a SOAP message."""

    max_xml_name: int = Field(default=1024, ge=256)
    """Most characters of a name in a SOAP message, its name space included."""

    max_xml_tag_kb: int = Field(default=256, ge=64)
    """Most KiB of one tag, comment or processing instruction in a SOAP message."""

    max_xml_text_kb: int = Field(default=1024, ge=64)
    """Most KiB, counted in characters, of all text in a SOAP message, large texts left out."""

    body_seconds: float = Field(default=30.0, gt=0)
    """Within which each piece of 64 KiB of a request's body has to come."""

    page_rate_per_address: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Calls per second that the pages for registered callers take from one address; 0 is no limit."""

    page_rate_per_account: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Calls per second that the pages of one account take; 0 is no limit."""

    form_rate_per_address: float = Field(default=20.0, ge=0, allow_inf_nan=False)
    """Requests per second that the pages for everybody take from one address; 0 is no limit."""

    webhook_allowed_networks: str = ""
    """Networks, separated by commas, that webhooks, and what messages show, may lie in although they are not public."""

    transfer_allowed_networks: str = ""
    """Networks, separated by commas, that partners' servers may lie in although they are not public."""

    smtp_relay: str = ""
    """Where mails go: `HOST:PORT`, or `mx` for the servers of each recipient's domain; empty: they wait."""

    smtp_security: Literal["opportunistic", "starttls", "tls", "none"] = "opportunistic"
    """Encryption of connections to the relay; `opportunistic` is STARTTLS where it is offered."""

    smtp_username: str = ""
    """Of the relay; empty: without a login."""

    smtp_password: str = Field(default="", repr=False)
    """Of the relay."""

    smtp_hello_name: str = ""
    """By which this server greets others; empty: the host of `public_url`."""

    smtp_connections: int = Field(default=4, ge=1, le=100)
    """Connections for mails to many people; those to one person have one more."""

    smtp_connections_per_domain: int = Field(default=10, ge=1)
    """Of them, with the servers of one domain at the same time."""

    smtp_per_minute_per_domain: int = Field(default=0, ge=0)
    """Mails to one domain in a minute; 0: no limit."""

    smtp_retry_hours: float = Field(default=48.0, gt=0)
    """How long a mail is tried again that a server does not take for the moment."""

    require_verified_senders: bool = False
    """Whether only sender addresses are used whose owners have proved that they are theirs."""

    bounce_domain: str = ""
    """Domain of the return paths, whose mails come back to this server; empty: the list's address for bounces."""

    bounce_smtp: Annotated[Address | None, NoDecode, BeforeValidator(parse_optional_address)] = None
    """Where mails that come back are taken by SMTP; empty: nowhere."""

    bounce_lmtp: Annotated[Address | None, NoDecode, BeforeValidator(parse_optional_address)] = None
    """Where mails that come back are taken by LMTP; empty: nowhere."""

    bounce_imap: str = Field(default="", repr=False)
    """Mailbox of mails that come back, `imaps://USER:PASSWORD@HOST/FOLDER`; empty: none."""

    soft_bounce_limit: int = Field(default=5, ge=1)
    """Soft bounces in a row after which somebody is unsubscribed."""

    sms_gateway: str = Field(default="", repr=False)
    """Where text messages go, `smpp://…` or `https://…`; empty: they wait."""

    sms_per_second: float = Field(default=10.0, gt=0)
    """Text messages that the gateway takes in a second."""

    disk_reserve_mb: int = Field(default=100, ge=0)
    """Free disk, in MiB, below which nothing more is accepted."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important events that are logged."""

    log_format: Literal["auto", "json", "text"] = "auto"
    """How events are written; `auto` is text on a terminal and JSON elsewhere."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        data_dir = self.data_dir.absolute()
        object.__setattr__(self, "data_dir", data_dir)
        url = self.database_url or f"sqlite:///{data_dir / 'listbridge.db'}"
        object.__setattr__(self, "database_url", _check_database_url(url))
        parse_networks(self.webhook_allowed_networks)
        if self.ftp_certificate_key is not None and self.ftp_certificate is None:
            raise ValueError("ftp_certificate_key needs ftp_certificate")
        parse_networks(self.transfer_allowed_networks)
        parse_relay(self.smtp_relay)
        _check_server("bounce_imap", self.bounce_imap, ("imaps", "imap"))
        _check_server("sms_gateway", self.sms_gateway, ("smpp", "smpps", "https", "http"))
        public_url = self.public_url or f"http://{self.http.reachable}"
        object.__setattr__(self, "public_url", _check_public_url(public_url))
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the places a setting can be given in into their order, the strongest first."""
        config_file = TomlConfigSettingsSource(settings_cls, _find_config_file())
        return init_settings, env_settings, SecretFileSource(settings_cls), config_file

    def to_environment(self) -> dict[str, str]:
        """Return this process's environment with these settings in it, for the processes it starts."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        environment[CONFIG_VARIABLE] = os.devnull
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if value is not None:
                environment[PREFIX + name.upper()] = str(value)
            elif field.default is not None:
                environment[PREFIX + name.upper()] = ""
        return environment


def load_settings(**given: Any) -> Settings:
    """Collect the settings from all places.

    Args:
        given: those of the command line; None stands for absent.

    Raises:
        SettingsError: a key is unknown or a value cannot be used; the text is one line and names it.
    """
    _refuse_unknown_variables(os.environ)
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except TOMLDecodeError as error:
        raise SettingsError(f"{_find_config_file()} is not TOML: {error}") from None
    except ValidationError as error:
        raise SettingsError("; ".join(map(_describe, error.errors(include_url=False, include_input=False)))) from None


def known_variables() -> list[str]:
    """Return the names of every environment variable that the program reads."""
    names = [PREFIX + name.upper() for name in Settings.model_fields]
    special = (CONFIG_VARIABLE, *PASSWORD_VARIABLES, *SECRET_VARIABLES)
    return [*names, *(f"{PREFIX}{name.upper()}_FILE" for name in SECRETS), *special]


def read_secret(path: str, variable: str) -> str:
    """Return the content of a secret's file without its line end.

    Raises:
        SettingsError: the file cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{variable}: the file {path} cannot be read.") from None


def _find_config_file() -> Path:
    given = os.environ.get(CONFIG_VARIABLE)
    path = Path(given or CONFIG_FILE)
    if given and not path.exists():
        raise SettingsError(f"{CONFIG_VARIABLE}: there is no file {given}.")
    return path


def _check_database_url(url: str) -> str:
    try:
        driver = make_url(url).drivername
    except ArgumentError:
        driver = ""
    if driver not in DATABASE_DRIVERS:
        raise ValueError("database_url must begin with sqlite:/// or postgresql+psycopg://")
    return url


def _check_public_url(url: str) -> str:
    if not _PUBLIC_URL.fullmatch(url):
        raise ValueError("public_url must be like https://mail.example.com, without ? and #")
    return url.rstrip("/")


def _check_server(name: str, url: str, schemes: tuple[str, ...]) -> None:
    """Check what can be told without a connection; the text shows nothing of the URL, which has a password.

    Raises:
        ValueError: it is neither empty nor the URL of a server.
    """
    try:
        parts = urlsplit(url)
        is_server = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_server = False
    if url and not is_server:
        begins = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ValueError(f"{name} must begin with {begins} and name a host, with a port from 1 to 65535 if any")


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    known = known_variables()
    for name in sorted(environment):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            raise SettingsError(f"The environment variable {name} is not known.{_nearest(name.upper(), known)}")


def _describe(error: Any) -> str:
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"The setting {key} is not known.{_nearest(key, list(Settings.model_fields))}"
    text = cast("str", error["msg"]).removeprefix("Value error, ")
    return f"{key}: {text}." if key else f"{text}."


def _nearest(name: str, known: list[str]) -> str:
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" The nearest known one is {found[0]}." if found else f" Known are {', '.join(known)}."
