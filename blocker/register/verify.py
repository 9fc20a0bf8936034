"""What may be published: the ledger of signed documents, compared with the rows, and its rules in force."""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, select

from blocker.guard import Severity
from blocker.proposal import AddItem
from blocker.register import chain, documents
from blocker.register.compare import FACTS, differences, facts
from blocker.register.ground import Ground, Judge
from blocker.register.replay import Case, Ledger, replay
from blocker.register.tables import DECISION, ENTRY, OFFICER, PROPOSAL, PUBLICATION, REGISTER
from blocker.register.views import Emergency, Verified
from blocker.workflow import BREAK_GLASS_HOURS, EntryState, ProposalState
from feeds.collector import without_collector
from feeds.errors import Problem
from feeds.floor import FLOOR_WORDS, crossed
from feeds.language import _
from feeds.manifest import ChainHead
from feeds.rule import NameTarget, Rule, hours

Admit = Callable[[Emergency], bool]
MAX_NAMED = 1000
_FETCH = 20_000


def verified(
    ground: Ground,
    now: datetime,
    root_keys: Collection[str],
    threshold: int,
    published: ChainHead | None,
    guard: Judge | None,
    admit: Admit | None,
) -> Verified:
    """See `Register.verified`."""
    with ground.database.read() as connection, without_collector():
        events = chain.checked(connection, published)
        ledger = replay(events, lambda digest: documents.get(connection, digest), root_keys, threshold)
        found = list(_differences(connection, ledger))
        if found:
            raise chain.broken(
                _("{n} rows of the register are not what was signed, the first: {first}").format(
                    n=len(found), first=found[0]
                ),
                *found[:MAX_NAMED],
            )
        head = ChainHead(length=len(events), hash=events[-1].hash)
        problems: list[Problem] = []
        emergencies = tuple(_emergencies(ledger, now, admit or (lambda emergency: False), problems))
        admitted = {emergency.proposal for emergency in emergencies if emergency.admitted}
        winners = _winners(ledger, hours(now), admitted)
        rules = list(_above_floor(winners, ledger.officers.training, guard, problems))
    used = {rule.decision for rule in rules}
    refs = tuple(
        ledger.decisions[digest].ref() for notation, digest in sorted(ledger.notations.items()) if notation in used
    )
    return Verified(rules, refs, head, ledger.officers, tuple(problems), emergencies)


def _differences(connection: Connection, ledger: Ledger) -> Iterator[Problem]:
    yield from _small_tables(connection, ledger)
    items = ledger.items

    def said(number: int) -> tuple[object, ...] | None:
        item = items.get(number)
        return facts(item, ledger.standing(number)) if item else None

    columns = [ENTRY.c[name] for name in FACTS]
    rows = connection.execution_options(yield_per=_FETCH).execute(select(*columns))
    yield from differences(rows, said, len(items), lambda: items)


def _small_tables(connection: Connection, ledger: Ledger) -> Iterator[Problem]:
    """Register, officers, decisions, proposals and publications: few rows each."""
    officers = ledger.officers
    row = connection.execute(select(REGISTER.c.authority, REGISTER.c.training)).first()
    if row is None or tuple(row) != (officers.authority, officers.training):
        yield Problem(_("register row"), "register.row", _("authority and training are not what was certified"))
    active = {officer.id for officer in officers.active()}
    columns = [OFFICER.c.id, OFFICER.c.key, OFFICER.c.active]
    yield from _unlike(
        _("officer row"),
        connection.execute(select(*columns)),
        ((id, key, id in active) for id, key in officers.known.items()),
    )
    yield from _unlike(
        _("decision row"),
        connection.execute(select(DECISION.c.notation, DECISION.c.document)),
        ledger.notations.items(),
    )
    p = PROPOSAL.c
    yield from _unlike(
        _("proposal row"),
        connection.execute(select(p.number, p.decision, p.state, p.proposer, p.sha256, p.signature, p.reviewer)),
        map(_case_row, ledger.cases.values()),
    )
    yield from _unlike(
        _("publication row"),
        connection.execute(select(PUBLICATION.c.serial, PUBLICATION.c.digest)),
        ((serial, digest or None) for serial, digest in ledger.serials.items()),
    )


