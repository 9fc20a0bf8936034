"""TLS 1.3 for zone transfers (RFC 9103) and for queries (RFC 7858, RFC 8484)."""

from pathlib import Path
from typing import Any

from feeds.errors import Rejected
from feeds.language import _
from feeds.transfer.settings import pin

_PEM_START = b"-----BEGIN CERTIFICATE-----"


def tls_context(certificate: Path, private_key: Path, *, ask_certificate: bool = True, protocol: bytes = b"dot") -> Any:
    """TLS 1.3 alone (RFC 9103 section 7.1). ALPN `protocol` is offered, not required: Unbound sends none.

    With `ask_certificate` a client is asked for one and may go on without it (section 9.3.2): it proves here that it
    has the private key, and the settings say whose that is.
    Raises Rejected where the files do not hold a certificate chain and its key.
    """
    from OpenSSL import SSL, crypto
    from twisted.internet.ssl import CertificateOptions, TLSVersion

    try:
        chain = [
            crypto.load_certificate(crypto.FILETYPE_PEM, _PEM_START + part)
            for part in certificate.read_bytes().split(_PEM_START)[1:]
        ]
        key = crypto.load_privatekey(crypto.FILETYPE_PEM, private_key.read_bytes())
        options = CertificateOptions(
            privateKey=key,
            certificate=chain[0],
            extraCertChain=chain[1:],
            insecurelyLowerMinimumTo=TLSVersion.TLSv1_3,
            acceptableProtocols=[protocol],
        )
        context = options.getContext()
        if ask_certificate:
            context.set_verify(SSL.VERIFY_PEER, lambda *_facts: True)
    except (OSError, IndexError, ValueError, crypto.Error, SSL.Error):
        raise Rejected(
            _("{certificate} and {key} are not a certificate and its private key in PEM").format(
                certificate=certificate, key=private_key
            ),
            rule="zone.certificate",
            kept=_("nothing is served"),
            then=_("give the certificate, after it those that lead to its root, and the key made for it, both in PEM"),
        ) from None
    return options


def peer_pin(transport: Any) -> bytes | None:
    """The pin of the certificate that the other side has shown; None without TLS, or without a certificate."""
    from cryptography.hazmat.primitives.serialization import Encoding

    shown = getattr(transport, "getPeerCertificate", lambda: None)()
    if shown is None:
        return None
    try:
        return pin(shown.to_cryptography().public_bytes(Encoding.DER))
    except ValueError:
        return None
