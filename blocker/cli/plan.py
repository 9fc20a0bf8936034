"""A proposal as a plan, for people and for programs: what comes, what goes, what changes, what is in the way."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice

from blocker.guard import Finding, Severity
from blocker.proposal import Change
from blocker.proposal.document import Proposal
from blocker.register import AddReport, EntryView, Judged, Plan, ProposalView, Refusal
from blocker.workflow import ACT_WORDS, PROPOSAL_WORDS
from feeds.language import _
from feeds.rule import CATEGORY_WORDS, NO_LIMITS, Rule, Target, moment_of
from feeds.rule import NameTarget as Name
from feeds.terminal import moment_text, printable, table

SHOWN = 20  # rows of each kind, unless everything is asked for


def target_text(target: Target) -> str:
    """A target as a person reads it: `ví-dụ.vn (xn--v-d-iia7i.vn)`, `only a.example`."""
    if not isinstance(target, Name):
        return str(target)
    shown = target.name.unicode
    text = shown if shown == target.name.text else f"{shown} ({target.name.text})"
    return text if str(target) == target.name.text else _("only {name}").format(name=text)


def head_text(view: ProposalView) -> str:
    """What a proposal is, in a few lines."""
    rows: list[tuple[str, object]] = [
        (_("Decision"), view.decision),
        (_("State"), _(PROPOSAL_WORDS[view.state])),
        (_("Opened"), moment_text(view.opened)),
    ]
    if view.signed:
        rows.append((_("Proposed by"), f"{view.proposer}, {moment_text(view.signed)}"))
    if view.reviewed:
        rows.append((_("Reviewed by"), f"{view.reviewer}, {moment_text(view.reviewed)}"))
    if view.reason:
        rows.append((_("Reason"), view.reason))
    if view.sha256:
        rows.append((_("SHA-256 of what was signed"), view.sha256))
    return table((_("Proposal {n}").format(n=view.number), ""), rows)


def plan_text(plan: Plan, everything: bool = False) -> str:
    """The plan with its counts, and tables of at most SHOWN rows unless `everything`."""
    most = None if everything else SHOWN
    removed, changes = list(plan.removed), list(plan.changes)
    parts = [head_text(plan.proposal), counts_text(plan)]
    parts += _section(
        _("Comes"),
        (_("Target"), _("Category"), _("Action"), _("Until"), _("Limits")),
        [_rule_row(rule) for rule in plan.added[:most]],
        len(plan.added),
    )
    parts += _section(
        _("Changes"),
        (_("Entry"), _("Target"), _("What"), _("Until"), _("Reason")),
        [_change_row(change, entry) for change, entry in changes[:most]],
        len(changes),
    )
    parts += _section(
        _("Goes"),
        (_("Entry"), _("Target"), _("Category"), _("Decision")),
        [(e.number, target_text(e.target), _(CATEGORY_WORDS[e.category]), e.decision) for e in removed[:most]],
        len(removed),
    )
    parts += refused_section(plan.refused, most)
    parts += judged_section(_("To be confirmed one by one by the approving officer"), plan.confirm, most)
    parts += judged_section(_("Worth a look"), plan.warnings, most)
    return "\n".join(parts)


def reasons_of(document: bytes) -> list[tuple[str, int]]:
    """The reasons that a signed proposal gives for its new entries, with how many give each, commonest first."""
    return Counter(item.reason for item in Proposal.of_bytes(document).additions).most_common()


def reasons_text(reasons: Sequence[tuple[str, int]], everything: bool = False) -> str:
    """A line for each reason."""
    most = None if everything else SHOWN
    rows = [(reason, count) for reason, count in reasons[:most]]
    return "\n".join(_section(_("Reasons given"), (_("Reason"), _("Targets")), rows, len(reasons)))


def counts_text(plan: Plan) -> str:
    """One line of counts."""
    return _(
        "{added} come, {changed} change, {removed} go, {unchanged} stand already, {refused} refused, "
        "{confirm} to confirm, {warnings} warnings."
    ).format(
        added=len(plan.added),
        changed=len(plan.changes),
        removed=len(plan.removed),
        unchanged=plan.unchanged,
        refused=len(plan.refused),
        confirm=len(plan.confirm),
        warnings=len(plan.warnings),
    )


def report_text(report: AddReport, *, unread: int = 0, everything: bool = False) -> str:
    """What became of a batch of targets: counts, then a summary by the guard's rules, then the refusals."""
    most = None if everything else SHOWN
    parts = [
        _(
            "{added} taken, {unchanged} stand already, {refused} refused, {confirm} to confirm, {warnings} warnings."
        ).format(
            added=report.added,
            unchanged=len(report.unchanged),
            refused=len(report.refused) + unread,
            confirm=len(report.confirm),
            warnings=len(report.warnings),
        )
    ]
    rows = rule_counts(report)
    if rows:
        parts.append(table((_("Rule"), _("What follows"), _("Targets"), _("For example")), rows))
    parts += refused_section(report.refused, most)
    return "\n".join(parts)


