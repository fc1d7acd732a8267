"""Asks the oracle, the runtime of ASMX services in Mono, what it answers to the golden cases, and writes it down.

Run it as `PYTHONPATH=tests python -m golden.record`; Debian has what it needs in `mono-fastcgi-server4`,
`mono-devel` and `nginx`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from golden.cases import PATH, Case, message_cases
from golden.type_cases import type_cases
from web_server import Reply, Site

HERE = Path(__file__).parent
ANSWERS = HERE / "answers.json"
PROGRAMS = ("mono", "mcs", "fastcgi-mono-server4", "nginx")
_START_SECONDS = 120
_ADDRESS = re.compile(r"http://(localhost|127\.0\.0\.1)(:[0-9]+)?")
# The oracle lets its stack trace follow on further lines of the fault's text.
_TRACE = re.compile(r"(<faultstring>|<soap:Text[^>]*>)([^<\n]*)\n[^<]*")
_NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    fastcgi_temp_path {folder}/fastcgi;
    proxy_temp_path {folder}/proxy;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/site;
        location / {{
            # Without `fastcgi_keep_conn`, under which Mono's server hangs.
            fastcgi_pass 127.0.0.1:{mono_port};
            fastcgi_param QUERY_STRING $query_string;
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param CONTENT_TYPE $content_type;
            fastcgi_param CONTENT_LENGTH $content_length;
            fastcgi_param SCRIPT_NAME $fastcgi_script_name;
            fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
            fastcgi_param PATH_INFO "";
            fastcgi_param REQUEST_URI $request_uri;
            fastcgi_param DOCUMENT_URI $document_uri;
            fastcgi_param DOCUMENT_ROOT $document_root;
            fastcgi_param SERVER_PROTOCOL $server_protocol;
            fastcgi_param REMOTE_ADDR $remote_addr;
            fastcgi_param REMOTE_PORT $remote_port;
            fastcgi_param SERVER_ADDR $server_addr;
            fastcgi_param SERVER_PORT $server_port;
            fastcgi_param SERVER_NAME localhost;
        }}
    }}
}}
"""


def all_cases() -> list[Case]:
    """Return every case."""
    return [*message_cases(), *type_cases()]


def missing_programs() -> list[str]:
    """Return which programs of the oracle are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


@contextmanager
def run_oracle() -> Iterator[Site]:
    """Serve the oracle's contract while the block runs."""
    with tempfile.TemporaryDirectory(prefix="oracle-") as name, ExitStack() as stack:
        folder = Path(name)
        shutil.copytree(HERE / "oracle", folder / "site")
        site, mono = Site("127.0.0.1", _free_port()), Site("127.0.0.1", _free_port())
        configuration = folder / "nginx.conf"
        configuration.write_text(_NGINX.format(folder=folder, port=site.port, mono_port=mono.port))
        socket_name = f"/socket=tcp:{mono.host}:{mono.port}"
        stack.enter_context(_run("fastcgi-mono-server4", f"/applications=/:{folder}/site", socket_name))
        stack.enter_context(_run("nginx", "-p", name, "-c", str(configuration)))
        _wait_for(site)
        yield site


@contextmanager
def _run(*command: str) -> Iterator[None]:
    environment = os.environ | {"TZ": "UTC", "LC_ALL": "C.UTF-8"}
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(site: Site) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            if site.get(f"{PATH}?wsdl").status == 200:
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, "the oracle did not start"
        time.sleep(0.2)


def send(site: Site, case: Case) -> Reply:
    """Send the request of a case."""
    return site.request(case.method, case.path, case.body or None, case.headers)


def record() -> dict[str, Any]:
    """Return what the oracle answers to each case, with the version of Mono."""
    with run_oracle() as site:
        answers = {case.name: _describe(send(site, case)) for case in all_cases()}
    version = subprocess.run(["mono", "--version"], check=True, capture_output=True, text=True).stdout
    return {"mono": version.partition("\n")[0].partition(" (")[0], "answers": answers}


def _describe(reply: Reply) -> dict[str, Any]:
    content_type = find_content_type(reply)
    body = replace_address(reply.body.decode())
    if "html" in (content_type or ""):
        # Pages of the runtime and of nginx: that there is one is all that is compared.
        body = body and "<html>"
    elif "plain" in (content_type or ""):
        body = body.partition("\n")[0]
    return {"status": reply.status, "type": content_type, "body": _TRACE.sub(r"\1\2", body)}


def find_content_type(reply: Reply) -> str | None:
    """Return the content type of an answer."""
    return next((value for name, value in reply.headers.items() if name.lower() == "content-type"), None)


def replace_address(text: str) -> str:
    """Return a text with the port of this run taken out of addresses."""
    return _ADDRESS.sub("http://localhost", text)


def write_answers(recorded: dict[str, Any]) -> None:
    """Write the answers into their file, each of them on its own lines."""
    ANSWERS.write_text(json.dumps(recorded, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_answers() -> dict[str, Any]:
    """Return what was recorded last."""
    recorded: dict[str, Any] = json.loads(ANSWERS.read_text(encoding="utf-8"))
    return recorded


if __name__ == "__main__":
    write_answers(record())
    print(ANSWERS)
