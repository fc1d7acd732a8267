"""Shows the main job end to end, the way its callers see it: real commands, real sockets, a server of its own.

Every step says what it does and checks what came of it, so that a run which ends well is also a test of the
installation.
"""

from __future__ import annotations

import ftplib
import html
import io
import os
import re
import secrets
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from listbridge.errors import CommandError

ACCOUNT = "1234"
FTP_USER = "partner"
FILE_NAME = "customers.csv"
ROWS = """\
111;1;2
one@example.com;Uno;Roma
two@example.com;Due;Milano
this is no address;Carla;Verdi
dora@example.com;Dora;Neri
"""
LEAVER = "two@example.com"
WAIT_SECONDS = 60.0

_ENVELOPE = """\
<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" xmlns:ws="http://ws.mailupnet.it/">
<soap:Header><ws:Authentication><ws:User>{user}</ws:User><ws:Password>{password}</ws:Password></ws:Authentication></soap:Header>
<soap:Body><ws:GetProcessDetails><ws:idList>{list}</ws:idList><ws:listGUID>{guid}</ws:listGUID>\
<ws:idProcess>{process}</ws:idProcess></ws:GetProcessDetails></soap:Body>
</soap:Envelope>"""


def run_demo() -> None:
    """Run all steps on a temporary server.

    Raises:
        CommandError: a step did not give what it should.
    """
    with tempfile.TemporaryDirectory(prefix="listbridge-demo-") as directory:
        server = DemoServer(Path(directory))
        with server.running():
            try:
                _Demo(server).run()
            except (OSError, EOFError, ftplib.Error) as error:
                raise CommandError(f"The demonstration failed: {error}") from error
    print("\nEverything went as it should. The temporary server and its data are gone.")


