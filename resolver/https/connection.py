"""Twisted's half: octets between a client's TLS connection and its `Exchange`, in turns and within the time given."""

from time import monotonic
from typing import Any, Final, NamedTuple

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure as TwistedFailure
from zope.interface import implementer

from resolver.effects import Reply
from resolver.https.exchange import Exchange, Query
from resolver.https.turns import Turns
from resolver.server import BoundedConnection, StreamListener

LINGER_SECONDS: Final = 3.0


class HttpsListener(Factory):
    """Clients' connections to one address, within the limits of `plain` and counted together with its own."""

    noisy = False

    def __init__(self, plain: StreamListener) -> None:
        self._plain = plain
        self.turns = Turns(plain.reactor)
        self.open: set[HttpsConnection] = set()

    def buildProtocol(self, addr: Any) -> "HttpsConnection":
        """Whether there is room has been asked before, by the TLS around it."""
        return HttpsConnection(self._plain, addr.host, self)

    def stopFactory(self) -> None:
        """We shall end: clients are told to go elsewhere with their next query."""
        for connection in tuple(self.open):
            connection.leave()


class HttpsClient(NamedTuple):
    """Whoever asked, and on which stream; a reply to one that has gone is lost."""

    connection: "HttpsConnection"
    stream: int

    def send(self, data: bytes) -> None:
        self.connection.reply(self.stream, data)


@implementer(IPushProducer)
class HttpsConnection(BoundedConnection):
    """As a producer it stops reading while the client's TCP takes nothing, or while it waits for its turn."""

    def __init__(self, listener: StreamListener, host: str, home: HttpsListener) -> None:
        super().__init__(listener, host)
        self._home = home
        self._exchange = Exchange()
        self._sent = 0
        self._queued = False
        self._paused = False
        self._stalled = False
        self._linger: Any = None  # the end to come
        self._finished = False

    def connectionMade(self) -> None:
        super().connectionMade()
        self._home.open.add(self)

    def connectionLost(self, reason: TwistedFailure = None) -> None:  # type: ignore[assignment]
        super().connectionLost(reason)
        self._home.open.discard(self)
        if self._linger is not None and self._linger.active():
            self._linger.cancel()

    def dataReceived(self, data: bytes) -> None:
        self._exchange.feed(data)
        if self._queued and not self._paused:
            # Two reads wait already.
            self._paused = True
            self.transport.pauseProducing()
        self._want_turn()

    def reply(self, stream: int, message: bytes) -> None:
        """Send one answer."""
        if self._closed:
            return
        try:
            self._exchange.answer(stream, message)
        except Exception as error:
            self._break(error)
        # Each answer begins a TLS record of its own: some clients look at the first in one alone.
        self._flush()

    def take_turn(self, frames: int) -> bool:
        """Look at so many frames; were there as many, so that there may be more?"""
        self._queued = False
        more = not (self._closed or self._stalled)
        try:
            while more and frames:
                frames -= 1
                queries = self._exchange.step()
                more = queries is not None and not (self._closed or self._stalled)
                for query in queries or ():
                    self._ask(query)
        except Exception as error:
            self._break(error)
            more = False
        self._flush()
        self._queued = more
        if self._paused and not (more or self._stalled or self._closed):
            self._paused = False
            self.transport.resumeProducing()
        return more

    def _want_turn(self) -> None:
        if not self._queued:
            self._queued = True
            self._home.turns.want(self)

    def _ask(self, query: Query) -> None:
        edge, listener, before = self._listener.edge, self._listener, monotonic()
        client = HttpsClient(self, query.stream)
        try:
            effects = edge.session.query(
                query.message, client, True, before, listener.local, self._host, listener.secure
            )
        except Exception as error:
            edge.fault(error)
            effects = ()
        if not effects:
            # A rule that drops: nothing is said to this query; others on the connection go on.
            self._exchange.answer(query.stream, None)
            return
        edge.perform(effects)
        if len(effects) == 1 and type(effects[0]) is Reply:
            edge.session.counters.took(monotonic() - before)

    def _flush(self) -> None:
        """Send what there is to send, and go if it was the last."""
        if self._closed:
            return
        data = self._exchange.outgoing()
        if data:
            self.transport.write(data)
        if self._exchange.sent != self._sent:
            self._sent = self._exchange.sent
            self._earn_time()
        if self._exchange.ended or (self._linger is not None and self._exchange.idle):
            self._finish()

    def leave(self) -> None:
        """Take no new queries; what is under way may still be answered, for a little while."""
        if not self._closed:
            self._exchange.leave()
            self._end_soon()
            self._flush()

    _expire = leave  # when the time is over

    def _finish(self) -> None:
        """Close once all that was written has gone out."""
        if not self._finished:
            # The client is still read from, or TCP would take our last words back; what it says is forgotten.
            self._finished = True
            self._exchange.end()
            self._end_soon()
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def _end_soon(self) -> None:
        if self._linger is None:
            self._linger = self._listener.reactor.callLater(LINGER_SECONDS, self.transport.abortConnection)

    def _break(self, error: Exception) -> None:
        self._listener.edge.fault(error)
        self._closed = True
        self.transport.abortConnection()

    def pauseProducing(self) -> None:
        """From the transport: the client does not read; take no more from it."""
        self._stalled = True
        self._exchange.hold(True)
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """From the transport: it reads again."""
        self._stalled = False
        self._paused = True
        self._exchange.hold(False)
        self._want_turn()

    def stopProducing(self) -> None:
        """From the transport: the connection is lost."""
