"""`blocker entry`: what stands in the register, since when, why, and what became of it."""

from collections.abc import Callable, Mapping

import click

from blocker.cli.ask import ask, ask_text, command_text, require
from blocker.cli.desk import file_of, now, opened, register_option, url_of
from blocker.cli.numbers import read_entry
from blocker.cli.plan import target_text
from blocker.register import EntryView, HistoryLine, Match
from blocker.sheet import parse_targets
from blocker.workflow import ENTRY_WORDS, EntryState
from feeds.language import N_, _
from feeds.rule import CATEGORY_WORDS, NO_LIMITS, Category
from feeds.terminal import answer, hint, json_option, moment_text, table

HISTORY_WORDS = {
    "proposed": N_("proposed"),
    "approved": N_("approved"),
    "rejected": N_("rejected"),
    "extended": N_("extended"),
    "suspended": N_("suspended"),
    "resumed": N_("resumed"),
    "withdrawn": N_("withdrawn"),
    "published": N_("published"),
    "emergency": N_("let through as an emergency"),
    "confirmed": N_("emergency confirmed"),
    "lapsed": N_("lapsed, never confirmed"),
    "expired": N_("expired"),
}


@click.group(help=_("Look up entries of the register and their history."))
def entry() -> None:
    """The group."""


@entry.command("list", help=_("List entries. Searching ignores case and accents: «vi-du» finds «Ví-Dụ.vn»."))
@click.argument("text", required=False, default="")
@click.option("--search", default="", metavar="TEXT", help=_("Only those whose name or address contains this."))
@click.option("--state", type=click.Choice([str(s) for s in EntryState]), help=_("Only those in this state."))
@click.option("--category", type=click.Choice([str(c) for c in Category]), help=_("Only this category."))
@click.option("--decision", metavar="NOTATION", help=_("Only those under this decision."))
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help=_("At most so many."))
@click.option("--offset", type=click.IntRange(0), default=0, help=_("Leave out so many at the start."))
@register_option
@json_option
def list_(
    text: str,
    search: str,
    state: str | None,
    category: str | None,
    decision: str | None,
    limit: int,
    offset: int,
    register_url: str | None,
    as_json: bool,
) -> None:
    """One line an entry."""
    with opened(register_url) as register:
        found = register.entries.search(
            (search or text).strip(),
            now(),
            state=EntryState(state) if state else None,
            category=Category(category) if category else None,
            decision=decision,
            limit=limit,
            offset=offset,
        )
    rows = [
        (
            e.number,
            target_text(e.target),
            _(CATEGORY_WORDS[e.category]),
            _(ENTRY_WORDS[e.state]),
            e.decision,
            moment_text(e.expires),
        )
        for e in found
    ]
    columns = (_("No."), _("Target"), _("Category"), _("State"), _("Decision"), _("Until"))
    answer(as_json, [as_data(e) for e in found], table(columns, rows) if rows else _("No entry found."))
    if len(found) == limit:
        hint(_("There may be more: --limit, --offset {n}").format(n=offset + limit))


@entry.command(help=_("Show one entry, by its number, its id, its name or its address."))
@click.argument("which", metavar="[ENTRY]", required=False)
@register_option
@json_option
def show(which: str | None, register_url: str | None, as_json: bool) -> None:
    """Everything about it."""
    moment = now()
    with opened(register_url) as register:
        number = _which(which, lambda text: read_entry(register, text, moment))
        view = register.entries.get(number, moment)
    answer(as_json, as_data(view), _entry_text(view))
    hint(_("Its history: {command}").format(command=command_text("entry", "history", number)))


@entry.command(help=_("Everything that happened to one entry, oldest first."))
@click.argument("which", metavar="[ENTRY]", required=False)
@register_option
@json_option
def history(which: str | None, register_url: str | None, as_json: bool) -> None:
    """One line a step."""
    moment = now()
    with opened(register_url) as register:
        number = _which(which, lambda text: read_entry(register, text, moment))
        view = register.entries.get(number, moment)
        lines = register.entries.history(number, moment)
    rows = [
        (moment_text(h.at), _history_word(h.what), h.actor, "" if h.proposal is None else h.proposal, h.text)
        for h in lines
    ]
    columns = (_("When"), _("What"), _("Who"), _("Proposal"), _("Remark"))
    title = _("Entry {id}: {target}").format(id=view.id, target=target_text(view.target))
    answer(as_json, [_history_data(h) for h in lines], table(columns, rows, title))


@entry.command(help=_("Why is this name or address blocked, on which decision, until when?"))
@click.argument("name", required=False)
@register_option
@json_option
def why(name: str | None, register_url: str | None, as_json: bool) -> None:
    """What the register says; `blocker why` asks the ISP's state, too."""
    text = ask_text(name, "NAME", _("Name or address"))
    found = _why(text, register_url)
    answer(as_json, found, why_text(found))


