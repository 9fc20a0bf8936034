"""The ISP's half of `blocker why NAME|IP`: what the release in force says of it, and on whose decision."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from feeds import canonical
from feeds.errors import Rejected
from feeds.language import _
from feeds.name import DomainName
from feeds.prefix import Prefix
from feeds.rule import CATEGORY_WORDS, NameTarget, Rule, Scope, moment_of
from feeds.store import DEFAULT_PATH, Accepted, Store
from feeds.terminal import day_text, moment_text, printable

_BITS = {4: 32, 6: 128}


def why_in_state(text: str, options: Mapping[str, object]) -> dict[str, object] | None:
    """Which rule blocks `text`, on which decision, until when; None where this machine has no state directory.

    `{"listed": False}` with the serial where nothing is listed. Of several rules the one that is enforced comes first:
    the exact one, then the nearest name above; the longest prefix. Raises Rejected for what is no name or address.
    """
    store = Store(Path(str(options.get("state") or DEFAULT_PATH)))
    if not store.exists:
        return None
    subject, wanted = _wanted(text)
    accepted = store.accepted()
    if accepted is None:
        said = _("no release has been accepted yet in {path}").format(path=store.path)
        return {"listed": False, "subject": subject, "serial": None, "title": _("This ISP"), "text": said}
    now = store.clock(datetime.now(UTC))
    found = [rule for rule in _matching(accepted, wanted) if rule.in_force(now)]
    found.sort(key=lambda rule: wanted[_start(rule)])
    data: dict[str, object] = {
        "listed": bool(found),
        "subject": subject,
        "state": str(store.path),
        "serial": accepted.manifest.serial,
        "authority": accepted.manifest.authority,
        "authority_name": accepted.manifest.authority_name,
        "training": accepted.manifest.training,
    }
    if found:
        data |= _said(found[0], subject, accepted)
        data["others"] = [_said(rule, subject, accepted) for rule in found[1:]]
    return {**data, "title": _("This ISP"), "text": _sentence(found, subject, accepted)}


def _sentence(found: Sequence[Rule], subject: str, accepted: Accepted) -> str:
    """The answer for people."""
    serial = accepted.manifest.serial
    if not found:
        return _("{subject} is not listed in release {n}").format(subject=subject, n=serial)
    rule = found[0]
    decision = accepted.manifest.decision(rule.decision)
    shown = rule.target.name.text if isinstance(rule.target, NameTarget) else str(rule.target)
    text = _("{subject} is listed by {target} ({category}, action {action}) until {until}, entry {entry}, release {n}.")
    made = text.format(
        subject=subject,
        target=shown,
        category=_(CATEGORY_WORDS[rule.category]),
        action=rule.action,
        until=moment_text(moment_of(rule.expires)),
        entry=rule.entry,
        n=serial,
    )
    ground = _("Decision {notation} of {agency}, {date}; {basis}. Objections: {contact}.").format(
        notation=rule.decision,
        agency=decision.agency if decision else "?",
        date=_day(decision.date) if decision else "?",
        basis=decision.legal_basis if decision else "?",
        contact=(decision.contact if decision else "") or accepted.manifest.contact.email,
    )
    return printable(f"{made} {ground}")


def _day(text: str) -> str:
    """The decision's date; as it came where there is no such day."""
    try:
        return day_text(date.fromisoformat(text))
    except ValueError:
        return text


def _wanted(text: str) -> tuple[str, dict[str, int]]:
    """The subject in canonical form, and the starts of lines that speak of it, each with its rank."""
    prefixes: tuple[Prefix, ...] = ()
    try:
        prefixes = Prefix.parse(text)
    except Rejected as error:
        if error.rule != "prefix.form":
            raise
        name = DomainName.parse(text).name
        starts = [f"{Scope.EXACT}\t{name}\t", f"{Scope.SUBTREE}\t{name}\t"]
        starts += [f"{Scope.SUBTREE}\t{parent}\t" for parent in name.parents()]
        return name.text, {start: rank for rank, start in enumerate(starts)}
    if len(prefixes) != 1:
        raise Rejected(
            _("«{text}» is more than one prefix").format(text=text),
            rule="why.range",
            then=_("ask about one address or prefix at a time"),
        )
    prefix = prefixes[0]
    bits = _BITS[prefix.version]
    starts = []
    for length in range(prefix.length, -1, -1):
        network = prefix.network >> (bits - length) << (bits - length)
        starts.append(f"prefix\t{_text(prefix.version, network, length)}\t")
    subject = str(prefix).partition("/")[0] if prefix.is_address else str(prefix)
    return subject, {start: rank for rank, start in enumerate(starts)}


def _text(version: int, network: int, length: int) -> str:
    try:
        return str(Prefix(version, network, length))
    except Rejected:
        # A covering prefix that may not exist (IPv4-mapped) lists nothing.
        return ""


def _matching(accepted: Accepted, wanted: Mapping[str, int]) -> Iterator[Rule]:
    """The rules whose lines begin with one of `wanted`: a search through text, with no rule made but those found."""
    starts = {start.encode() for start in wanted}
    rest = b""
    with (accepted.directory / "release.zst").open("rb") as file:
        stream = canonical.decompressing(file)
        while chunk := stream.read(canonical.CHUNK_BYTES):
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            for line in lines:
                second = line.find(b"\t", line.find(b"\t") + 1) + 1
                if line[:second] in starts:
                    yield canonical.rule_of_line(line.decode())


def _start(rule: Rule) -> str:
    target = rule.target
    return f"{target.scope}\t{target.name}\t" if isinstance(target, NameTarget) else f"prefix\t{target}\t"


def _said(rule: Rule, subject: str, accepted: Accepted) -> dict[str, Any]:
    """One rule with the decision it rests on."""
    target = rule.target
    if isinstance(target, NameTarget):
        kind, shown = str(target.scope), target.name.text
        covers = "exact" if shown == subject else "parent"
    else:
        kind, shown = "prefix", str(target)
        covers = "exact" if shown.partition("/")[0] == subject and target.is_address else "prefix"
    decision = accepted.manifest.decision(rule.decision)
    return {
        "target": shown,
        "kind": kind,
        "match": covers,
        "action": str(rule.action),
        "limits": str(rule.limits),
        "entry": rule.entry,
        "category": str(rule.category),
        "until": moment_of(rule.expires).isoformat(),
        "decision": {
            "notation": rule.decision,
            "agency": decision.agency if decision else "",
            "number": decision.number if decision else "",
            "date": decision.date if decision else "",
            "legal_basis": decision.legal_basis if decision else "",
            "contact": decision.contact if decision else "",
        },
        "contact": accepted.manifest.contact.email,
    }
