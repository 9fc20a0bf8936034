"""`blocker zone serve`: zone transfers from the state directory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import click

from feeds.command.service import Listen, label
from feeds.command.state import now, state_option
from feeds.errors import Failure, Unavailable
from feeds.language import _
from feeds.message.building import name_text
from feeds.store import Store
from feeds.systemd import Notifier
from feeds.terminal import answer, complain, json_option
from feeds.transfer.settings import Settings, read_settings

LOOK_SECONDS = 0.2
KEEP_SECONDS = 5.0
# A zone of a million names is made anew at each look on a disk that is full.
FAULT_PAUSE_SECONDS = 5.0


@click.command(help=_("Serve the zones of a settings file to their secondaries, for ever."))
@click.argument("settings", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--listen",
    type=Listen(),
    multiple=True,
    default=["127.0.0.1:5300"],
    show_default=True,
    help=_("Where to listen, UDP and TCP; may be given more than once."),
)
@click.option(
    "--tls", type=Listen(), multiple=True, help=_("Where to listen with TLS 1.3 (RFC 9103), such as 0.0.0.0:853.")
)
@click.option(
    "--certificate",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help=_("The certificate chain for --tls, in PEM."),
)
@click.option(
    "--private-key",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help=_("The private key of the certificate, in PEM."),
)
@click.option("--metrics", type=Listen(), help=_("Show metrics for Prometheus at this ADDRESS:PORT."))
@state_option
@json_option
def serve(
    settings: Path,
    listen: tuple[tuple[str, int], ...],
    tls: tuple[tuple[str, int], ...],
    certificate: Path | None,
    private_key: Path | None,
    metrics: tuple[str, int] | None,
    state: Path,
    as_json: bool,
) -> None:
    """Until SIGTERM or SIGINT."""
    from twisted.internet import reactor as chosen

    store = Store(state)
    # A directory that was never set up is said at once.
    store.settings()
    reactor: Any = chosen
    service = _Service(store, read_settings(settings), reactor, as_json)
    service.listen(listen)
    if tls:
        if certificate is None or private_key is None:
            raise click.UsageError(_("--tls needs --certificate and --private-key"))
        service.listen_tls(tls, certificate, private_key)
    if metrics is not None:
        service.show_metrics(*metrics)
    service.run((*listen, *tls))


@contextmanager
def _told(host: str, port: int) -> Iterator[None]:
    from twisted.internet.error import CannotListenError

    try:
        yield
    except CannotListenError as error:
        why = error.socketError
        raise Unavailable(
            _("cannot listen on {address}: {why}").format(
                address=label(host, port), why=getattr(why, "strerror", None) or why
            ),
            kept=_("nothing is served"),
            then=_("choose another address, or stop what listens there"),
        ) from None


class _Service:
    def __init__(self, store: Store, settings: Settings, reactor: Any, as_json: bool) -> None:
        from feeds.transfer.primary import Primary
        from feeds.transfer.server import Serving
        from feeds.transfer.watching import Fetched, Watch

        self._reactor = reactor
        self._as_json = as_json
        self._secondaries = settings.secondaries
        self._watch = Watch(store, settings.zones, settings.catalog)
        self._watch.open()
        self._fetched = Fetched(store)
        names = [secondary.name for secondary in settings.secondaries]
        self._fetched.resume(self._watch.lines, names)
        # The status shows those, too, that never came.
        for name, zone in product(names, map(name_text, self._watch.lines)):
            self._fetched.secondaries.setdefault(name, {}).setdefault(zone, {})
        primary = Primary(self._watch.lines, settings.secondaries)
        self._serving = Serving(primary, reactor, lambda sent: self._fetched.note(sent, now()))
        self._last_said = ""
        self._broken: Any = None

    def listen(self, addresses: tuple[tuple[str, int], ...]) -> None:
        """Raises Unavailable where an address is taken."""
        from feeds.transfer.server import Datagrams, Streams, bound_buffers

        for host, port in addresses:
            with _told(host, port):
                self._reactor.listenUDP(port, Datagrams(self._serving), interface=host, maxPacketSize=4096)
                bound_buffers(self._reactor.listenTCP(port, Streams(self._serving), interface=host))

    def listen_tls(self, addresses: tuple[tuple[str, int], ...], certificate: Path, private_key: Path) -> None:
        """As `listen`; raises Rejected where certificate and key cannot be used.

        UDP stands beside it: Unbound asks for the SOA there, in plain, before it comes with TLS.
        """
        from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol

        from feeds.transfer.server import Datagrams, Streams, bound_buffers
        from feeds.transfer.tls import tls_context

        context = tls_context(certificate, private_key)
        for host, port in addresses:
            with _told(host, port):
                self._reactor.listenUDP(port, Datagrams(self._serving), interface=host, maxPacketSize=4096)
                streams: Any = Streams(self._serving)
                wrapped = TLSMemoryBIOFactory(context, isClient=False, wrappedFactory=streams)
                # Each message begins a TLS record. One that shares a record with the message before it, as Twisted's
                # buffering has it, is read by Unbound (1.17) only when more comes from the network: the last never.
                wrapped.protocol = TLSMemoryBIOProtocol
                bound_buffers(self._reactor.listenTCP(port, wrapped, interface=host))

    def show_metrics(self, host: str, port: int) -> None:
        """Raises Unavailable where the address is taken."""
        from feeds.transfer.exposing import metrics_site
        from feeds.transfer.metrics import TransferCollector

        names = [secondary.name for secondary in self._secondaries]
        collector = TransferCollector(
            self._serving.counts, self._watch.lines, names, self._fetched.shown, self._fetched.secondaries
        )
        with _told(host, port):
            self._reactor.listenTCP(port, metrics_site(collector), interface=host)

    def run(self, addresses: tuple[tuple[str, int], ...]) -> None:
        from twisted.internet.task import LoopingCall

        notifier = Notifier(os.environ)

        def announce() -> None:
            where = " ".join(label(*address) for address in addresses)
            zones = [zone.name.text for zone in self._watch.zones]
            answer(
                self._as_json,
                {"listen": where.split(), "zones": zones},
                _("Serving {zones} at {where}").format(zones=" ".join(zones), where=where),
            )
            notifier.send("READY=1")
            LoopingCall(self._look).start(LOOK_SECONDS).addErrback(self._break)
            LoopingCall(self._fetched.keep).start(KEEP_SECONDS, now=False)

        self._reactor.callWhenRunning(announce)
        if notifier.watchdog_seconds:
            LoopingCall(notifier.send, "WATCHDOG=1").start(notifier.watchdog_seconds)
        self._reactor.addSystemEventTrigger("before", "shutdown", notifier.send, "STOPPING=1")
        self._reactor.addSystemEventTrigger("after", "shutdown", self._fetched.keep)
        self._reactor.run()
        if self._broken is not None:
            self._broken.raiseException()

    def _break(self, failure: Any) -> None:
        """A primary that no longer looks would show old zones for ever: end, and be started again."""
        self._broken = failure
        self._reactor.stop()

    def _look(self) -> Any:
        from twisted.internet.threads import deferToThread

        return deferToThread(self._watch.look, now()).addCallbacks(self._show, self._fault)

    def _show(self, changed: Any) -> None:
        self._last_said = ""
        for line, prepared in changed:
            line.take(prepared)
            self._fetched.show(line, now())
            for secondary in self._secondaries:
                self._serving.notifying.tell(secondary, line)

    def _fault(self, failure: Any) -> Any:
        """A directory that cannot be read or written: said once; the zones stay as they are, the next look waits."""
        from twisted.internet.task import deferLater

        if not isinstance(failure.value, Failure):
            return failure
        if failure.value.what != self._last_said:
            self._last_said = failure.value.what
            complain(failure.value, self._as_json)
        return deferLater(self._reactor, FAULT_PAUSE_SECONDS, lambda: None)
