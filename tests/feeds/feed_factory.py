"""A small signed feed in a directory, made by the real publishing code over a ledger in memory.

feed = FeedFactory(tmp_path / "feed")
manifest = feed.publish([rule("evil.test")], NOW)
feed.anchor                    # bytes of root.json to hand to an ISP
feed.state_bulk("we mean it", rules, NOW)   # the next publish of these rules passes every brake
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from blocker.keys import Key
from blocker.publishing.bulk import Bulk, prepare_bulk, sign_bulk
from blocker.publishing.create import create_feed
from blocker.publishing.layout import Disk
from blocker.publishing.plan import Plan, make_plan
from blocker.publishing.publish import Outcome, publish, publish_due
from blocker.publishing.release_of import Content, floor_judge
from blocker.publishing.sign import FeedKeys, KeySigner
from blocker.publishing.standing import Standing, read_standing
from feeds.manifest import BulkStatement, ChainHead, Contact, DecisionRef, Manifest
from feeds.officers import Genesis, Kind, Officer, SignedChange, SignedGenesis, sign
from feeds.roster import roster_bytes
from feeds.rule import Rule, Serial
from tests.rules import AUTHORITY, DECISION

CONTACT = Contact(name="Sở TTTT", email="objections@authority.example", url="https://authority.example/objections")


def new_key() -> Key:
    """An Ed25519 key in memory."""
    return Key.of(Ed25519PrivateKey.generate())


def decision(notation: str) -> DecisionRef:
    """A decision of that notation with everything else plausible."""
    return DecisionRef(
        notation=notation,
        agency="Sở TTTT",
        number=notation.partition("/")[0],
        date="2026-11-01",
        legal_basis="Nghị định 147/2024/NĐ-CP",
        contact="objections@authority.example",
    )


@dataclass(slots=True)
class Reserved:
    """A serial of the ledger."""

    serial: int
    digest: str = ""
    published: datetime | None = None


class MemoryLedger:
    """The register's account of serials, in memory."""

    def __init__(self) -> None:
        self.rows: list[Reserved] = []

    def reserve_serial(self, now: datetime, published_serial: int = 0) -> Serial:
        self.rows.append(Reserved(max(published_serial, self.rows[-1].serial if self.rows else 0) + 1))
        return Serial(self.rows[-1].serial)

    def mark_published(self, serial: Serial, digest: str, chain: ChainHead, now: datetime) -> None:
        row = next(r for r in self.rows if r.serial == serial)
        row.digest, row.published = digest, now

    def list(self, limit: int = 100) -> Sequence[Reserved]:
        return self.rows[::-1][:limit]

    def last(self) -> Reserved | None:
        return next((r for r in reversed(self.rows) if r.digest), None)


class FeedFactory:
    """One authority's feed. Officers are `an` and `binh`; `roots` are the three root keys."""

    def __init__(
        self, path: Path, training: bool = True, authority: str = AUTHORITY, now: datetime | None = None
    ) -> None:
        self.path = path
        self.training = training
        self.authority = authority
        self.roots = [new_key() for _n in range(3)]
        self.officers = {"an": new_key(), "binh": new_key()}
        self.keys = FeedKeys(KeySigner(new_key()), KeySigner(new_key()), KeySigner(new_key()))
        self.ledger = MemoryLedger()
        self.disk = Disk(path)
        self.bulk: Bulk | None = None
        self.changes: list[SignedChange] = []
        self.genesis: SignedGenesis | None = None
        self.anchor = b""
        if now is not None:
            self.create(now)

    def create(self, now: datetime) -> bytes:
        """Make the empty feed; `publish` does it when it was not done. Returns the trust anchor."""
        document = Genesis(
            self.authority, self.training, now, tuple(Officer(id, key.public_hex) for id, key in self.officers.items())
        ).to_bytes()
        self.genesis = SignedGenesis(
            document, tuple((key.public_hex, sign(Kind.GENESIS, document, key)) for key in self.roots[:2])
        )
        self.anchor = create_feed(
            self.disk,
            self.keys,
            [key.public_hex for key in self.roots],
            self.roots[:2],
            [key.public_hex for key in self.officers.values()],
            CONTACT,
            now,
        )
        return self.anchor

    def content(self, rules: Iterable[Rule], length: int | None = None) -> Content:
        """What the register would hold; `length` is that of its event chain."""
        rules = list(rules)
        assert self.genesis is not None
        return Content(
            authority=self.authority,
            authority_name="Sở Thông tin và Truyền thông",
            training=self.training,
            contact=CONTACT,
            rules=rules,
            decisions=[decision(d) for d in sorted({r.decision for r in rules} | {DECISION})],
            chain=ChainHead(length=len(self.ledger.rows) + 1 if length is None else length, hash="0" * 64),
            officers=roster_bytes(self.genesis, self.changes),
            officer_keys=[key.public_hex for key in self.officers.values()],
        )

    def publish(self, rules: Iterable[Rule], now: datetime, *, accept_hold: bool = True) -> Manifest:
        """Publish these rules as the next serial; the manifest that the feed then carries."""
        manifest = self.publish_outcome(rules, now, accept_hold=accept_hold).manifest
        assert manifest is not None
        return manifest

    def publish_outcome(self, rules: Iterable[Rule], now: datetime, *, accept_hold: bool = True) -> Outcome:
        """The same, with all that `publish` reports."""
        if not self.anchor:
            self.create(now)
        return self.publish_content(self.content(rules), now, accept_hold=accept_hold)

    def publish_content(self, content: Content, now: datetime, *, accept_hold: bool = True) -> Outcome:
        """Publish exactly this."""
        bulk, self.bulk = self.bulk, None
        return publish(
            self.ledger,
            lambda standing: content,
            self.disk,
            self.keys,
            now,
            floor_judge(self.training),
            bulk=bulk,
            accept_hold=accept_hold,
        )

    def publish_due(self, now: datetime) -> Outcome:
        """What the hourly timer does."""
        return publish_due(self.ledger, self.disk, self.keys, now)

    def plan(self, rules: Iterable[Rule], now: datetime) -> Plan:
        """What publishing these rules would do."""
        return make_plan(self.ledger, self.content(rules), self.standing(), now, floor_judge(self.training))

    def standing(self) -> Standing:
        """The feed as it stands."""
        return read_standing(self.path)

    def state_bulk(
        self, reason: str, rules: Iterable[Rule], now: datetime, signers: Sequence[str] = ("an", "binh")
    ) -> Bulk:
        """A bulk statement for the step to `rules`, signed by officers; the next `publish` carries it."""
        plan = self.plan(rules, now)
        statement = BulkStatement(
            authority=self.authority,
            from_serial=plan.standing.serial,
            to_serial=plan.next_serial,
            removed=plan.forecast.removed,
            added=plan.forecast.added,
            reason=reason,
            made=now,
        )
        bulk = prepare_bulk(plan.standing, statement, now)
        for officer in signers:
            bulk = sign_bulk(bulk, self.officers[officer])
        self.bulk = bulk
        return bulk
