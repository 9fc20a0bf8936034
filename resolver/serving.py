"""`blocker dns serve` from its start to its end: what must be done while root, and in which order.

see that the ports are free (root, perhaps) -> give up rights -> look after the processes -> SIGTERM
"""

import gc
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from secrets import token_bytes

import structlog

from feeds.errors import Unavailable
from feeds.floor import is_icann_suffix
from feeds.language import _
from feeds.systemd import Notifier
from resolver.cookie import KEY_BYTES
from resolver.metrics import Figures, ResolverCollector, Standing, exposition
from resolver.processes.settings import Settings
from resolver.processes.sockets import Sockets
from resolver.processes.succession import Inheritance, stored, under_systemd
from resolver.processes.supervisor import Supervisor
from resolver.rights import Rights, allow_files, give_up_binding, keep_binding_asleep, need_rights
from resolver.server import tcp_socket

__all__ = ["Settings", "serve"]

Log = Callable[..., None]


def serve(settings: Settings) -> None:
    """Answer until SIGTERM or SIGINT; raises a Failure for what keeps it from starting."""
    rights = Rights.of(settings.user)
    log = structlog.get_logger().msg
    settings = replace(settings, config=replace(settings.config, cookie_key=token_bytes(KEY_BYTES)))
    allow_files()
    inheritance: Inheritance | None = Inheritance(stored(os.environ))
    if not under_systemd(os.environ):
        # With systemd, lanes of the process before us may be answering still.
        Sockets.bound(settings, shared=False).close()
    metrics = _metrics(settings, log, must=settings.metrics_must)
    _warm_up()
    low = need_rights(settings.ports)
    if rights is not None:
        rights.drop(keep_binding=low)
    if low:
        keep_binding_asleep()
    else:
        give_up_binding()
    gc.collect()
    gc.freeze()
    while inheritance is not None:
        inheritance = Supervisor(settings, inheritance, metrics, Notifier(os.environ), log).run()
        # Who goes on here is the standby, and opens a port for figures of its own.
        metrics = None


def _metrics(settings: Settings, log: Log, *, must: bool = False) -> socket.socket | None:
    if settings.metrics is None:
        return None
    host, port = settings.metrics
    try:
        return tcp_socket(host, port)
    except OSError as error:
        if must:
            raise Unavailable(
                _("cannot serve metrics on {address} port {port}: {why}").format(
                    address=host, port=port, why=error.strerror
                ),
                then=_("give another --metrics ADDRESS:PORT, or --metrics off"),
            ) from None
        log("no_metrics", why=error.strerror, address=host, port=port)
        return None


def _warm_up() -> None:
    """Load what Python loads only when first needed: once the rights are gone, its files may be out of reach.

    What is loaded here all processes share.
    """
    import twisted.internet.epollreactor
    import twisted.internet.process
    import twisted.internet.tcp  # noqa: F401

    exposition(ResolverCollector(Figures(), Standing()))
    "warm".encode("idna")
    is_icann_suffix("com.vn")
