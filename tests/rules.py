"""Rules, names and prefixes for tests: by hand (`rule`) and by hypothesis."""

from typing import Any

from hypothesis import strategies as st

from feeds.name import DomainName
from feeds.prefix import Prefix
from feeds.release import Release
from feeds.rule import NO_LIMITS, Action, Category, Limits, NameTarget, Rule, Scope, Target

AUTHORITY = "vn-test"
DECISION = "12/QĐ-STTTT"
FAR = 600_000  # hours since 1970: in the year 2038


def target(text: str) -> Target:
    """`evil.test` is a subtree, `=evil.test` exact, `192.0.2.0/24` a prefix."""
    if "/" in text:
        return Prefix.of_text(text)
    scope = Scope.EXACT if text.startswith("=") else Scope.SUBTREE
    return NameTarget(DomainName(text.removeprefix("=")), scope)


def rule(text: str, number: int = 1, **changes: Any) -> Rule:
    """A rule on `text` (see `target`) with everything else plausible."""
    fields: dict[str, Any] = {
        "target": target(text),
        "action": Action.NXDOMAIN,
        "entry": f"{AUTHORITY}:{number}",
        "category": Category.GAMBLING,
        "decision": DECISION,
        "expires": FAR,
    }
    return Rule(**{**fields, **changes})


labels = st.sampled_from(["a", "b", "c", "xn--v-d-rma6749a", "_e", "1"])
names = st.lists(labels, min_size=1, max_size=4).map(lambda parts: DomainName(".".join([*parts, "test"])))


@st.composite
def prefixes(draw: st.DrawFn) -> Prefix:
    """Prefixes of both families, none IPv4-mapped."""
    version = draw(st.sampled_from([4, 6]))
    bits = 32 if version == 4 else 128
    length = draw(st.integers(0, bits))
    base = draw(st.integers(0, (1 << bits) - 1)) | (1 << (bits - 1) if version == 6 else 0)
    length = max(length, 1) if version == 6 else length
    return Prefix(version, base >> (bits - length) << (bits - length), length)


limits = st.one_of(
    st.just(NO_LIMITS),
    st.builds(
        lambda protocol, ports: Limits.parse(f"{protocol}/{','.join(map(str, ports))}"),
        st.sampled_from(["tcp", "udp"]),
        st.lists(st.integers(1, 65535), min_size=1, max_size=4),
    ),
)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """Any rule."""
    action = draw(st.sampled_from(list(Action)))
    is_name = draw(st.booleans())
    aim = NameTarget(draw(names), draw(st.sampled_from(list(Scope)))) if is_name else draw(prefixes())
    return Rule(
        aim,
        action,
        f"{AUTHORITY}:{draw(st.integers(1, 999))}",
        draw(st.sampled_from(list(Category))),
        draw(st.sampled_from([DECISION, "7/QĐ-UBND"])),
        draw(st.integers(490_000, 490_003)),
        draw(st.sampled_from(["192.0.2.80", "192.0.2.80,2001:db8::80", "notice.test"]))
        if action is Action.LOCAL
        else "",
        NO_LIMITS if is_name else draw(limits),
        draw(st.sampled_from([(), (("note", "x"),), (("a", ""), ("b", "đ"))])),
    )


def releases(serial: int = 1, most: int = 30) -> st.SearchStrategy[Release]:
    """Any release."""
    return st.lists(rules(), max_size=most, unique_by=lambda r: r.key).map(
        lambda found: Release.of(AUTHORITY, serial, found)
    )
