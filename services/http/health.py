"""The pages for those who watch the server: is the process alive, can it work, what does it count."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from jobs.readiness import OK, readiness
from services.http.metrics import CONTENT_TYPE, expose_metrics
from services.resources import Resources


def create_health_pages(resources: Resources) -> Blueprint:
    """Return `/healthz`, `/readyz` and `/metrics`."""
    pages = Blueprint("health", __name__)

    @pages.get("/healthz")
    def alive() -> Response:
        return Response("ok", content_type="text/plain; charset=utf-8")

    @pages.get("/readyz")
    def ready() -> tuple[Response, int]:
        checks = readiness(resources.database, resources.storage)
        return jsonify(checks), 200 if set(checks.values()) == {OK} else 503

    @pages.get("/metrics")
    def metrics() -> Response:
        return Response(expose_metrics(resources.database), content_type=CONTENT_TYPE)

    return pages
