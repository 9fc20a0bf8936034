"""The certificate that clients see, and the listeners that show it: over TLS (RFC 7858) and HTTPS (RFC 8484)."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from feeds.errors import Rejected
from feeds.language import _
from feeds.transfer.tls import tls_context
from resolver.https import HttpsListener
from resolver.server import StreamListener

_DOT, _H2 = b"dot", b"h2"


class Credentials:
    """A certificate chain and its private key, read once and again at each `renew`.

    Raises Rejected where the files do not hold such a pair.
    """

    def __init__(self, certificate: Path, private_key: Path) -> None:
        self._files = (certificate, private_key)
        self._digest = self._read()
        self.contexts = self._made()

    def renew(self, log: Callable[..., None]) -> None:
        """New connections get what the files hold now; what cannot be read or used changes nothing and is said."""
        try:
            digest = self._read()
            if digest == self._digest:
                return
            contexts = self._made()
        except Rejected as fault:
            log("certificate_kept", what=fault.what, kept=_("the certificate read before"), then=fault.then)
            return
        self._digest, self.contexts = digest, contexts
        log("certificate_renewed", certificate=str(self._files[0]))

    def over_tls(self, listener: StreamListener) -> "SecureListener":
        """That listener, as clients meet it over TLS."""
        return SecureListener(listener, listener, _Current(self, _DOT))

    def over_https(self, listener: StreamListener) -> "SecureListener":
        """In place of that listener one for HTTPS, within its limits."""
        return SecureListener(listener, HttpsListener(listener), _Current(self, _H2))

    def _read(self) -> bytes:
        together = sha256()
        for path in self._files:
            try:
                together.update(sha256(path.read_bytes()).digest())
            except OSError as error:
                raise Rejected(
                    _("cannot read {path}: {why}").format(path=path, why=error.strerror),
                    rule="certificate.unreadable",
                    kept=_("nothing is served"),
                    then=_(
                        "check the path; make it readable by the group of the user that the resolver runs as, or "
                        "restart the resolver where systemd hands it over (LoadCredential)"
                    ),
                ) from None
        return together.digest()

    def _made(self) -> dict[bytes, Any]:
        return {name: tls_context(*self._files, ask_certificate=False, protocol=name) for name in (_DOT, _H2)}


@implementer(IOpenSSLServerConnectionCreator)
class _Current:
    """Each connection begins with the certificate of that moment."""

    def __init__(self, credentials: Credentials, protocol: bytes) -> None:
        self._credentials = credentials
        self._protocol = protocol

    def serverConnectionForTLS(self, protocol: Any) -> Any:
        return self._credentials.contexts[self._protocol].serverConnectionForTLS(protocol)


class SecureListener(TLSMemoryBIOFactory):
    """TLS around `inner`, which is `listener` or keeps to its limits."""

    # Each answer begins a TLS record of its own: some clients wait for more after the first message in one.
    protocol = TLSMemoryBIOProtocol

    def __init__(self, listener: StreamListener, inner: Any, current: Any) -> None:
        super().__init__(current, isClient=False, wrappedFactory=inner)
        self._listener = listener
        listener.secure = True

    def buildProtocol(self, addr: Any) -> Any:
        """None where there is no room: Twisted itself would wrap the None of the listener."""
        return super().buildProtocol(addr) if self._listener.has_room(addr) else None
