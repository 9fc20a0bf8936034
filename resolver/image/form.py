"""The head of an image, its hash, and the forms of its small parts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from hashlib import blake2b
from random import Random
from struct import Struct
from typing import Any, Final

from feeds.errors import Untrusted
from feeds.language import _
from feeds.rule import Action, Category
from resolver.policy.layer import Bound, Source

MAGIC: Final = b"BLOCKIMG"
VERSION: Final = 2
# Reads as another number on a machine of the other byte order.
ORDER: Final = 0x01020304
HEAD_BYTES: Final = 512
SUM_BYTES: Final = 32
ALIGNMENT: Final = 64
BUCKET_BYTES: Final = 64
BUCKET_NAMES: Final = 12
PADDING: Final = bytes(256)
NONE: Final = 0xFFFFFFFF
NO_CATEGORY: Final = 255
# Bits of a ground's flags.
COUNTED: Final = 1
BELOW: Final = 2
STOP: Final = 4
RECORDS: Final = 8
BOUNDS: Final = {Bound.NONE: 0, Bound.BELOW: BELOW, Bound.STOP: STOP}
GROUND: Final = Struct("=IBBHII")
PREFIX: Final = Struct("=16sQIB3x")
VALUE: Final = Struct("=Q")
MULTIPLIER: Final = 0x9E3779B97F4A7C15
MASK: Final = (1 << 64) - 1
PRIME_BITS: Final = 30
# Their places here are their numbers in the file: a new one goes to the end.
ACTIONS: Final = (Action.NXDOMAIN, Action.NODATA, Action.PASSTHRU, Action.DROP, Action.TCP_ONLY, Action.LOCAL)
CATEGORIES: Final = (
    Category.PHISHING,
    Category.MALWARE,
    Category.BOTNET,
    Category.FRAUD,
    Category.CSAM,
    Category.GAMBLING,
    Category.ILLEGAL_TRADE,
    Category.SPAM,
    Category.COURT_ORDER,
)


class Section(IntEnum):
    """What stands where, in the order of the head."""

    RECORDS = 0
    EXACT_FILTER = 1
    EXACT_TABLE = 2
    SUBTREE_FILTER = 3
    SUBTREE_TABLE = 4
    IPV4_STARTS = 5
    IPV4_OWNERS = 6
    IPV4_RULES = 7
    IPV6_STARTS = 8
    IPV6_OWNERS = 9
    IPV6_RULES = 10
    GROUNDS = 11
    TEXT_STARTS = 12
    TEXTS = 13
    ABOUT = 14
    CLIENT_IPV4_STARTS = 15
    CLIENT_IPV4_OWNERS = 16
    CLIENT_IPV4_RULES = 17
    CLIENT_IPV6_STARTS = 18
    CLIENT_IPV6_OWNERS = 19
    CLIENT_IPV6_RULES = 20


_START = Struct(f"=8sIIQQ{SUM_BYTES}s{SUM_BYTES}s")
_PLACES = Struct(f"={2 * len(Section)}Q")
_SUMMED = HEAD_BYTES - SUM_BYTES


@dataclass(frozen=True, slots=True)
class About:
    """Whose list it is; how many rules it holds, and how many were refused, of a foreign zone by reason, too."""

    source: Source
    rules: int
    refused: int
    skipped: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, found: dict[str, Any]) -> "About":
        return cls(Source(**found["source"]), found["rules"], found["refused"], found["skipped"])


@dataclass(frozen=True, slots=True)
class Head:
    """`size`: octets of the whole file. `made_from`: digest of what it was compiled from. `body`: checksum of all
    that follows the head. `places`: offset and size of each Section."""

    size: int
    prime: int
    made_from: bytes
    body: bytes
    places: tuple[tuple[int, int], ...]

    def to_bytes(self) -> bytes:
        start = _START.pack(MAGIC, VERSION, ORDER, self.size, self.prime, self.made_from, self.body)
        summed = (start + _PLACES.pack(*(n for place in self.places for n in place))).ljust(_SUMMED, b"\0")
        return summed + new_sum(summed).digest()

    @classmethod
    def of_bytes(cls, data: bytes, size: int) -> "Head":
        """Read the first HEAD_BYTES of a file of `size` octets; raises Untrusted for what is no whole image of ours.

        The body is not read, so this is quick whatever its size.
        """
        if data[: len(MAGIC)] != MAGIC:
            raise damaged(_("this is no image"))
        if len(data) < HEAD_BYTES:
            raise damaged(_("it is cut off"))
        _magic, version, order, whole, prime, made_from, body = _START.unpack_from(data)
        if version != VERSION or order != ORDER:
            raise damaged(_("another version of the program made it, or another machine"))
        if size != whole:
            raise damaged(_("it is cut off"))
        if new_sum(data[:_SUMMED]).digest() != data[_SUMMED:HEAD_BYTES]:
            raise damaged(_("its checksum is wrong"))
        numbers = _PLACES.unpack_from(data, _START.size)
        return cls(size, prime, made_from, body, tuple(zip(numbers[::2], numbers[1::2], strict=True)))


def damaged(why: str) -> Untrusted:
    """The one error for whatever is wrong with an image."""
    return Untrusted(
        _("the image cannot be used: {why}").format(why=why),
        kept=_("the release in force stays"),
        then=_("compile it again"),
    )


def new_sum(data: bytes | memoryview = b"") -> blake2b:
    """BLAKE2b with 256 bits, of `data` so far."""
    return blake2b(data, digest_size=SUM_BYTES)


def hashed(key: bytes, prime: int) -> int:
    """The hash of a lower-cased wire name, PRIME_BITS bits."""
    return int.from_bytes(key) % prime


def spread(found: int) -> int:
    """A hash spread over 32 bits, which choose its bucket and tag."""
    return ((found ^ found >> 15) * MULTIPLIER & MASK) >> 32


def tag_of(spread_hash: int) -> int:
    """A bucket's octet for a name, 1 to 255."""
    return spread_hash % 255 + 1


def random_prime(rng: Random) -> int:
    """A prime of PRIME_BITS bits; one in about 10 odd numbers is one."""
    top = 1 << PRIME_BITS - 1
    while not _is_prime(number := rng.getrandbits(PRIME_BITS) | top | 1):
        pass
    return number


def _is_prime(number: int) -> bool:
    """Miller and Rabin's test; with these bases it is exact below 2**64 (Sorenson and Webster, 2015)."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):
        power = pow(base, odd, number)
        if power in (1, number - 1):
            continue
        for _square in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True