def rule_counts(report: AddReport) -> list[tuple[str, str, int, str]]:
    """For each rule id: what follows from it, how many targets it met, one of them."""
    counts: Counter[tuple[int, str, str]] = Counter()
    example: dict[tuple[int, str, str], str] = {}
    for refusal in report.refused:
        for rule in {p.rule for p in refusal.problems}:
            counts[key := (0, rule, _("refused"))] += 1
            example.setdefault(key, refusal.target or refusal.place)
    order = {Severity.NEVER: (0, _("refused")), Severity.CONFIRM: (1, _("confirm")), Severity.WARN: (2, _("warning"))}
    for judged in (*report.confirm, *report.warnings):
        for finding in judged.findings:
            place, word = order[finding.severity]
            counts[key := (place, finding.rule, word)] += 1
            example.setdefault(key, target_text(judged.target))
    return [(rule, word, n, example[place, rule, word]) for (place, rule, word), n in sorted(counts.items())]


def refused_section(refused: Sequence[Refusal], most: int | None) -> list[str]:
    """Refused targets, each with all its reasons."""
    items = [
        (
            refusal.target if refusal.place == refusal.target else f"{refusal.place}: {refusal.target}".rstrip(": "),
            [f"{p.message} [{p.rule}]" for p in refusal.problems],
        )
        for refusal in islice(refused, most)
    ]
    return _listed(_("Refused"), items, len(refused))


def judged_section(title: str, judged: Sequence[Judged], most: int | None) -> list[str]:
    """What the guard says of targets, each with all its findings and their evidence."""
    items = [
        (target_text(one.target), [f"{f.sentence} ({f.evidence}) [{f.rule}]" for f in one.findings])
        for one in islice(judged, most)
    ]
    return _listed(title, items, len(judged))


def plan_data(plan: Plan, everything: bool) -> dict[str, object]:
    """As `--json` prints it; lists are cut at SHOWN unless `everything`, counts never are."""
    most = None if everything else SHOWN
    return {
        **proposal_data(plan.proposal),
        "counts": {
            "added": len(plan.added),
            "changed": len(plan.changes),
            "removed": len(plan.removed),
            "unchanged": plan.unchanged,
            "refused": len(plan.refused),
            "confirm": len(plan.confirm),
            "warnings": len(plan.warnings),
        },
        "complete": everything,
        "added": [_rule_data(rule) for rule in plan.added[:most]],
        "changes": [
            {
                "verb": str(change.verb),
                "entry": entry.id,
                "target": str(entry.target),
                "expires": change.expires,
                "reason": change.reason,
            }
            for change, entry in plan.changes[:most]
        ],
        "removed": [{"entry": entry.id, "target": str(entry.target)} for entry in plan.removed[:most]],
        "refused": [refusal_data(r) for r in plan.refused[:most]],
        "confirm": [judged_data(j) for j in plan.confirm[:most]],
        "warnings": [judged_data(j) for j in plan.warnings[:most]],
    }


