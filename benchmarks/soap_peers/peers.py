"""The servers that ours is measured beside: what they need on this machine, and how each is built and started."""

from __future__ import annotations

import getpass
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.soap_peers.messages import PATH, prepare_rows, write_rows
from benchmarks.soap_peers.processes import ROOT, Command

_HERE = Path(__file__).parent
_CONTRACT = _HERE / "bench.wsdl"
_JARS = Path("/usr/share/java")
_PHP_PROCESSES = 8

Build = Callable[[Path, int], Sequence[Command]]


@dataclass(frozen=True, slots=True)
class Peer:
    """One server."""

    name: str
    title: str
    build: Build
    """Takes an empty folder and the port to listen on; returns the programs to run."""
    needs: Sequence[str | Path] = ()
    """Programs, and files."""
    install: str = ""
    """The command that brings what it needs."""
    goals: tuple[float, float] = (0, 0)
    """How many times as fast ours shall be: an int to a string, a list of rows; 0 when nothing was set."""

    def missing(self) -> list[str]:
        """Return what is not there of what it needs."""
        return [str(need) for need in self.needs if not _is_there(need)]


def _is_there(need: str | Path) -> bool:
    return need.exists() if isinstance(need, Path) else _find_program(need) is not None


def _find_program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def build_ours(folder: Path, port: int, *, workers: int = 1) -> Sequence[Command]:
    """Return the program of our server with so many processes."""
    return [Command([sys.executable, "-m", "benchmarks.soap_contract", str(port), str(folder), str(workers)])]


def _build_spyne(_folder: Path, port: int) -> Sequence[Command]:
    return [Command([sys.executable, "-m", "benchmarks.soap_peers.spyne_server", str(port)])]


def _build_node(folder: Path, port: int) -> Sequence[Command]:
    rows = write_rows(folder / "rows.tsv")
    arguments = ["node", str(_HERE / "server.js"), str(port), str(_CONTRACT), str(rows)]
    return [Command(arguments, {"NODE_ENV": "production"})]


def _build_jaxws(folder: Path, port: int) -> Sequence[Command]:
    rows = write_rows(folder / "rows.tsv")
    jars = [str(_JARS / name) for name in ("jaxws-rt.jar", "javax.activation.jar")]
    sources = map(str, sorted((_HERE / "jaxws").glob("*.java")))
    _run("javac", "-nowarn", "-classpath", ":".join(jars), "-d", str(folder), *sources)
    classes = ":".join([*jars, str(folder)])
    _run("wsgen", "-classpath", classes, "-d", str(folder), "bench.Bench")
    # Without it the small last packet of an answer waits for the client's acknowledgement.
    prompt = "-Dsun.net.httpserver.nodelay=true"
    return [Command(["java", prompt, "-classpath", classes, "bench.Bench", str(port), str(rows)])]


def _build_gsoap(folder: Path, port: int) -> Sequence[Command]:
    rows = write_rows(folder / "rows.tsv")
    _run("soapcpp2", "-1SLwx", "-d", str(folder), "-I/usr/share/gsoap/import", str(_HERE / "gsoap/bench.h"))
    sources = [str(_HERE / "gsoap/server.cpp"), *map(str, folder.glob("soap*.cpp"))]
    program = str(folder / "server")
    _run("g++", "-O2", f"-I{folder}", "-o", program, *sources, "-lgsoap++", "-lpthread")
    return [Command([program, str(port), str(rows)])]


def _build_php(folder: Path, port: int) -> Sequence[Command]:
    rows = "".join(f"{json.dumps(row, ensure_ascii=False)},\n" for row in prepare_rows())
    (folder / "rows.php").write_text(f"<?php return [\n{rows}];\n", encoding="utf-8")
    pool, site = folder / "php-fpm.conf", folder / "nginx.conf"
    values = {"folder": folder, "port": port, "path": PATH, "here": _HERE, "user": getpass.getuser()}
    pool.write_text(_POOL.format(**values, processes=_PHP_PROCESSES), encoding="utf-8")
    site.write_text(_SITE.format(**values, processes=_PHP_PROCESSES), encoding="utf-8")
    php, nginx = _find_php(), _find_program("nginx")
    assert php is not None and nginx is not None
    arguments = [str(php), "--nodaemonize", "--allow-to-run-as-root", "--fpm-config", str(pool)]
    return [Command(arguments, socket=folder / "php.socket"), Command([nginx, "-c", str(site)])]


def _find_php() -> Path | None:
    return max(Path("/usr/sbin").glob("php-fpm*"), default=None)


def _run(*command: str) -> None:
    """Run a tool.

    Raises:
        RuntimeError: it failed; with the end of what it wrote.
    """
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {(done.stdout + done.stderr)[-2000:]}")


_POOL = """
[global]
error_log = /dev/stderr
[bench]
user = {user}
listen = {folder}/php.socket
pm = static
pm.max_children = {processes}
php_admin_value[soap.wsdl_cache_dir] = {folder}
php_admin_value[opcache.validate_timestamps] = 0
"""

_SITE = """
daemon off;
user {user};
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 256; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/bodies;
    fastcgi_temp_path {folder}/answers;
    proxy_temp_path {folder}/proxy;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream php {{
        server unix:{folder}/php.socket;
        keepalive {processes};
    }}
    server {{
        listen 127.0.0.1:{port};
        location = {path} {{
            fastcgi_pass php;
            fastcgi_keep_conn on;
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param CONTENT_TYPE $content_type;
            fastcgi_param CONTENT_LENGTH $content_length;
            fastcgi_param HTTP_SOAPACTION $http_soapaction;
            fastcgi_param SCRIPT_FILENAME {here}/server.php;
            fastcgi_param WSDL {here}/bench.wsdl;
            fastcgi_param ROWS {folder}/rows.php;
        }}
    }}
}}
"""

OURS = Peer("ours", "ours", build_ours)
PEERS = (
    OURS,
    Peer(
        "node",
        "node soap",
        _build_node,
        ("node", _HERE / "node_modules/soap"),
        "apt install nodejs npm && npm install --no-package-lock --prefix benchmarks/soap_peers",
        (1.5, 4),
    ),
    Peer(
        "php",
        "PHP SoapServer, php-fpm + nginx",
        _build_php,
        ("nginx", Path("/etc/php")),
        "apt install nginx php-fpm php-soap",
        (1.5, 2.5),
    ),
    Peer(
        "jaxws",
        "JAX-WS RI",
        _build_jaxws,
        ("javac", "wsgen", _JARS / "jaxws-rt.jar", _JARS / "javax.activation.jar"),
        "apt install default-jdk-headless jaxws",
        (2, 1),
    ),
    Peer(
        "gsoap",
        "gSOAP C++",
        _build_gsoap,
        ("soapcpp2", "g++", Path("/usr/include/stdsoap2.h")),
        "apt install g++ gsoap libgsoap-dev",
        (0, 1),
    ),
    Peer("spyne", "stock Spyne 2.14", _build_spyne, goals=(8, 40)),
)
