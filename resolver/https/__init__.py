"""Queries over HTTPS (RFC 8484), within the limits of plain streams. HTTP/2 and nothing older.

frames      octets -> whole HTTP/2 frames, and what a connection may send before it is told to calm down; pure
request     header fields -> what is asked for, or the status that says why not; pure
freshness   how long an answer may be kept by a cache of HTTP; pure
connection  Twisted and h2: frames to queries, answers to frames

h2 knows the protocol's states and HPACK; it bounds neither time nor the number of frames. Twisted's own HTTP/2 has no
bound on what it keeps for a client that does not read, none on frames that ask for nothing, and makes an HTTP request
object with its files, sessions and headers for each query. So h2 is fed here one frame at a time, in turns of a few
milliseconds, from a buffer of one read, and each frame is paid for (`frames.Purse`).
"""

from resolver.https.connection import HttpsListener

__all__ = ["HttpsListener"]
