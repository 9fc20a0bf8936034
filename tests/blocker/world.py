"""One authority with root keys, officers and a register, for tests."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from blocker.guard import Finding, Severity
from blocker.keys import Key
from blocker.proposal import Addition, Change, Decision, Verb
from blocker.register import AddReport, Emergency, Register, Verified
from feeds.manifest import ChainHead
from feeds.name import DomainName
from feeds.officers import Genesis, Kind, Officer, SignedGenesis, sign
from feeds.rule import Category, NameTarget, Rule, Scope, Target

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def key(seed: int) -> Key:
    """A key that is the same in every run."""
    return Key.of(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


def name(text: str) -> NameTarget:
    """A subtree target."""
    return NameTarget(DomainName(text), Scope.SUBTREE)


def decision(notation: str = "1/QD", **other: object) -> Decision:
    """A complete decision."""
    said = {
        "agency": "Sở Thông tin và Truyền thông",
        "number": "1",
        "date": date(2026, 11, 20),
        "subject": "Chặn các trang cờ bạc",
        "legal_basis": "Nghị định 147/2024/NĐ-CP",
        "contact": "khieunai@so.example.vn",
        "sha256": "ab" * 32,
        **other,
    }
    return Decision(notation, **said)  # type: ignore[arg-type]


class FakeGuard:
    """A guard that says what a test wants it to say: `str(target)` -> severity."""

    def __init__(self) -> None:
        self.said: dict[str, Severity] = {}
        self.asked: list[tuple[str, bool, str | None]] = []

    def judge(
        self, target: Target, *, path_dropped: bool = False, listed: Callable[[Target], str | None] | None = None
    ) -> tuple[Finding, ...]:
        self.asked.append((str(target), path_dropped, listed(target) if listed else None))
        severity = self.said.get(str(target))
        return (Finding("guard.test", severity, "the test says so", ""),) if severity else ()


class World:
    """`register` with officers an, binh and chi, decision 1/QD, and a guard that lets everything pass."""

    def __init__(self, url: str, training: bool = False) -> None:
        self.url = url
        self.now = NOW
        self.roots = [key(200 + n) for n in range(3)]
        self.root_keys = [root.public_hex for root in self.roots]
        self.keys = {"an": key(1), "binh": key(2), "chi": key(3)}
        self.guard = FakeGuard()
        self.published: ChainHead | None = None
        officers = tuple(Officer(id, k.public_hex) for id, k in self.keys.items())
        document = Genesis("so", training, NOW, officers).to_bytes()
        signatures = tuple((root.public_hex, sign(Kind.GENESIS, document, root)) for root in self.roots[:2])
        self.genesis = SignedGenesis(document, signatures)
        self.register = Register.create(
            url, self.genesis, self.root_keys, 2, NOW, authority_name="Sở", names={"an": "Nguyễn Văn An"}
        )
        self.register.decisions.add(decision(), "an", NOW)

    def later(self, step: timedelta) -> None:
        """Let time pass."""
        self.now += step

    def add(
        self, *targets: Target | Addition, number: int | None = None, decision: str = "1/QD"
    ) -> tuple[int, AddReport]:
        """A draft that lists these targets."""
        number = number or self.register.proposals.new(decision, self.now)
        additions = [t if isinstance(t, Addition) else Addition(t, Category.GAMBLING, "gambling site") for t in targets]
        return number, self.register.proposals.add(number, additions, self.guard, self.now)

    def signed(self, *targets: Target | Addition, by: str = "an", decision: str = "1/QD") -> int:
        """A signed proposal that lists these targets."""
        number, report = self.add(*targets, decision=decision)
        assert not report.refused
        self.register.proposals.sign(number, by, self.keys[by], self.now)
        return number

    def approve(self, number: int, by: str = "binh", **confirmations: str) -> None:
        """Another officer's approval."""
        self.register.proposals.approve(number, by, self.keys[by], self.guard, confirmations, self.now)

    def listed(self, *targets: Target | Addition, decision: str = "1/QD") -> int:
        """A proposal that lists these targets, signed and approved; its number."""
        number = self.signed(*targets, decision=decision)
        self.approve(number)
        return number

    def change(self, verb: Verb, *entries: int, by: str = "an", expires: datetime | None = None) -> int:
        """A signed proposal that changes entries."""
        number = self.register.proposals.new("1/QD", self.now)
        changes = [Change(verb, entry, "because of an objection", expires) for entry in entries]
        report = self.register.proposals.change(number, changes, self.guard, self.now)
        assert not report.refused, report.refused
        self.register.proposals.sign(number, by, self.keys[by], self.now)
        return number

    def changed(self, verb: Verb, *entries: int, expires: datetime | None = None) -> None:
        """Changes of entries, signed and approved."""
        self.approve(self.change(verb, *entries, expires=expires))

    def entry(self, target: Target) -> int:
        """The number of the newest entry of this very target."""
        return max(m.entry.number for m in self.register.entries.why(target, self.now) if not m.covering)

    def verified(self, admit: Callable[[Emergency], bool] | None = None, guard: FakeGuard | None = None) -> Verified:
        """What may be published now."""
        return self.register.verified(self.now, self.root_keys, 2, self.published, guard=guard, admit=admit)

    def rules(self) -> dict[str, Rule]:
        """Rules in force now, by target."""
        return {str(rule.target): rule for rule in self.verified().rules}

    def publish(self) -> None:
        """Publish as `publishing` does, without the files."""
        found = self.verified()
        serial = self.register.publications.reserve_serial(self.now)
        self.register.publications.mark_published(serial, "cd" * 32, found.head, self.now)
        self.published = found.head