def _case_row(case: Case) -> tuple[object, ...]:
    signed = (case.proposer or None, case.sha256 or None, case.signature or None, case.reviewer or None)
    return (case.number, case.decision, str(case.state), *signed)


def _unlike(what: str, rows: Iterable[Iterable[object]], said: Iterable[Iterable[object]]) -> Iterator[Problem]:
    found = {row[0]: row for row in map(tuple, rows)}
    wanted = {row[0]: row for row in map(tuple, said)}
    for name in sorted(found.keys() | wanted.keys(), key=str):
        if found.get(name) != wanted.get(name):
            yield Problem(f"{what} {name}", "register.row", _("it is not what was signed"))


def _emergencies(ledger: Ledger, now: datetime, admit: Admit, problems: list[Problem]) -> Iterator[Emergency]:
    """Break-glass proposals that are still open and have not lapsed."""
    for case in ledger.cases.values():
        review = case.glass
        if review is None or case.state is not ProposalState.EMERGENCY:
            continue
        lapses = hours(review.made) + BREAK_GLASS_HOURS
        if hours(now) >= lapses:
            continue
        place = _("proposal {n}").format(n=case.number)
        emergency = Emergency(
            case.number, case.sha256, review.officer, review.reason, review.made, lapses, case.entries
        )
        if case.barred or review.made > now:
            message = _("break-glass is repeated or dated in the future; it needs a second officer")
        elif admit(emergency):
            emergency = replace(emergency, admitted=True)
            message = _("break-glass by {id} alone; it ends in {n} hours unless a second officer approves it").format(
                id=review.officer, n=lapses - hours(now)
            )
        else:
            message = _("break-glass by {id} alone was left out; name it when publishing to let it through").format(
                id=review.officer
            )
        problems.append(Problem(place, "proposal.break-glass", message))
        yield emergency


def _winners(ledger: Ledger, hour: int, admitted: Collection[int]) -> Iterable[Rule]:
    """Rules in force, one a target. Two entries for one target: that of the later decision wins (by its date, among
    equal dates the higher entry number)."""
    dates = {notation: ledger.decisions[digest].date.isoformat() for notation, digest in ledger.notations.items()}
    best: dict[str, Rule] = {}
    for number, item in ledger.items.items():
        rule = _in_force(ledger, number, item, hour, admitted)
        if rule is None:
            continue
        target = rule.target
        key = str(target) if isinstance(target, NameTarget) else f"{target} {rule.limits}"
        other = best.setdefault(key, rule)
        if other is not rule and _rank(dates, rule) > _rank(dates, other):
            best[key] = rule
    return best.values()


def _rank(dates: dict[str, str], rule: Rule) -> tuple[str, int]:
    return dates[rule.decision], int(rule.entry.partition(":")[2])


def _in_force(ledger: Ledger, number: int, item: AddItem, hour: int, admitted: Collection[int]) -> Rule | None:
    rule = item.rule
    standing = ledger.standings.get(number)
    if standing is None:
        return rule if item.valid_from <= hour < rule.expires else None
    proposal = ledger.emergencies.get(number)
    if proposal is not None and proposal not in admitted:
        # Not admitted: as if the glass had not been broken.
        if standing.state is EntryState.EMERGENCY:
            return None
        standing = replace(standing, paused_until=0)
    state = standing.at(hour)
    if state is EntryState.EMERGENCY and item.valid_from <= hour:
        return replace(rule, expires=min(standing.expires, standing.lapses))
    if state is not EntryState.ACTIVE:
        return None
    return rule if standing.expires == rule.expires else replace(rule, expires=standing.expires)


def _above_floor(rules: Iterable[Rule], training: bool, guard: Judge | None, problems: list[Problem]) -> Iterator[Rule]:
    """What the floor, and the guard if there is one, let pass today; the rest is named in `problems`."""
    for rule in rules:
        limit = crossed(rule.target, training)
        if limit is not None:
            problems.append(Problem(f"{rule.entry} {rule.target}", limit, _(FLOOR_WORDS[limit])))
            continue
        never = [f for f in guard.judge(rule.target) if f.severity is Severity.NEVER] if guard else []
        if never:
            problems += [Problem(f"{rule.entry} {rule.target}", f.rule, f.sentence) for f in never]
            continue
        yield rule
