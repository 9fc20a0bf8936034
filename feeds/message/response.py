"""Reading upstreams' answers."""

from feeds.message.words import Response


def response_matches(data: bytes, message_id: int, question: bytes) -> bool:
    """Cheap first test: QR=1, opcode QUERY, this id, exactly one question, and it is `question` in any case of letters.

    A False is a near miss: keep waiting.
    """
    raise NotImplementedError


def read_response(data: bytes, question: bytes) -> Response:
    """Read an answer to `question` (wire: name, type, class; compared without regard to case).

    Raises Malformed only (rcode None). Compare `Response.name` with the name sent to learn whether 0x20 was kept.
    """
    raise NotImplementedError