def report_data(report: AddReport, everything: bool = False) -> dict[str, object]:
    """As `--json` prints it."""
    most = None if everything else SHOWN
    return {
        "added": report.added,
        "counts": {
            "unchanged": len(report.unchanged),
            "refused": len(report.refused),
            "confirm": len(report.confirm),
            "warnings": len(report.warnings),
        },
        "rules": [
            {"rule": rule, "follows": word, "targets": n, "example": example}
            for rule, word, n, example in rule_counts(report)
        ],
        "refused": [refusal_data(r) for r in report.refused[:most]],
        "confirm": [judged_data(j) for j in report.confirm[:most]],
        "warnings": [judged_data(j) for j in report.warnings[:most]],
    }


def proposal_data(view: ProposalView) -> dict[str, object]:
    """A proposal as `--json` prints it."""
    return {
        "proposal": view.number,
        "decision": view.decision,
        "state": str(view.state),
        "items": view.items,
        "opened": view.opened.isoformat(),
        "proposer": view.proposer,
        "signed": view.signed.isoformat() if view.signed else None,
        "reviewer": view.reviewer,
        "reviewed": view.reviewed.isoformat() if view.reviewed else None,
        "reason": view.reason,
        "sha256": view.sha256,
    }


def refusal_data(refusal: Refusal) -> dict[str, object]:
    """A refusal as `--json` prints it."""
    return {
        "place": refusal.place,
        "target": refusal.target,
        "problems": [{"rule": p.rule, "message": p.message} for p in refusal.problems],
    }


def judged_data(judged: Judged) -> dict[str, object]:
    """A judged target as `--json` prints it."""
    return {
        "target": str(judged.target),
        "place": judged.place,
        "findings": [finding_data(f) for f in judged.findings],
    }


def finding_data(finding: Finding) -> dict[str, object]:
    """A finding as `--json` prints it."""
    return {
        "rule": finding.rule,
        "severity": str(finding.severity),
        "sentence": finding.sentence,
        "evidence": finding.evidence,
    }


def proposal_table(views: Iterable[ProposalView]) -> str:
    """One line a proposal."""
    rows = [
        (v.number, v.decision, _(PROPOSAL_WORDS[v.state]), v.items, v.proposer, v.reviewer, moment_text(v.opened))
        for v in views
    ]
    columns = (_("No."), _("Decision"), _("State"), _("Items"), _("Proposed by"), _("Reviewed by"), _("Opened"))
    return table(columns, rows) if rows else _("No proposal found.")


def _section(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], total: int) -> list[str]:
    return [table(columns, rows, f"{title}: {total}"), *_rest(total - len(rows))] if total else []


def _listed(title: str, items: Sequence[tuple[str, Sequence[str]]], total: int) -> list[str]:
    """Long sentences, which no table would hold."""
    lines = [f"{title}: {total}"] if total else []
    for head, reasons in items:
        lines.append(printable(f"  {head}"))
        lines += [printable(f"    - {reason}") for reason in reasons]
    return [*lines, *_rest(total - len(items)), ""] if lines else []


def _rest(left: int) -> list[str]:
    return [_("  ... and {n} more; --all shows them").format(n=left)] if left > 0 else []


def _rule_row(rule: Rule) -> tuple[object, ...]:
    limits = "" if rule.limits == NO_LIMITS else rule.limits
    action = f"{rule.action} {rule.data}".strip()
    return (
        target_text(rule.target),
        _(CATEGORY_WORDS[rule.category]),
        action,
        moment_text(moment_of(rule.expires)),
        limits,
    )


def _change_row(change: Change, entry: EntryView) -> tuple[object, ...]:
    until = moment_text(change.expires) if change.expires else ""
    return entry.number, target_text(entry.target), _(ACT_WORDS[change.verb]), until, change.reason


def _rule_data(rule: Rule) -> dict[str, object]:
    return {
        "target": str(rule.target),
        "entry": rule.entry,
        "category": str(rule.category),
        "action": str(rule.action),
        "data": rule.data,
        "limits": str(rule.limits),
        "expires": moment_of(rule.expires).isoformat(),
    }
