"""Bounded reading of untrusted DNS bytes, by profile, and building of answers.

words      what was read: Query, Response, Record; numbers of the protocol; Malformed, the one error
query      read_query, read_ixfr, read_notify
response   response_matches, read_response
building   pure functions that make messages
"""

from feeds.message.query import option, read_query
from feeds.message.response import read_response, response_matches
from feeds.message.words import Edns, Malformed, Query, Record, Response, ServiceBinding

__all__ = [
    "Edns",
    "Malformed",
    "Query",
    "Record",
    "Response",
    "ServiceBinding",
    "option",
    "read_query",
    "read_response",
    "response_matches",
]
