"""The register: decisions, proposals, entries, officers, publications, and the chain of events behind them.

    Register.create(url, genesis, root_keys, threshold, now, ...)   Register.open(url)   register.close()
    register.authority .authority_name .training .head() .events(after, limit)
    register.decisions      add  get  search  agencies
    register.proposals      new  add  change  drop  plan  document  sign  approve  reject  break_glass
                            discard  get  list
    register.entries        get  search  history  why
    register.officers       roster  list  propose  countersign  pending
    register.publications   reserve_serial  mark_published  list  last
    register.verified(now, root_keys, threshold, published, guard, admit) -> Verified

Targets are addressed as `str(target)`; entries by their number. `url` is SQLAlchemy's (`sqlite:////var/lib/x.db`,
`postgresql+psycopg://...`). Every method that changes something takes `now` (UTC, aware) and is one transaction that
also appends to the event chain. Errors: Rejected (input), Refused (workflow, guard, a row changed behind the
program's back), Unavailable (database).

A break-glass proposal is left out of `verified` unless `admit(emergency)` says yes: publishing admits those an operator
names on the command line and those whose entries its last release already carries. So no single key publishes.
"""

from blocker.register.store import Register
from blocker.register.views import (
    AddReport,
    DecisionView,
    Emergency,
    EntryView,
    EventView,
    HistoryLine,
    Judged,
    Match,
    OfficerChangeView,
    OfficerView,
    Plan,
    ProposalView,
    PublicationView,
    Refusal,
    Verified,
)

__all__ = [
    "AddReport",
    "DecisionView",
    "Emergency",
    "EntryView",
    "EventView",
    "HistoryLine",
    "Judged",
    "Match",
    "OfficerChangeView",
    "OfficerView",
    "Plan",
    "ProposalView",
    "PublicationView",
    "Refusal",
    "Register",
    "Verified",
]
