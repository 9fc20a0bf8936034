"""Extended DNS Errors (RFC 8914) of answers that no rule has changed, as EDNS options ready to send."""

from typing import Final

from feeds.message import Response
from feeds.message.building import encode_ede
from feeds.message.words import OPTION_EDE
from resolver.structured import DNS_OPERATOR_POLICY, structured

STALE: Final = encode_ede(3)
CACHED_ERROR: Final = encode_ede(13)
NOT_READY: Final = encode_ede(14)
# 15 "Blocked": by the policy of who runs the resolver (section 4.16), as the taking out of private addresses is.
_PRIVATE: Final = "private addresses were taken out of the answer"
STRIPPED: Final = encode_ede(15, _PRIVATE)
STRIPPED_JSON: Final = encode_ede(15, structured(_PRIVATE, sub_error=DNS_OPERATOR_POLICY)[0])
STALE_NXDOMAIN: Final = encode_ede(19)
UNSUPPORTED: Final = encode_ede(21)
UNREACHABLE: Final = encode_ede(22)
MAX_PASSED_ON: Final = 4


def of_upstream(response: Response | None) -> bytes:
    """The upstream's own, passed on (RFC 8914 section 3), codes only: its text is not ours. None: b""."""
    if response is None or response.edns is None:
        return b""
    codes = [data[:2] for code, data in response.edns.options if code == OPTION_EDE and len(data) >= 2]
    return b"".join(encode_ede(int.from_bytes(code, "big")) for code in codes[:MAX_PASSED_ON])
