"""Twisted's half: octets between a client's TLS connection and its `Exchange`, in turns and within the time given."""

from time import monotonic
from typing import Any, Final, NamedTuple

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure as TwistedFailure
from zope.interface import implementer

from resolver.effects import Reply
from resolver.https.exchange import Exchange, Query
from resolver.server import BoundedConnection, StreamListener

TURN_SECONDS: Final = 0.002
LINGER_SECONDS: Final = 3.0


class HttpsListener(Factory):
    """Clients' connections to one address, within the limits of `plain` and counted together with its own."""

    noisy = False

    def __init__(self, plain: StreamListener) -> None:
        self._plain = plain

    def buildProtocol(self, addr: Any) -> "HttpsConnection":
        """Whether there is room has been asked before, by the TLS around it."""
        return HttpsConnection(self._plain, addr.host)


class HttpsClient(NamedTuple):
    """Whoever asked, and on which stream; a reply to one that has gone is lost."""

    connection: "HttpsConnection"
    stream: int

    def send(self, data: bytes) -> None:
        self.connection.reply(self.stream, data)


@implementer(IPushProducer)
class HttpsConnection(BoundedConnection):
    """As a producer it stops reading while the client's TCP takes nothing.

    A turn of the loop spends about `TURN_SECONDS` on it; then it is the turn of all others, and nothing more is read
    from it until what has been read is done.
    """

    def __init__(self, listener: StreamListener, host: str) -> None:
        super().__init__(listener, host)
        self._exchange = Exchange()
        self._sent = 0
        self._stalled = False
        self._turning = False
        self._next: Any = None  # the turn to come
        self._linger: Any = None  # the end to come
        self._finished = False

    def connectionLost(self, reason: TwistedFailure = None) -> None:  # type: ignore[assignment]
        super().connectionLost(reason)
        for timer in (self._next, self._linger):
            if timer is not None and timer.active():
                timer.cancel()

    def dataReceived(self, data: bytes) -> None:
        self._exchange.feed(data)
        if self._next is None:
            self._turn()

    def reply(self, stream: int, message: bytes) -> None:
        """Send one answer."""
        if self._closed:
            return
        try:
            self._exchange.answer(stream, message)
        except Exception as error:
            self._broken(error)
        if not self._turning:
            self._flush()

    def _turn(self) -> None:
        """Take frames while there are whole ones and time."""
        self._next = None
        self._turning = True
        until = monotonic() + TURN_SECONDS
        try:
            while not self._closed and not self._stalled:
                queries = self._exchange.step()
                if queries is None:
                    break
                for query in queries:
                    self._ask(query)
                if monotonic() > until:
                    self.transport.pauseProducing()
                    self._next = self._listener.reactor.callLater(0, self._another)
                    break
        except Exception as error:
            self._broken(error)
        finally:
            self._turning = False
        self._flush()

    def _broken(self, error: Exception) -> None:
        self._listener.edge.fault(error)
        self._closed = True
        self.transport.abortConnection()

    def _another(self) -> None:
        self._turn()
        if self._next is None and not self._stalled and not self._closed:
            self.transport.resumeProducing()

    def _ask(self, query: Query) -> None:
        edge, before = self._listener.edge, monotonic()
        client = HttpsClient(self, query.stream)
        try:
            effects = edge.session.query(
                query.message, client, True, before, self._listener.local, self._host, self._listener.secure
            )
        except Exception as error:
            edge.fault(error)
            effects = ()
        if not effects:
            # A rule that drops, met at once: nothing is said to this one, others on the connection go on.
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

    def _expire(self) -> None:
        """The time is over: what is under way may still be answered, for a little while."""
        if self._closed:
            return
        if self._linger is None:
            self._exchange.leave()
            self._linger = self._listener.reactor.callLater(LINGER_SECONDS, self.transport.abortConnection)
        self._flush()

    def _finish(self) -> None:
        """Close, once what was written has gone out; a client that does not take it gets no more time for that."""
        if self._finished:
            return
        self._finished = True
        if self._linger is None:
            self._linger = self._listener.reactor.callLater(LINGER_SECONDS, self.transport.abortConnection)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def pauseProducing(self) -> None:
        """From the transport: the client does not read; take no more from it."""
        self._stalled = True
        self._exchange.hold(True)
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """From the transport: it reads again."""
        self._stalled = False
        self._exchange.hold(False)
        if self._next is None:
            self._next = self._listener.reactor.callLater(0, self._another)

    def stopProducing(self) -> None:
        """From the transport: the connection is lost."""
