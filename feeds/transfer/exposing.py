"""`GET /metrics` over HTTP, from the process that serves the zones."""

from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector
from twisted.web.resource import Resource

from feeds.server import BoundedSite

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
MAX_CONNECTIONS = 20


class _Metrics(Resource):
    isLeaf = True

    def __init__(self, collector: Collector) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._registry.register(collector)

    def render_GET(self, request: Any) -> bytes:
        request.setHeader(b"content-type", CONTENT_TYPE)
        return generate_latest(self._registry)


def metrics_site(collector: Collector) -> BoundedSite:
    """A site with `/metrics` alone, and with MAX_CONNECTIONS at most."""
    root: Any = Resource()  # type: ignore[no-untyped-call]
    root.putChild(b"metrics", _Metrics(collector))
    return BoundedSite(root, MAX_CONNECTIONS, MAX_CONNECTIONS)
