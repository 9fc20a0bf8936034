"""What the signed documents say, read from the first event to the last. Pure: events and documents in, `Ledger` out.

Nothing is taken from a row of the database. An entry is in force only if

    the chain of events holds and contains the head that was published,
    the officer list goes back to the root keys, each change signed by two others,
    its proposal carries the signature of an officer who was active when it was approved,
    its review carries that of another, and names the proposal's digest,
    both name a chain head that stands in this very chain, before them (so they fit into no other history),
    and every step is one that the workflow's table has.

Break-glass needs one officer; such entries are kept apart, and `verified` leaves them out unless they are admitted.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from blocker.proposal import AddItem, Decision, Proposal, Review, Verb, Verdict
from blocker.proposal.standing import (
    Standing,
    changed,
    check_break_glass,
    check_extension,
    check_proposal,
    unpaused,
)
from blocker.register.chain import Event, broken
from blocker.register.compare import first_standing
from blocker.register.ground import (
    CREATED,
    DECISION_RECORDED,
    OFFICERS_CHANGED,
    OFFICERS_PROPOSED,
    PROPOSAL_APPROVED,
    PROPOSAL_DISCARDED,
    PROPOSAL_EMERGENCY,
    PROPOSAL_OPENED,
    PROPOSAL_REJECTED,
    PROPOSAL_SIGNED,
    RELEASE_PUBLISHED,
    SERIAL_RESERVED,
    signatures,
)
from blocker.workflow import BREAK_GLASS_HOURS, Act, EntryState, ProposalState, check_four_eyes, next_proposal
from feeds.errors import Failure, Problem
from feeds.language import _
from feeds.manifest import ChainHead
from feeds.officers import Kind, OfficerList, SignedChange, SignedGenesis, signed_by, verify_genesis
from feeds.prefix import Prefix
from feeds.rule import hours, hours_up

_VERDICTS = {
    PROPOSAL_APPROVED: (Verdict.APPROVE, Act.APPROVE),
    PROPOSAL_REJECTED: (Verdict.REJECT, Act.REJECT),
    PROPOSAL_EMERGENCY: (Verdict.BREAK_GLASS, Act.BREAK_GLASS),
}


@dataclass(slots=True)
class Case:
    """A proposal as the events have it so far. `sha256` is empty until it was signed."""

    number: int
    decision: str
    state: ProposalState = ProposalState.DRAFT
    sha256: str = ""
    proposer: str = ""
    signature: str = ""
    signed_at: int = 0  # sequence number of the signing event
    reviewer: str = ""
    reason: str = ""
    glass: Review | None = None
    barred: bool = False  # break-glass for a target that had one before: never admitted
    entries: tuple[str, ...] = ()


@dataclass(slots=True)
class Ledger:
    """The register as signed. `standings` holds entries that are not simply active until their first expiry."""

    officers: OfficerList
    decisions: dict[str, Decision] = field(default_factory=dict)  # by SHA-256
    notations: dict[str, str] = field(default_factory=dict)  # notation -> SHA-256
    cases: dict[int, Case] = field(default_factory=dict)
    items: dict[int, AddItem] = field(default_factory=dict)
    standings: dict[int, Standing] = field(default_factory=dict)
    emergencies: dict[int, int] = field(default_factory=dict)  # entry -> proposal that broke the glass for it
    serials: dict[int, str] = field(default_factory=dict)  # serial -> digest, empty until published

    def standing(self, number: int) -> Standing:
        """How an entry stands."""
        return self.standings.get(number) or first_standing(self.items[number], EntryState.ACTIVE)


def replay(
    events: list[Event],
    document: Callable[[str], bytes],
    root_keys: Collection[str],
    threshold: int,
) -> Ledger:
    """The ledger of checked events; `document` gives bytes that have the SHA-256 asked for. Raises Refused."""
    if not events or events[0].kind != CREATED:
        raise broken(_("the register does not begin with its first officer list"))
    first = events[0]
    with _at(first):
        genesis = SignedGenesis(document(first.said("document")), signatures(first))
        ledger = Ledger(verify_genesis(genesis, root_keys, threshold))
    reader = _Replay(ledger, events, document)
    for event in events[1:]:
        with _at(event):
            reader.step(event)
    return ledger


class _Replay:
    def __init__(self, ledger: Ledger, events: list[Event], document: Callable[[str], bytes]) -> None:
        self._ledger = ledger
        self._events = events
        self._document = document
        # Entries that break-glass listed and nobody confirmed, by key: it works once only.
        self._glassed: set[tuple[object, ...]] = set()
        self._steps: dict[str, Callable[[Event], None]] = {
            OFFICERS_PROPOSED: lambda event: None,  # says nothing until a second officer has signed
            OFFICERS_CHANGED: self._officers,
            DECISION_RECORDED: self._decision,
            PROPOSAL_OPENED: self._open,
            PROPOSAL_DISCARDED: self._discard,
            PROPOSAL_SIGNED: self._sign,
            PROPOSAL_APPROVED: self._review,
            PROPOSAL_REJECTED: self._review,
            PROPOSAL_EMERGENCY: self._review,
            SERIAL_RESERVED: self._serial,
            RELEASE_PUBLISHED: self._serial,
        }

    def step(self, event: Event) -> None:
        step = self._steps.get(event.kind)
        if step is None:
            raise broken(_("«{kind}» is no event that this version knows").format(kind=event.kind))
        step(event)

    def _officers(self, event: Event) -> None:
        change = SignedChange(self._document(event.said("document")), signatures(event))
        self._ledger.officers = self._ledger.officers.after(change)

    def _decision(self, event: Event) -> None:
        digest = event.said("document")
        decision = Decision.of_bytes(self._document(digest))
        if decision.notation in self._ledger.notations:
            raise broken(_("decision {notation} is recorded twice").format(notation=decision.notation))
        self._ledger.decisions[digest] = decision
        self._ledger.notations[decision.notation] = digest

    def _open(self, event: Event) -> None:
        number = _number(event, "proposal")
        if number in self._ledger.cases:
            raise broken(_("proposal {n} is opened twice").format(n=number))
        self._ledger.cases[number] = Case(number, event.said("decision"))

    def _discard(self, event: Event) -> None:
        case = self._case(event)
        case.state = next_proposal(case.state, Act.DISCARD)

    def _serial(self, event: Event) -> None:
        self._ledger.serials[_number(event, "serial")] = event.said("digest")

    def _case(self, event: Event) -> Case:
        number = _number(event, "proposal")
        case = self._ledger.cases.get(number)
        if case is None:
            raise broken(_("proposal {n} was never opened").format(n=number))
        return case

    def _sign(self, event: Event) -> None:
        case = self._case(event)
        case.state = next_proposal(case.state, Act.SIGN)
        case.sha256, case.signature = event.said("document"), event.said("signature")
        case.proposer, case.signed_at = event.actor, event.seq

    def _review(self, event: Event) -> None:
        case = self._case(event)
        verdict, act = _VERDICTS[event.kind]
        before = case.state
        case.state = next_proposal(case.state, act)
        review_bytes = self._document(event.said("review"))
        review = Review.of_bytes(review_bytes)
        if (
            review.authority != self._ledger.officers.authority
            or (review.proposal, review.proposal_sha256) != (case.number, case.sha256)
            or (review.verdict, review.officer) != (verdict, event.actor)
        ):
            raise broken(_("the review of proposal {n} is of something else").format(n=case.number))
        if verdict is not Verdict.BREAK_GLASS:
            check_four_eyes(case.proposer, review.officer)
        self._check_signature(Kind.REVIEW, review_bytes, review.officer, event.said("signature"))
        self._check_anchor(review.after, case.signed_at, event.seq)
        case.reviewer, case.reason = review.officer, review.reason
        if verdict is Verdict.REJECT and before is not ProposalState.EMERGENCY:
            return
        data = self._document(case.sha256)
        proposal = Proposal.of_bytes(data)
        self._check_proposal(case, proposal, data, review)
        del data
        self._apply(case, proposal, review, before)

    def _check_proposal(self, case: Case, proposal: Proposal, data: bytes, review: Review) -> None:
        ledger = self._ledger
        if (proposal.authority, proposal.number, proposal.proposer, proposal.decision) != (
            ledger.officers.authority,
            case.number,
            case.proposer,
            case.decision,
        ):
            raise broken(_("the document of proposal {n} is of something else").format(n=case.number))
        self._check_signature(Kind.PROPOSAL, data, proposal.proposer, case.signature)
        self._check_anchor(proposal.after, 0, case.signed_at)
        decision = ledger.decisions.get(proposal.decision_sha256)
        if decision is None or decision.notation != proposal.decision:
            raise broken(_("proposal {n} rests on a decision that was never recorded").format(n=case.number))
        if review.made < proposal.signed:
            raise broken(_("proposal {n} was reviewed before it was signed").format(n=case.number))
        check_proposal(proposal, decision)
        if review.verdict is Verdict.BREAK_GLASS:
            check_break_glass(proposal)

    def _check_signature(self, kind: Kind, document: bytes, officer: str, signature: str) -> None:
        key = self._ledger.officers.key_of(officer)
        if key is None:
            raise broken(_("{id} was not an active officer then").format(id=officer))
        if not signed_by(kind, document, key, signature):
            raise broken(_("this is not the signature of officer {id}").format(id=officer))

    def _check_anchor(self, anchor: ChainHead, after: int, before: int) -> None:
        """The head that was signed must be a link between the events `after` and `before`."""
        fits = after <= anchor.length < before and anchor.length >= 1
        if not fits or self._events[anchor.length - 1].hash != anchor.hash:
            raise broken(_("what was signed belongs to another history of this register"))

    def _apply(self, case: Case, proposal: Proposal, review: Review, before: ProposalState) -> None:
        ledger, made = self._ledger, hours(review.made)
        emergency = review.verdict is Verdict.BREAK_GLASS
        if emergency:
            case.glass = review
            case.entries = tuple(
                [item.rule.entry for item in proposal.additions] + [change.entry for change in proposal.changes]
            )
        for item in proposal.additions:
            number = item.number
            if number in ledger.items and ledger.emergencies.get(number) != case.number:
                raise broken(_("entry {entry} is listed twice").format(entry=item.rule.entry))
            ledger.items[number] = item
        if before is ProposalState.EMERGENCY:
            self._settle(proposal, review)
        elif emergency:
            for item in proposal.additions:
                case.barred = case.barred or item.rule.key in self._glassed
                self._glassed.add(item.rule.key)
                standing = first_standing(item, EntryState.EMERGENCY)
                ledger.standings[item.number] = replace(standing, lapses=made + BREAK_GLASS_HOURS)
                ledger.emergencies[item.number] = case.number
        for change in proposal.changes:
            number = change.number
            if number not in ledger.items:
                raise broken(_("entry {entry} was never listed").format(entry=change.entry))
            standing = ledger.standing(number)
            if review.verdict is Verdict.REJECT:
                ledger.standings[number] = unpaused(standing)
            else:
                prefix = isinstance(ledger.items[number].rule.target, Prefix)
                check_extension(change, prefix, hours_up(proposal.signed))
                ledger.standings[number] = changed(standing, change, made, emergency)
            if emergency and change.verb is Verb.SUSPEND:
                ledger.emergencies[number] = case.number
            else:
                ledger.emergencies.pop(number, None)

    def _settle(self, proposal: Proposal, review: Review) -> None:
        """A second officer confirmed a break-glass, or ended it."""
        for item in proposal.additions:
            state = EntryState.ACTIVE if review.verdict is Verdict.APPROVE else EntryState.REJECTED
            if state is EntryState.ACTIVE:
                self._glassed.discard(item.rule.key)
                self._ledger.standings.pop(item.number, None)
            else:
                self._ledger.standings[item.number] = first_standing(item, state)
            self._ledger.emergencies.pop(item.number, None)


def _number(event: Event, name: str) -> int:
    value = event.fields().get(name)
    if not isinstance(value, int):
        raise broken(_("«{name}» is missing").format(name=name))
    return value


class _at:
    """Turns any Failure inside into the refusal that names the event."""

    def __init__(self, event: Event) -> None:
        self._event = event

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Failure):
            place = _("event {n} ({kind}, {at})").format(n=self._event.seq, kind=self._event.kind, at=self._event.at)
            problems = [Problem(place, "register.event", error.what), *error.problems]
            raise broken(_("{place} does not hold: {why}").format(place=place, why=error.what), *problems) from error
