"""Reading queries."""

from feeds.message.words import Query


def read_query(data: bytes) -> Query:
    """QR=0, opcode QUERY, one question, AN=NS=0, AR<=2: OPT, then TSIG or SIG(0) last. Raises Malformed only.

    The class and type are whatever the client asked (ANY, AXFR, CH ...): the session decides about those.
    """
    raise NotImplementedError


def option(options: bytes, code: int) -> bytes | None:
    """The data of the first option of that code in a Query's `options`."""
    raise NotImplementedError
