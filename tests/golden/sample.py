"""A small release with one of everything, for golden files and for other projects' programs."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from feeds.manifest import Manifest
from feeds.name import DomainName
from feeds.prefix import Prefix
from feeds.release import Release
from feeds.rule import Action, Category, Limits, NameTarget, Rule, Scope, hours

NOW = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
LATER = hours(datetime(2027, 3, 1, tzinfo=UTC))
PASSED = hours(datetime(2026, 11, 24, 6, tzinfo=UTC))


@dataclass(frozen=True)
class Accepted:
    """Stands in for `feeds.store.Accepted`."""

    manifest: Manifest
    rules: tuple[Rule, ...]

    def release(self) -> Release:
        return Release.of(self.manifest.authority, self.manifest.serial, self.rules)


def rule(
    target: str,
    action: Action = Action.NXDOMAIN,
    *,
    data: str = "",
    limits: str = "-",
    number: int = 1,
    expires: int = LATER,
    decision: str = "12/QĐ-STTTT",
    category: Category = Category.GAMBLING,
) -> Rule:
    """A rule in one line: `name` is a subtree, `=name` exact, anything with a slash a prefix."""
    made: NameTarget | Prefix
    if "/" in target:
        made = Prefix.of_text(target)
    else:
        scope = Scope.EXACT if target.startswith("=") else Scope.SUBTREE
        made = NameTarget(DomainName(target.removeprefix("=")), scope)
    return Rule(made, action, f"hanoi:{number}", category, decision, expires, data=data, limits=Limits.parse(limits))


def accepted(rules: Iterable[Rule], *, serial: int = 7, canaries: tuple[dict[str, str], ...] = ()) -> Accepted:
    """What an ISP accepted, with these rules."""
    manifest = Manifest.model_validate(
        {
            "authority": "hanoi",
            "authority_name": "Sở Thông tin và Truyền thông",
            "serial": serial,
            "issued": "2026-11-24T05:00:00Z",
            "training": True,
            "digest": "0" * 64,
            "size": 1,
            "counts": {},
            "canaries": canaries,
            "contact": {"email": "khieu.nai@sample.example", "name": "Phòng khiếu nại"},
            "decisions": [
                {
                    "notation": "12/QĐ-STTTT",
                    "agency": "Sở TTTT",
                    "number": "12",
                    "date": "2026-11-20",
                    "legal_basis": "Nghị định 147/2024",
                    "contact": "",
                }
            ],
            "chain": {"length": 1, "hash": "0" * 64},
        }
    )
    return Accepted(manifest, tuple(rules))


CANARIES = (
    {"name": "canary-nxdomain.example", "action": "nxdomain"},
    {"name": "canary-local.example", "action": "local", "data": "192.0.2.99"},
)

RULES = (
    rule("bet.example", number=1),
    rule("a.b.c.bet.example", Action.PASSTHRU, number=2),
    rule("=www.bet.example", Action.LOCAL, data="192.0.2.1,2001:db8::1", number=3),
    rule("phish.example", Action.NODATA, number=4),
    rule("=phish.example", Action.PASSTHRU, number=5),
    rule("drop.example", Action.DROP, number=6),
    rule("tcp.example", Action.TCP_ONLY, number=7),
    rule("notice.example", Action.LOCAL, data="notice.sample.example", number=8),
    rule("=only.example", number=9),
    rule("xn--v-d-iia7i.example", number=10, decision="-1+1"),
    rule("-dash.example", number=11),
    rule("lapsed.example", number=12, expires=PASSED),
    rule("192.0.2.0/24", number=20),
    rule("192.0.2.77/32", Action.PASSTHRU, number=21),
    rule("198.51.100.7/32", number=22, limits="tcp/80,443"),
    rule("203.0.113.5/32", Action.LOCAL, data="192.0.2.1", number=23),
    rule("203.0.113.64/26", number=24),
    rule("2001:db8::/48", number=25),
    rule("2001:db8:1:0:1::5/128", number=26),
)
