"""The answer that a blocked query gets."""

from collections.abc import Sequence

from feeds.message import Query
from resolver.policy import Hit


def blocked_answer(hit: Hit, query: Query, over_tcp: bool, more: Sequence[bytes] = ()) -> bytes | None:
    """The whole reply, ready to send (it fits `query.udp_limit` over UDP); None: send nothing (action drop).

    Not for a Hit that `lets_pass`. `more` are encoded records (`building.encode_record`) for the answer section behind
    the CNAME of a `local` name: what the session found at `hit.ground.cname`.
    """
    raise NotImplementedError
