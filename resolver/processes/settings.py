"""What the processes are told."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from resolver.loading import Origin
from resolver.server import StreamLimits, StreamListener
from resolver.session import Config
from resolver.upstream import Address


class Secured(Protocol):
    """`resolver.secure.Credentials`, which comes from outside: a resolver without TLS does not load it."""

    def over_tls(self, listener: StreamListener) -> Any: ...

    def over_https(self, listener: StreamListener) -> Any: ...

    def renew(self, log: Callable[..., None]) -> None: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """What `blocker dns serve` was told. Bounds are those of all lanes together, until `for_one_lane`."""

    origin: Origin
    listen: tuple[Address, ...]
    upstreams: tuple[Address, ...]
    config: Config
    metrics: Address | None = None
    metrics_must: bool = False
    user: str | None = None
    open: bool = False
    lanes: int = 1
    lane: str = "plain"
    tls: tuple[Address, ...] = ()
    https: tuple[Address, ...] = ()
    credentials: Secured | None = None
    streams: StreamLimits = field(default_factory=StreamLimits)
    version: str = ""

    @property
    def ports(self) -> frozenset[int]:
        """All that a lane binds."""
        return frozenset(port for _host, port in (*self.listen, *self.tls, *self.https))

    def for_one_lane(self) -> "Settings":
        """Each lane's part of what all may take; an address keeps its bound on connections, as it may meet one lane."""
        return replace(
            self,
            config=replace(
                self.config,
                cache_bytes=-(-self.config.cache_bytes // self.lanes),
                rate_limit=-(-self.config.rate_limit // self.lanes),
            ),
            streams=replace(self.streams, connections=-(-self.streams.connections // self.lanes)),
        )
