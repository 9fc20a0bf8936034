"""RPZ zone files (draft-vixie-dnsop-dns-rpz): the full zone, and the one with names only.

Zone semantics (RFC 4592). `*.P` matches a name below P only if no name between exists in the zone, and a name exists
as soon as anything stands at or below it. So for each name rule at X these records are written:

    a subtree rule             X and *.X
    an exact rule              X; and, if a subtree rule of an ancestor P is listed, *.X with P's action
    both                       X by the exact rule, *.X by the subtree rule
    an empty non-terminal E    E and *.E with the action of its nearest listed subtree ancestor

No owner is written twice, since each name is visited once and a hole is never a listed name.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from feeds.canary import canary_rule, is_canary
from feeds.language import N_
from feeds.manifest import Manifest
from feeds.name import DomainName, reversed_key
from feeds.prefix import Prefix
from feeds.render.form import Format, Rendering, View, by_name, count
from feeds.rule import Action, NameTarget, Rule, Target

TTL_SECONDS = 300
REFRESH_SECONDS, RETRY_SECONDS = 300, 60
# A secondary keeps the last good zone this long without its primary; rules in it may lapse, but an empty policy
# would unblock everything at once.
EXPIRE_SECONDS = 28 * 86400
SERIALS_A_RELEASE = 1000
MAX_OWNER_OCTETS = 255

_TRIGGER_WORDS = frozenset({"rpz-ip", "rpz-client-ip", "rpz-nsip", "rpz-nsdname"})
_CNAMES = {
    Action.NXDOMAIN: ".",
    Action.NODATA: "*.",
    Action.PASSTHRU: "rpz-passthru.",
    Action.DROP: "rpz-drop.",
    Action.TCP_ONLY: "rpz-tcp-only.",
}


class Record(NamedTuple):
    """One policy: `owner` is relative to the zone; `rule` is the one that it carries out."""

    owner: str
    rule: Rule

    def rdatas(self) -> Iterator[tuple[str, str]]:
        """(type, rdata) of each record at the owner."""
        return rdatas(self.rule)


def rdatas(rule: Rule) -> Iterator[tuple[str, str]]:
    """(type, rdata) of the records by which RPZ says the rule's action (draft section 3)."""
    if rule.action is not Action.LOCAL:
        yield "CNAME", _CNAMES[rule.action]
        return
    for part in rule.data.split(","):
        if ":" in part:
            yield "AAAA", part
        elif part.replace(".", "").isdigit():
            yield "A", part
        else:
            yield "CNAME", part + "."


def zone_serial(serial: int, lapsed_hours: int) -> int:
    """SOA serial: it rises with the release's serial and, in between, with every expiry hour that passes."""
    return serial * SERIALS_A_RELEASE + min(lapsed_hours, SERIALS_A_RELEASE - 1)


def rname(email: str) -> str:
    """The contact's e-mail address as an SOA RNAME (RFC 1035 section 8: dots before the @ are escaped)."""
    local, _at, domain = email.partition("@")
    labels = domain.strip(".").split(".")
    if not all(re.fullmatch(r"[A-Za-z0-9-]{1,63}", label) for label in labels) or len(email) > 200:
        return "hostmaster.invalid."
    return local.replace(".", "\\.") + "." + ".".join(labels) + "."


def prefix_owner(prefix: Prefix) -> str:
    """Owner of a response-address trigger (draft section 4.1.2): `24.0.2.0.192.rpz-ip`; in IPv6, `zz` is `::`."""
    if prefix.version == 4:
        parts = [str(prefix.network >> shift & 255) for shift in (0, 8, 16, 24)]
    else:
        words = [prefix.network >> shift & 0xFFFF for shift in range(0, 128, 16)]
        first, length = _longest_zeros(words)
        parts = [f"{word:x}" for word in words]
        if length > 1:
            parts[first : first + length] = ["zz"]
    return f"{prefix.length}.{'.'.join(parts)}.rpz-ip"


def records(view: View, names_only: bool, left_out: dict[str, int]) -> Iterator[Record]:
    """The policies of the zone; what cannot be said is counted in `left_out` when the iterator has ended."""
    return policies(view.rules, view.manifest, view.zone, names_only, left_out)


def policies(
    rules: Iterable[Rule], manifest: Manifest, zone: DomainName, names_only: bool, left_out: dict[str, int]
) -> Iterator[Record]:
    """As `records`, of rules in canonical order as they come: only those for prefixes are held in memory.

    Names come first, in canonical order (RFC 4034 section 6.1); so do the prefixes' owners after them.
    """
    room = MAX_OWNER_OCTETS - (len(zone.text) + 2)
    prefixes: list[Rule] = []
    named = _with_canaries(_names(rules, prefixes), manifest, left_out)
    yield from _name_records(_writable(named, room, left_out), room, left_out)
    found = []
    for rule in prefixes:
        target = rule.target
        assert isinstance(target, Prefix)  # noqa: S101 - `_names` keeps no other
        if names_only:
            count(left_out, "prefix")
        elif rule.limits.protocol:
            count(left_out, "limits")
        else:
            found.append(Record(prefix_owner(target), rule))
    yield from sorted(found, key=lambda record: reversed_key(record.owner))


