"""The one WSGI application: SOAP services by exact path, everything else through Flask, and always an answer."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import structlog
from flask import Flask, request

from db.engine import Database
from jobs.storage import Storage
from services.contracts import SERVICES
from services.hosted.pages import create_hosted_pages
from services.hosted.sender_pages import create_sender_pages
from services.hosted.sms_status import create_sms_status
from services.hosted.tracking import create_tracking
from services.http.bodies import BodyRefused
from services.http.failures import describe_failure
from services.http.health import create_health_pages
from services.http.metrics import REQUESTS
from services.http.options import HttpOptions
from services.http.slow_bodies import WATCH
from services.mailup.activation import create_activation
from services.mailup.form_pages import create_form_pages
from services.mailup.merge_tags import VOCABULARY
from services.mailup.pages import create_pages
from services.resources import Resources
from services.soap.declarations import Service
from services.soap.endpoint import SoapEndpoint
from services.soap.plain_http import create_plain_endpoints

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = structlog.get_logger()

__all__ = ["HttpOptions", "create_application"]

_SLASHES = re.compile(r"//+")
_IIS_PATH = re.compile(r"\.as[mp]x?(/|$)", re.IGNORECASE)
_ENDPOINT = "listbridge.endpoint"
_OTHER = "other"


def create_application(
    database: Database, storage: Storage, options: HttpOptions, services: Iterable[Service] = SERVICES
) -> WSGIApplication:
    """Return the application with everything it serves.

    Args:
        database: of the newest schema.
        storage: prepared.
        options: limits and trust.
        services: by SOAP.
    """
    resources = Resources(
        database,
        storage,
        content_networks=options.content_networks,
        sending_rules=options.sending_rules,
        public_url=options.public_url,
    )
    endpoints: dict[str, tuple[str, WSGIApplication]] = {}
    for service in services:
        endpoint = SoapEndpoint(service, resources, options)
        ends: dict[str, WSGIApplication] = {"": endpoint}
        ends.update(create_plain_endpoints(endpoint.codec, resources, options))
        for path in service.paths:
            endpoints.update({(path + end).lower(): (service.name, inner) for end, inner in ends.items()})
    tracking = {path: ("tracking", inner) for path, inner in create_tracking(database, options).items()}
    return _Application(endpoints, tracking, _create_flask(resources, options), options.body_seconds)


def _create_flask(resources: Resources, options: HttpOptions) -> Flask:
    flask = Flask("listbridge", static_folder=None, template_folder=None)
    # Exceptions go on to the catch-all, whose log entry has no data of callers in it.
    flask.config["PROPAGATE_EXCEPTIONS"] = True
    flask.before_request(_count_endpoint)
    flask.register_blueprint(create_health_pages(resources))
    flask.register_blueprint(create_pages(resources, options))
    flask.register_blueprint(create_form_pages(resources, options))
    flask.register_blueprint(create_hosted_pages(resources, options, VOCABULARY))
    flask.register_blueprint(create_sender_pages(resources, options))
    flask.register_blueprint(create_sms_status(resources, options))
    flask.register_blueprint(create_activation(resources, options))
    return flask


class _Application:
    """Normalises paths, dispatches, counts, and answers 500 when everything else failed."""

    def __init__(
        self,
        endpoints: dict[str, tuple[str, WSGIApplication]],
        tracking: dict[str, tuple[str, WSGIApplication]],
        flask: Flask,
        body_seconds: float,
    ) -> None:
        self._endpoints = endpoints
        self._tracking = tracking
        self._flask = flask
        self._body_seconds = body_seconds
        # Bound once: to bind it anew for each request would take longer than to find out that nothing is logged.
        self._log = log.bind()
        self._counters: dict[tuple[str, str], Any] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        status = "500"
        environ[_ENDPOINT] = _OTHER
        progress = WATCH.begin(environ, self._body_seconds)

        def start(line: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal status
            status = line[:3]
            return start_response(line, headers, exc_info) if exc_info else start_response(line, headers)

        try:
            path = environ["PATH_INFO"] = _normalise_path(environ.get("PATH_INFO", ""))
            name, inner = self._find(path)
            environ[_ENDPOINT] = name
            return inner(environ, start)
        except BodyRefused as refusal:
            return _give_up(start, refusal.status, refusal.headers)
        except Exception as error:
            log.error("request_failed", endpoint=environ[_ENDPOINT], **describe_failure(error))
            return _give_up(start, "500 Internal Server Error")
        finally:
            WATCH.end(progress)
            endpoint = environ[_ENDPOINT]
            self._count(endpoint, status)
            self._log.debug("request", method=environ.get("REQUEST_METHOD"), endpoint=endpoint, status=int(status))

    def _find(self, path: str) -> tuple[str, WSGIApplication]:
        # The paths of tracked links begin with one letter between slashes.
        return self._endpoints.get(path) or self._tracking.get(path[:3]) or (_OTHER, self._flask.wsgi_app)

    def _count(self, endpoint: str, status: str) -> None:
        labels = (endpoint, status)
        counter = self._counters.get(labels)
        if counter is None:
            counter = self._counters[labels] = REQUESTS.labels(*labels)
        counter.inc()


def _give_up(start_response: Callable[..., Any], status: str, headers: Iterable[tuple[str, str]] = ()) -> list[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), *headers], sys.exc_info())
    return [status.encode()]


def _count_endpoint() -> None:
    """Tell the outer application which page was found, so that it counts by page and not by path."""
    request.environ[_ENDPOINT] = request.endpoint or _OTHER


def _normalise_path(path: str) -> str:
    """Collapse repeated slashes; the pages that IIS served are found in any case, as IIS does."""
    path = _SLASHES.sub("/", path) or "/"
    return path.lower() if _IIS_PATH.search(path) else path
