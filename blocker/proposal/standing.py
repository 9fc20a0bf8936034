"""How an entry stands, and what each item of a proposal makes of it. The same steps when approving and when replaying.

Every function raises Refused with the reason where the workflow has no such step.
"""

from dataclasses import dataclass, replace

from blocker.proposal.decision import Decision
from blocker.proposal.document import Proposal
from blocker.proposal.items import AddItem, ChangeItem, Verb
from blocker.workflow import (
    ACT_WORDS,
    BREAK_GLASS_HOURS,
    ENTRY_WORDS,
    MAX_BREAK_GLASS_ITEMS,
    Act,
    EntryState,
    at_hour,
    longest,
    next_entry,
)
from feeds.errors import Problem, Refused
from feeds.language import _
from feeds.prefix import Prefix
from feeds.rule import hour_text, hours_up

_ACTS = {verb: Act(verb.value) for verb in Verb}
MAX_SHOWN = 1000


@dataclass(frozen=True, slots=True)
class Standing:
    """What changes in an entry's life. Times in hours since 1970-01-01T00Z; `lapses` and `paused_until` 0 if unset."""

    state: EntryState
    valid_from: int
    expires: int
    paused_until: int = 0
    lapses: int = 0

    def at(self, hour: int) -> EntryState:
        """Its state as the clock has moved it on."""
        return at_hour(self.state, self.valid_from, self.expires, hour, self.paused_until, self.lapses)


def changed(standing: Standing, item: ChangeItem, hour: int, emergency: bool = False) -> Standing:
    """The standing after a change approved in `hour`. `emergency`: by break-glass, so it ends by itself.

    Without `emergency` a pause that this very change began is confirmed by it.
    """
    if not emergency and item.verb is Verb.SUSPEND:
        standing = replace(standing, paused_until=0)
    state = standing.at(hour)
    after = next_entry(state, _ACTS[item.verb])
    if after is None:
        raise _refused(
            item,
            _("it is {state} and cannot be moved by «{act}»").format(
                state=_(ENTRY_WORDS[state]), act=_(ACT_WORDS[item.verb])
            ),
        )
    if item.verb is Verb.EXTEND:
        if item.old != standing.expires:
            raise _refused(
                item,
                _("its expiry is {now}, not {old}").format(now=hour_text(standing.expires), old=hour_text(item.old)),
            )
        return replace(standing, expires=item.new)
    if emergency:
        if item.verb is not Verb.SUSPEND:
            raise _refused(item, _("break-glass can list and suspend, nothing else"))
        return replace(standing, paused_until=hour + BREAK_GLASS_HOURS)
    # `waiting` is the clock's word; what is recorded is that it is active from a later hour on.
    return replace(standing, state=EntryState.ACTIVE if after is EntryState.WAITING else after, paused_until=0)


def unpaused(standing: Standing) -> Standing:
    """The standing after a break-glass suspension was rejected."""
    return replace(standing, paused_until=0)


def check_proposal(proposal: Proposal, decision: Decision) -> None:
    """Do all items keep the limits of time and category? Raises Refused with every fault."""
    signed = hours_up(proposal.signed)
    problems = [fault for item in proposal.additions for fault in faults(item, decision, signed)]
    for change in proposal.changes:
        if change.verb is Verb.EXTEND and not change.old < change.new:
            problems.append(Problem(change.entry, "entry.expiry", _("an extension must end later than before")))
    if not proposal.additions and not proposal.changes:
        problems.append(Problem("", "proposal.empty", _("there is nothing in it")))
    refuse_all(_("proposal {n} cannot be accepted as it is").format(n=proposal.number), problems)


def faults(item: AddItem, decision: Decision, signed: int) -> list[Problem]:
    """What is wrong with a new entry of a proposal signed in the hour that ends at `signed`."""
    found = []
    rule = item.rule
    start = max(item.valid_from, signed)
    if not start < rule.expires <= start + longest(isinstance(rule.target, Prefix)):
        message = _("it must end after it begins, and within {days} days of that").format(
            days=longest(isinstance(rule.target, Prefix)) // 24
        )
        found.append(Problem(str(rule.target), "entry.expiry", message))
    if not decision.carries(rule.category):
        message = _("category court_order needs a decision that names the court and its ruling's number")
        found.append(Problem(str(rule.target), "entry.court-order", message))
    return found


def check_extension(item: ChangeItem, prefix: bool, signed: int, cap: int | None = None) -> None:
    """An extension keeps the same limits, counted from its signing; raises Refused."""
    if item.verb is Verb.EXTEND and not signed < item.new <= signed + longest(prefix, cap):
        raise _refused(item, _("an extension ends within {n} hours of now").format(n=longest(prefix, cap)))


def check_break_glass(proposal: Proposal) -> None:
    """Break-glass carries at most 100 items, and only new entries and suspensions; raises Refused."""
    if len(proposal.additions) + len(proposal.changes) > MAX_BREAK_GLASS_ITEMS:
        raise Refused(
            _("break-glass takes at most {n} items").format(n=MAX_BREAK_GLASS_ITEMS),
            kept=_("the proposal waits for its review"),
            then=_("ask a second officer, or make a smaller proposal"),
        )
    for change in proposal.changes:
        if change.verb is not Verb.SUSPEND:
            raise _refused(change, _("break-glass can list and suspend, nothing else"))


def refuse_all(what: str, problems: list[Problem]) -> None:
    """Raise Refused with all problems (the first thousand of them), if there are any."""
    if problems:
        raise Refused(
            what,
            kept=_("nothing was changed"),
            then=_("correct these items and try again"),
            problems=problems[:MAX_SHOWN],
        )


def _refused(item: ChangeItem, why: str) -> Refused:
    return Refused(
        _("entry {entry}: {why}").format(entry=item.entry, why=why),
        kept=_("nothing was changed"),
        then=_("look at the entry, then correct the proposal"),
        problems=[Problem(item.entry, "entry.workflow", why)],
    )