def _names(rules: Iterable[Rule], prefixes: list[Rule]) -> Iterator[Rule]:
    """The name rules; the others are put into `prefixes`."""
    for rule in rules:
        if isinstance(rule.target, NameTarget):
            yield rule
        else:
            prefixes.append(rule)


def _name_records(rules: Iterable[Rule], room: int, left_out: dict[str, int]) -> Iterator[Record]:
    # The names that exist in the zone on the way down to the name at hand, each with the nearest subtree rule at or
    # above it.
    above: list[tuple[str, Rule | None]] = []
    for named in by_name(rules):
        key = named.key
        while above and not key.startswith(above[-1][0] + "\0"):
            above.pop()
        ruling = above[-1][1] if above else None
        if ruling is not None:
            for hole in _between(named.name, above[-1][0]):
                yield Record(hole, ruling)
                yield Record("*." + hole, ruling)
                above.append((reversed_key(hole), ruling))
        yield Record(named.name, named.here)
        below = named.subtree or ruling
        if below is not None:
            if len(named.name) + 3 <= room:
                yield Record("*." + named.name, below)
            elif named.subtree:
                count(left_out, "too-long")
        above.append((key, below))


def _between(name: str, above: str) -> Iterator[str]:
    """The names between `name` and its ancestor with the sort key `above`, outermost first."""
    depth = above.count("\0") + 1
    labels = name.split(".")
    for start in range(len(labels) - depth - 1, 0, -1):
        yield ".".join(labels[start:])


def _writable(rules: Iterable[Rule], room: int, left_out: dict[str, int]) -> Iterator[Rule]:
    """The name rules whose owners fit, and mean a name in RPZ."""
    for rule in rules:
        target = rule.target
        assert isinstance(target, NameTarget)  # noqa: S101 - `_names` yields no other
        name = target.name.text
        if len(name) + 1 > room:
            count(left_out, "too-long")
        elif name.rpartition(".")[2] in _TRIGGER_WORDS:
            count(left_out, "rpz-word")
        else:
            yield rule


def _with_canaries(rules: Iterable[Rule], manifest: Manifest, left_out: dict[str, int]) -> Iterator[Rule]:
    """The name rules with the manifest's canaries among them, in canonical order.

    A canary stands before an exact rule of its name, here as in the resolver.
    """
    canaries: dict[Target, Rule] = {}
    for canary in manifest.canaries:
        made = canary_rule(canary, manifest.authority)
        if made is None or made.target in canaries:
            count(left_out, "canary")
        else:
            canaries[made.target] = made
    waiting = sorted(canaries.values(), key=_key, reverse=True)
    for rule in rules:
        while waiting and waiting[-1].key < rule.key:
            yield waiting.pop()
        if waiting and rule.target == waiting[-1].target:
            count(left_out, "canary-name")
        else:
            yield rule
    yield from reversed(waiting)


def _key(rule: Rule) -> tuple[object, ...]:
    return rule.key


def _longest_zeros(words: list[int]) -> tuple[int, int]:
    """Place and length of the first longest run of zeros; BIND writes the same one, and warns about any other."""
    best, start = (0, 0), 0
    for place, word in enumerate([*words, 1]):
        if word:
            if place - start > best[1]:
                best = (start, place - start)
            start = place + 1
    return best


def _lines(view: View, names_only: bool, heading: list[str]) -> Iterator[str]:
    for line in heading:
        yield "; " + line
    serial = zone_serial(view.manifest.serial, view.lapsed_hours)
    yield f"$TTL {TTL_SECONDS}"
    yield f"$ORIGIN {view.zone.text}."
    yield (
        f"@ SOA localhost. {rname(view.manifest.contact.email)} {serial} "
        f"{REFRESH_SECONDS} {RETRY_SECONDS} {EXPIRE_SECONDS} {TTL_SECONDS}"
    )
    yield "@ NS localhost."
    for record in records(view, names_only, {}):
        note = "" if record.owner.startswith("*") else f" ; {_note(record.rule)}"
        for kind, rdata in record.rdatas():
            yield f"{record.owner} {kind} {rdata}{note}"


def _note(rule: Rule) -> str:
    return "canary" if is_canary(rule) else rule.entry


def _writer(name: str, names_only: bool, view: View) -> Rendering:
    # What is left out stands at the head, so the policies are laid out once to count and once to write.
    left_out = view.left_out()
    for _record in records(view, names_only, left_out):
        pass
    return Rendering(_lines(view, names_only, view.heading(name, left_out)), left_out)


def _full(view: View) -> Rendering:
    return _writer("rpz", False, view)


def _names_only(view: View) -> Rendering:
    return _writer("rpz-names", True, view)


FULL = Format("rpz", N_("RPZ zone file: names and addresses"), "blocker.rpz.zone", "text/dns", _full)
NAMES_ONLY = Format("rpz-names", N_("RPZ zone file: names only"), "blocker-names.rpz.zone", "text/dns", _names_only)
