"""`GET /metrics` over HTTP."""

import socket
from typing import Any

from twisted.web.resource import Resource

from feeds.server import BoundedSite
from resolver.metrics import ResolverCollector, exposition

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
MAX_CONNECTIONS = 50  # a resolver's descriptors are for queries


class _Metrics(Resource):
    isLeaf = True

    def __init__(self, collector: ResolverCollector) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._collector = collector

    def render_GET(self, request: Any) -> bytes:
        request.setHeader(b"content-type", CONTENT_TYPE)
        return exposition(self._collector)


def serve_metrics(reactor: Any, sock: socket.socket, collector: ResolverCollector) -> None:
    """Serve it on a socket that listens already."""
    root: Any = Resource()  # type: ignore[no-untyped-call]
    root.putChild(b"metrics", _Metrics(collector))
    site = BoundedSite(root, MAX_CONNECTIONS, MAX_CONNECTIONS)
    reactor.adoptStreamPort(sock.fileno(), sock.family, site)
