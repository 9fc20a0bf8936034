"""IPv4 and IPv6 prefixes, host bits zero; and what people type for them.

Text form: dotted quad or RFC 5952, always with the length. IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2) is refused:
it names an IPv4 address by another road, and a filter for it would match nothing.
"""

import re
import socket
from dataclasses import dataclass

import netaddr

from feeds.errors import Rejected
from feeds.language import _

_BITS = {4: 32, 6: 128}
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_MAPPED = range(0xFFFF << 32, 0x10000 << 32)


@dataclass(frozen=True, slots=True)
class Prefix:
    """`version` 4 or 6, `network` the first address as an integer, `length` in bits."""

    version: int
    network: int
    length: int

    def __post_init__(self) -> None:
        bits = _BITS.get(self.version)
        if bits is None or not 0 <= self.length <= bits or not 0 <= self.network < 1 << bits:
            raise Rejected(_("this is not an IP prefix"), rule="prefix.form")
        if self.network & ((1 << (bits - self.length)) - 1):
            raise Rejected(
                _("host bits are set; the prefix probably meant is {meant}").format(meant=_covering(self)),
                rule="prefix.host-bits",
            )
        if self.version == 6 and self.network in _MAPPED and self.length >= 96:
            raise Rejected(
                _("this is an IPv4 address written as IPv6; write it as {meant}").format(
                    meant=_text(4, self.network & 0xFFFFFFFF)
                ),
                rule="prefix.mapped",
            )

    def __str__(self) -> str:
        return f"{_text(self.version, self.network)}/{self.length}"

    @property
    def last(self) -> int:
        """The last address as an integer."""
        return self.network | ((1 << (_BITS[self.version] - self.length)) - 1)

    @property
    def is_address(self) -> bool:
        """One single address?"""
        return self.length == _BITS[self.version]

    def covers(self, other: "Prefix") -> bool:
        """Is every address of `other` one of this prefix?"""
        return self.version == other.version and self.network <= other.network and other.last <= self.last

    @classmethod
    def of_text(cls, text: str) -> "Prefix":
        """Read the canonical text (`192.0.2.0/24`); raises Rejected for any other form."""
        address, slash, length = text.partition("/")
        try:
            version = 6 if ":" in address else 4
            prefix = cls(version, int.from_bytes(socket.inet_pton(_FAMILY[version], address)), int(length))
        except (OSError, ValueError):
            prefix = None
        if not slash or prefix is None or str(prefix) != text:
            raise Rejected(_("«{text}» is not a prefix in canonical form").format(text=text), rule="prefix.form")
        return prefix

    @classmethod
    def parse(cls, text: str) -> "tuple[Prefix, ...]":
        """Read what people type: an address, a prefix, or a range `a-b`, which yields its minimal prefixes.

        Raises Rejected with the reason; for host bits set it names the prefix probably meant.
        """
        typed = _defanged(text)
        if "-" in typed:
            return _range(typed)
        address, slash, length = typed.partition("/")
        version, network = _address(address.strip("[] "), typed)
        bits = _BITS[version]
        if not slash:
            return (cls(version, network, bits),)
        size = length.strip()
        if not (size.isascii() and size.isdigit() and len(size) <= 3):
            return (_with_mask(version, network, size, typed),)
        if int(size) > bits:
            raise Rejected(
                _("«{text}»: a prefix length of IPv{version} is 0 to {bits}").format(
                    text=typed, version=version, bits=bits
                ),
                rule="prefix.length",
            )
        return (_whole(version, network, int(size), typed),)


def _text(version: int, address: int) -> str:
    return socket.inet_ntop(_FAMILY[version], address.to_bytes(_BITS[version] // 8))


def _covering(prefix: Prefix) -> str:
    free = _BITS[prefix.version] - prefix.length
    return f"{_text(prefix.version, prefix.network >> free << free)}/{prefix.length}"


def _defanged(text: str) -> str:
    return re.sub(r"\[([.:])\]", r"\1", text.strip()).replace("–", "-")


def _address(text: str, typed: str) -> tuple[int, int]:
    version = 6 if ":" in text else 4
    try:
        return version, int.from_bytes(socket.inet_pton(_FAMILY[version], text))
    except (OSError, ValueError):
        hint = ""
        if re.fullmatch(r"\d+(\.\d+){3}", text) and all(int(p) < 256 for p in text.split(".") if len(p) < 9):
            hint = " " + _("(leading zeros are read as octal by some programs; leave them out)")
        raise Rejected(_("«{text}» is not an IP address").format(text=typed) + hint, rule="prefix.form") from None


def _whole(version: int, network: int, length: int, typed: str) -> Prefix:
    try:
        return Prefix(version, network, length)
    except Rejected as error:
        raise Rejected(f"«{typed}»: {error.what}", rule=error.rule) from None


def _with_mask(version: int, network: int, mask: str, typed: str) -> Prefix:
    if version == 4 and mask.count(".") == 3:
        m_version, value = _address(mask, typed)
        length = f"{value:032b}".rstrip("0")
        if m_version == 4 and "0" not in length:
            return _whole(version, network, len(length), typed)
    raise Rejected(_("«{text}»: «{mask}» is no prefix length").format(text=typed, mask=mask), rule="prefix.length")


def _range(typed: str) -> tuple[Prefix, ...]:
    low, _dash, high = typed.partition("-")
    (v_low, first), (v_high, last) = _address(low.strip(), typed), _address(high.strip(), typed)
    if v_low != v_high or first > last:
        raise Rejected(
            _("«{text}»: the range must run upwards within one IP version").format(text=typed), rule="prefix.range"
        )
    blocks = netaddr.iprange_to_cidrs(_text(v_low, first), _text(v_low, last))
    return tuple(_whole(v_low, int(b.first), int(b.prefixlen), typed) for b in blocks)