def why_in_register(text: str, options: Mapping[str, object]) -> dict[str, object] | None:
    """The register's answer for `blocker why`; None where this machine holds no register."""
    url = options.get("register")
    path = file_of(url_of(url if isinstance(url, str) else None))
    if url is None and path is not None and not path.exists():
        return None
    found = _why(text, url if isinstance(url, str) else None)
    return {**found, "title": _("Register"), "text": why_text(found)}


def why_text(found: Mapping[str, object]) -> str:
    """The answer in sentences."""
    lines = [str(line) for line in _sentences(found)]
    return "\n".join(lines)


def as_data(view: EntryView) -> dict[str, object]:
    """As `--json` prints it."""
    return {
        "entry": view.id,
        "number": view.number,
        "target": str(view.target),
        "shown": target_text(view.target),
        "category": str(view.category),
        "state": str(view.state),
        "decision": view.decision,
        "reason": view.reason,
        "evidence": list(view.evidence),
        "action": str(view.action),
        "data": view.data,
        "limits": str(view.limits),
        "valid_from": view.valid_from.isoformat() if view.valid_from else None,
        "expires": view.expires.isoformat(),
        "proposal": view.proposal,
        "published": view.published,
    }


def _why(text: str, register_url: str | None) -> dict[str, object]:
    moment = now()
    matches: list[dict[str, object]] = []
    blocked = False
    with opened(register_url) as register:
        for parsed in parse_targets(text):
            for match in register.entries.why(parsed.target, moment):
                blocked = blocked or match.in_force
                decision = register.decisions.get(match.entry.decision)
                matches.append(
                    {
                        **as_data(match.entry),
                        "covering": match.covering,
                        "in_force": match.in_force,
                        "agency": decision.agency,
                        "decided": decision.date.isoformat(),
                        "legal_basis": decision.legal_basis,
                        "contact": decision.contact,
                        "sentence": _sentence(match, decision.agency, decision.contact),
                    }
                )
    return {"asked": text, "blocked": blocked, "matches": matches}


def _sentence(match: Match, agency: str, contact: str) -> str:
    entry = match.entry
    target = target_text(entry.target)
    if match.in_force:
        said = _(
            "{target} is blocked ({category}) by entry {id} under decision {decision} of {agency}, until {until}. "
            "Reason: {reason}. Objections: {contact}"
        )
    elif entry.state in (EntryState.PROPOSED, EntryState.WAITING):
        said = _("{target} is proposed ({category}) as entry {id} under decision {decision}, not in force yet.")
    else:
        said = _("{target} was listed ({category}) as entry {id} under decision {decision}; now: {state}.")
    return said.format(
        target=target,
        category=_(CATEGORY_WORDS[entry.category]),
        id=entry.id,
        decision=entry.decision,
        agency=agency,
        until=moment_text(entry.expires),
        reason=entry.reason.rstrip("."),
        contact=contact,
        state=_(ENTRY_WORDS[entry.state]),
    )


def _sentences(found: Mapping[str, object]) -> list[str]:
    matches = found["matches"]
    if not isinstance(matches, list) or not matches:
        return [_("{text} is not in the register.").format(text=found["asked"])]
    return [str(match["sentence"]) for match in matches]


def _which(given: str | None, read: Callable[[str], int]) -> int:
    require(("ENTRY", given))
    return ask(given, "ENTRY", _("Which entry (number, name or address)"), read)


def _history_word(what: str) -> str:
    return _(HISTORY_WORDS[what]) if what in HISTORY_WORDS else what


def _entry_text(view: EntryView) -> str:
    rows: list[tuple[str, object]] = [
        (_("Target"), target_text(view.target)),
        (_("Category"), _(CATEGORY_WORDS[view.category])),
        (_("State"), _(ENTRY_WORDS[view.state])),
        (_("Decision"), view.decision),
        (_("Reason"), view.reason),
        (_("Action"), f"{view.action} {view.data}".strip()),
        (_("Begins"), moment_text(view.valid_from) if view.valid_from else ""),
        (_("Until"), moment_text(view.expires)),
        (_("Evidence"), ", ".join(view.evidence)),
        (_("Proposal"), view.proposal),
        (_("Published first in serial"), view.published or _("not published yet")),
    ]
    if view.limits != NO_LIMITS:
        rows.append((_("Limits"), view.limits))
    return table((_("Entry {id}").format(id=view.id), ""), [row for row in rows if row[1] != ""])


def _history_data(line: HistoryLine) -> dict[str, object]:
    return {
        "at": line.at.isoformat(),
        "what": line.what,
        "actor": line.actor,
        "proposal": line.proposal,
        "text": line.text,
    }
