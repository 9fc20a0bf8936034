"""A release at an hour as the records of an RPZ zone, in wire form: a pure function of the two.

A record is kept as bytes: the owner's labels relative to the zone, a zero octet, the type, the RDATA.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from struct import Struct

from feeds.message.building import encode_name, soa_rdata
from feeds.message.words import AAAA, CNAME, NS, SOA, A
from feeds.render import rpz
from feeds.render.form import View

_type = Struct("!H").pack
_TYPES = {"A": A, "AAAA": AAAA, "CNAME": CNAME}
_LOCALHOST = encode_name("localhost")
NS_RECORD = b"\0" + _type(NS) + _LOCALHOST


@dataclass(frozen=True, slots=True)
class Content:
    """A zone as it stands. `records` are all of its records but the SOA, in the order in which they are sent."""

    zone: bytes
    serial: int
    soa: bytes
    records: tuple[bytes, ...]
    left_out: dict[str, int]


def content_of(view: View, names_only: bool) -> Content:
    """The zone `view.zone` of that release at that hour."""
    serial = rpz.zone_serial(view.manifest.serial, view.lapsed_hours)
    left_out = view.left_out()
    made = [NS_RECORD]
    rdatas: dict[tuple[str, str], bytes] = {}
    for record in rpz.records(view, names_only, left_out):
        owner = encode_name(record.owner)
        for pair in record.rdatas():
            tail = rdatas.get(pair)
            if tail is None:
                tail = rdatas[pair] = _tail(*pair)
            made.append(owner + tail)
    soa = soa_rdata(
        _LOCALHOST,
        encode_rname(rpz.rname(view.manifest.contact.email)),
        serial,
        rpz.REFRESH_SECONDS,
        rpz.RETRY_SECONDS,
        rpz.EXPIRE_SECONDS,
        rpz.TTL_SECONDS,
    )
    return Content(encode_name(view.zone.text), serial, b"\0" + _type(SOA) + soa, tuple(made), left_out)


def encode_rname(text: str) -> bytes:
    """An RNAME in wire form; `\\.` is a dot inside the first label."""
    labels = text.removesuffix(".").replace("\\.", "\0").split(".")
    parts = [label.replace("\0", ".").encode() for label in labels]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def _tail(kind: str, text: str) -> bytes:
    rdata = encode_name(text.removesuffix(".")) if kind == "CNAME" else ip_address(text).packed
    return _type(_TYPES[kind]) + rdata
