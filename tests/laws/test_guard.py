"""Laws of the guard: what protects a name protects it from every wider target."""

from hypothesis import given, settings
from hypothesis import strategies as st

from blocker.guard import Guard, Severity
from blocker.guard.index.sources import HAND
from feeds.errors import Rejected
from feeds.name import DomainName
from feeds.prefix import Prefix
from feeds.rule import NameTarget, Scope
from tests.blocker.guard_case import guard, guard_cache

__all__ = ["guard", "guard_cache"]

LABEL = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True)
NEVER = [
    item
    for name in ("vietnam", "resolvers", "dns-infrastructure", "certificate-status")
    for line in (HAND / f"{name}.txt").read_text("utf-8").splitlines()
    if (item := line.partition("#")[0].strip())
]
NAMES = [i for i in NEVER if not i[-1].isdigit() and ":" not in i]
ADDRESSES = [p for i in NEVER if i not in NAMES for p in Prefix.parse(i)]


@given(name=st.sampled_from(NAMES), labels=st.lists(LABEL, max_size=3), cut=st.integers(0, 3))
@settings(max_examples=300)
def test_never_holds_for_the_name_all_below_and_all_above(guard: Guard, name: str, labels: list[str], cut: int) -> None:
    below = ".".join([*labels, name])
    above = ".".join(name.split(".")[min(cut, name.count(".")) :])
    for text in (below, above):
        findings = guard.judge(NameTarget(DomainName(text), Scope.SUBTREE))
        assert findings, text
        assert findings[0].severity is Severity.NEVER, text


@given(address=st.sampled_from(ADDRESSES), length=st.integers(8, 128))
@settings(max_examples=300)
def test_never_holds_for_every_prefix_that_covers_the_address(guard: Guard, address: Prefix, length: int) -> None:
    bits = 32 if address.version == 4 else 128
    length = min(length, address.length)
    wider = Prefix(address.version, address.network >> (bits - length) << (bits - length), length)
    findings = guard.judge(wider)
    assert findings
    assert findings[0].severity is Severity.NEVER


@given(text=st.text(max_size=40) | st.lists(LABEL, min_size=2, max_size=6).map(".".join))
def test_whatever_is_a_name_can_be_judged(guard: Guard, text: str) -> None:
    try:
        name = DomainName.parse(text).name
    except Rejected:
        return
    for scope in Scope:
        rules = [f.rule for f in guard.judge(NameTarget(name, scope))]
        assert len(rules) == len(set(rules))


@given(version=st.sampled_from((4, 6)), data=st.data())
def test_whatever_is_a_prefix_can_be_judged(guard: Guard, version: int, data: st.DataObject) -> None:
    bits = 32 if version == 4 else 128
    length = data.draw(st.integers(0, bits))
    network = data.draw(st.integers(0, (1 << length) - 1)) << (bits - length)
    try:
        prefix = Prefix(version, network, length)
    except Rejected:
        return
    assert all(f.evidence for f in guard.judge(prefix))
