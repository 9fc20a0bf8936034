"""Queries over HTTPS (RFC 8484), within the limits of plain streams. HTTP/2 and nothing older.

frames      octets -> whole HTTP/2 frames, and what a connection may send before it is told to calm down; pure
request     header fields -> what is asked for, or the status that says why not; pure
freshness   how long an answer may be kept by a cache of HTTP; pure
exchange    one connection's HTTP/2: octets to queries, answers to octets; pure
turns       a bounded part of the loop's time for all connections together
connection  Twisted: sockets, time and the session

h2 knows the protocol's states and HPACK; it bounds neither time nor the number of frames. Twisted's own HTTP/2 bounds
resets and the queue of control frames, but not what one read may cost the loop, nor what it keeps of answers that a
client does not take, and each query would become a web request with all that belongs to one. So h2 is fed here one
frame at a time, in turns of a few milliseconds, from a buffer of two reads, and each frame is paid for (`Purse`).
"""

from resolver.https.connection import HttpsListener

__all__ = ["HttpsListener"]
