"""Queries over TLS (RFC 7858), within the limits of plain streams."""

from typing import Any

from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol

from resolver.server import StreamListener


class SecureListener(TLSMemoryBIOFactory):
    """`context` is from `feeds.transfer.tls.tls_context`."""

    # Each answer begins a TLS record of its own: some clients wait for more after the first message in one.
    protocol = TLSMemoryBIOProtocol

    def __init__(self, listener: StreamListener, context: Any) -> None:
        wrapped: Any = listener
        super().__init__(context, isClient=False, wrappedFactory=wrapped)
        self._listener = listener
        listener.secure = True

    def buildProtocol(self, addr: Any) -> Any:
        """None where there is no room: Twisted itself would wrap the None of the listener."""
        return super().buildProtocol(addr) if self._listener.has_room(addr) else None