class DemoServer:
    """A server with a data directory and ports of its own."""

    def __init__(self, directory: Path) -> None:
        http, ftp, first, last = _choose_ports()
        self.directory = directory
        self.http = f"127.0.0.1:{http}"
        self.ftp_port = ftp
        foreign = {name: value for name, value in os.environ.items() if not name.startswith("LISTBRIDGE_")}
        self.environment = foreign | {
            "LISTBRIDGE_CONFIG": os.devnull,
            "LISTBRIDGE_DATA_DIR": str(directory / "data"),
            "LISTBRIDGE_HTTP": self.http,
            "LISTBRIDGE_FTP": f"127.0.0.1:{ftp}",
            "LISTBRIDGE_SFTP": "",
            "LISTBRIDGE_FTP_PASSIVE_PORTS": f"{first}-{last}",
            "LISTBRIDGE_LOG_LEVEL": "error",
            "LISTBRIDGE_DISK_RESERVE_MB": "0",
        }

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the server for the time of a `with` block."""
        command = [sys.executable, "-m", "listbridge", "serve"]
        with subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                if "ready" not in process.stdout.readline():
                    raise CommandError("The temporary server did not start.")
                yield
            finally:
                process.terminate()

    def command(self, *arguments: str) -> str:
        """Run a command of the command line; return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "listbridge", *arguments],
            env=self.environment,
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise CommandError(f"`listbridge {' '.join(arguments[:2])}` failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def page(self, name: str, **parameters: str) -> str:
        """Call a subscription page; return its body."""
        return self.fetch(f"/frontend/{name}.aspx?{urllib.parse.urlencode(parameters)}")

    def fetch(self, path: str, body: str | None = None, action: str = "") -> str:
        """Call the server over HTTP, with a SOAP body if one is given."""
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{action}"'} if body else {}
        request = urllib.request.Request(f"http://{self.http}{path}", body.encode() if body else None, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  (always http)
            text: str = answer.read().decode()
        return text


class _Demo:
    """The steps; those after the first work with what it made."""

    def __init__(self, server: DemoServer) -> None:
        self._server = server
        self._password = secrets.token_urlsafe(12)
        self._steps = 0

    def run(self) -> None:
        self._say(f"A temporary server runs, HTTP on {self._server.http}, FTP on port {self._server.ftp_port}.")
        self._set_up()
        with ftplib.FTP() as ftp:  # noqa: S321  (the door that is shown)
            ftp.connect("127.0.0.1", self._server.ftp_port, timeout=30)
            ftp.login(FTP_USER, self._password)
            self._send_file(ftp)
            self._send_file_again(ftp)
            self._unsubscribe()
            self._export(ftp)
            self._ask_by_soap()
            ftp.quit()

    def _say(self, text: str) -> None:
        self._steps += 1
        print(f"\n{self._steps}. {text}", flush=True)

    def _set_up(self) -> None:
        self._say("The operator adds an account, a list, a field's name and an FTP user.")
        self._command("account", "add", ACCOUNT, "--password", self._password)
        self._list, self._guid = self._command("list", "add", "--account", ACCOUNT, "--name", "Newsletter").split()
        self._command("field", "set", "--account", ACCOUNT, "1", "First name")
        self._command("ftp-user", "add", FTP_USER, "--account", ACCOUNT, "--password", self._password)

    def _send_file(self, ftp: ftplib.FTP) -> None:
        self._say(f"The partner puts a file of four rows, one of them bad, into import/{self._list}/.")
        _show(ROWS)
        self._upload(ftp)
        processed = self._await_file(ftp, FILE_NAME)
        print(f"   In import/{self._list}/processed/ are now: {', '.join(processed)}")
        refused = _download(ftp, f"import/{self._list}/processed/{FILE_NAME}.errors.csv")
        print("   The file of refused rows says which, and why:")
        _show(refused)
        _expect("a refused row", "this is no address" in refused)
        print("   The operator sees the result:")
        _show(self._server.command("import", "show", "1"))

    def _send_file_again(self, ftp: ftplib.FTP) -> None:
        self._say("The partner sends the same content again, under another name. It is not imported twice.")
        self._upload(ftp, "again.csv")
        self._await_file(ftp, "again.csv")
        listing = self._server.command("import", "list")
        _show(listing)
        _expect("one skipped import", listing.count("skipped") == 1 and listing.count("completed") == 1)

    def _unsubscribe(self) -> None:
        self._say(f"A web shop unsubscribes {LEAVER}, then asks for the status.")
        caller = {"ListGuid": self._guid, "List": self._list, "Email": LEAVER}
        for page, parameters, expected, meaning in (
            ("Xmlchksubscriber", caller, "2", "subscribed"),
            ("xmlUnsubscribe", caller, "0", "done"),
            ("Xmlchksubscriber", caller, "3", "unsubscribed"),
        ):
            answer = self._server.page(page, **parameters).strip()
            print(f"   {page} answers {answer}: {meaning}")
            _expect(f"{expected} from {page}", answer == expected)

    def _export(self, ftp: ftplib.FTP) -> None:
        self._say("The operator sets up a daily export of unsubscribers and runs it once now.")
        export_id = self._command(
            "export", "add", "--account", ACCOUNT, "--type", "unsubscribers", "--period", "full", "--at", "02:30"
        )
        name = self._command("export", "run", export_id)
        print(f"   The partner fetches {name}:")
        content = _download(ftp, name)
        _show(content)
        _expect("one row with the address", content.count("@") == 1 and LEAVER in content)

    def _ask_by_soap(self) -> None:
        self._say("The CRM asks over SOAP what became of the file that came over FTP.")
        envelope = _ENVELOPE.format(
            user=f"a{ACCOUNT}", password=self._password, list=self._list, guid=self._guid, process=1
        )
        action = "http://ws.mailupnet.it/GetProcessDetails"
        answer = html.unescape(self._server.fetch("/Services/WSMailUpImport.asmx", envelope, action))
        for name, expected in (("ReturnCode", "0"), ("TotalContacts", "4"), ("NewEmail", "3"), ("StatusCode", "3")):
            found = re.search(f"<{name}>(.*?)</{name}>", answer)
            value = found[1] if found else "nothing"
            print(f"   {name}: {value}")
            _expect(f"{expected} as {name}", value == expected)

    def _command(self, *arguments: str) -> str:
        shown = [
            "secret" if before == "--password" else text
            for before, text in zip(("", *arguments), arguments, strict=False)
        ]
        print(f"   $ listbridge {shlex.join(shown)}", flush=True)
        printed = self._server.command(*arguments)
        print(f"   {printed}")
        return printed

    def _upload(self, ftp: ftplib.FTP, name: str = FILE_NAME) -> None:
        print(f"   {ftp.storbinary(f'STOR import/{self._list}/{name}', io.BytesIO(ROWS.encode()))}")

    def _await_file(self, ftp: ftplib.FTP, name: str) -> list[str]:
        folder = f"import/{self._list}/processed"
        wanted = (name, f"{name}.result.json")
        names = _await(name, lambda: _names(ftp, folder), lambda found: all(one in found for one in wanted))
        return sorted(names)


def _await(what: str, look: Callable[[], list[str]], is_done: Callable[[list[str]], bool]) -> list[str]:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        found = look()
        if is_done(found):
            return found
        time.sleep(0.2)
    raise CommandError(f"The demonstration failed: {what} was not processed within {WAIT_SECONDS:.0f} seconds.")


def _names(ftp: ftplib.FTP, folder: str) -> list[str]:
    try:
        return [name.rpartition("/")[2] for name in ftp.nlst(folder)]
    except ftplib.error_perm:
        return []


def _download(ftp: ftplib.FTP, path: str) -> str:
    content = io.BytesIO()
    ftp.retrbinary(f"RETR {path}", content.write)
    return content.getvalue().decode()


def _show(text: str) -> None:
    for line in text.splitlines():
        print(f"     {line}".rstrip())


def _expect(what: str, fulfilled: bool) -> None:
    if not fulfilled:
        raise CommandError(f"The demonstration failed: {what} was expected.")


def _choose_ports() -> tuple[int, int, int, int]:
    """Return ports that are free now: for HTTP, for FTP, and the ends of a short run of neighbours."""
    sockets = []
    try:
        for _ in range(2):
            sockets.append(_bind(0))
        first = 40_000 + secrets.randbelow(9_000)
        return _port(sockets[0]), _port(sockets[1]), first, first + 20
    finally:
        for opened in sockets:
            opened.close()


def _bind(port: int) -> socket.socket:
    opened = socket.socket()
    opened.bind(("127.0.0.1", port))
    return opened


def _port(opened: socket.socket) -> int:
    number: int = opened.getsockname()[1]
    return number
