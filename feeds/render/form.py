"""What every form of output shares: the view of a release at one moment, and the pieces of text it is written in."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Protocol

from feeds.language import N_, _
from feeds.manifest import Manifest
from feeds.name import DomainName
from feeds.release import Release
from feeds.rule import Action, NameTarget, Rule, Scope, hour_text, hours

DEFAULT_ZONE = "rpz.blocker"
LINES_A_PIECE = 1000
# Actions after which nobody reaches the name; the others let the query through, in one way or another.
REFUSING = frozenset({Action.NXDOMAIN, Action.NODATA, Action.DROP, Action.LOCAL})
# Of prefixes, what a packet filter can carry out; the other actions shape a DNS answer.
DROPPING = frozenset({Action.NXDOMAIN, Action.DROP})

LEFT_OUT_WORDS = {
    "expired": N_("rules that have lapsed"),
    "exact": N_("exact rules; this form would block the names below, too"),
    "exception": N_("rules with an exception inside; this form would block it, too"),
    "passing": N_("rules that let queries through or to TCP; this form has no word for it"),
    "subtree": N_("names below subtree rules; this form blocks only the names themselves. Rules"),
    "notice": N_("notice pages given by name; the name is refused instead. Rules"),
    "prefix": N_("rules for address prefixes"),
    "limits": N_("rules limited to ports"),
    "dns-only": N_("prefix rules whose action only a resolver can carry out"),
    "too-long": N_("owner names that do not fit 255 octets with the zone name"),
    "rpz-word": N_("names that end in a word with which RPZ marks other triggers"),
    "canary": N_("canaries that are malformed, or named twice"),
    "canary-name": N_("exact rules at the name of a canary, which is answered there instead"),
}


class Accepted(Protocol):
    """What is rendered: the manifest and the release that an ISP accepted (`feeds.store.Accepted`)."""

    @property
    def manifest(self) -> Manifest: ...

    def release(self) -> Release: ...


@dataclass(frozen=True, slots=True)
class View:
    """A release as it stands at `now`. `rules` are those in force, in canonical order; `zone` is an RPZ zone's name.

    `lapsed_hours` counts the release's distinct expiry hours already passed, `expired` the rules they ended.
    """

    manifest: Manifest
    rules: tuple[Rule, ...]
    now: datetime
    zone: DomainName
    lapsed_hours: int
    expired: int

    @classmethod
    def of(cls, accepted: Accepted, now: datetime, zone: str) -> "View":
        """Look at `accepted` at `now`; raises Rejected for a bad zone name."""
        release, hour = accepted.release(), hours(now)
        rules = tuple(rule for rule in release.rules if rule.expires > hour)
        passed = {rule.expires for rule in release.rules if rule.expires <= hour}
        return cls(
            accepted.manifest,
            rules,
            now,
            DomainName.parse(zone).name,
            len(passed),
            len(release.rules) - len(rules),
        )

    def left_out(self) -> dict[str, int]:
        """A fresh count of what is left out, begun with the rules that have lapsed."""
        return {"expired": self.expired} if self.expired else {}

    def heading(self, form: str, left_out: Mapping[str, int]) -> list[str]:
        """What stands at the head of a file, without comment marks: whose list, which serial, what is missing."""
        manifest = self.manifest
        lines = [
            _("{name} ({id}), serial {serial}, as of {hour}").format(
                name=one_line(manifest.authority_name),
                id=manifest.authority,
                serial=manifest.serial,
                hour=hour_text(hours(self.now)),
            ),
            _("Objections: {email}").format(email=manifest.contact.email),
            _("Form: {form}. Do not edit: it is written anew.").format(form=form),
        ]
        if manifest.training:
            lines.insert(0, _("TRAINING: names and addresses of this list are reserved ones"))
        lines += [_("Left out: {sentence}").format(sentence=sentence) for sentence in sentences(left_out)]
        return lines


class Rendering(Iterator[str]):
    """Pieces of text in order. `left_out` counts, by a key of LEFT_OUT_WORDS, what the form could not say."""

    def __init__(self, lines: Iterable[str], left_out: Mapping[str, int], line_end: str = "\n") -> None:
        self.left_out = dict(left_out)
        self._pieces = (line_end.join(part) + line_end for part in batched_lines(lines))

    def __next__(self) -> str:
        return next(self._pieces)


@dataclass(frozen=True, slots=True)
class Format:
    """One form of output. `file_name` is what its file is usually called."""

    name: str
    summary: str
    file_name: str
    media_type: str
    write: Callable[[View], Rendering] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Named:
    """What is said of one name: by an exact rule, by a subtree rule, or by both."""

    name: str
    key: str
    exact: Rule | None
    subtree: Rule | None

    @property
    def here(self) -> Rule:
        """The rule that decides at the name itself: the exact one, if there is one."""
        rule = self.exact or self.subtree
        assert rule is not None  # noqa: S101 - `by_name` makes one of a rule
        return rule


def by_name(rules: Iterable[Rule]) -> Iterator[Named]:
    """The name rules, gathered by name, in canonical order."""
    held: tuple[str, str, Rule | None, Rule | None] | None = None
    for rule in rules:
        target = rule.target
        if not isinstance(target, NameTarget):
            continue
        name = target.name.text
        if held is None or held[0] != name:
            if held is not None:
                yield Named(*held)
            held = (name, target.name.sort_key, None, None)
        exact, subtree = (rule, held[3]) if target.scope is Scope.EXACT else (held[2], rule)
        held = (*held[:2], exact, subtree)
    if held is not None:
        yield Named(*held)


def prefix_rules(rules: Iterable[Rule]) -> Iterator[Rule]:
    """The prefix rules, in canonical order."""
    return (rule for rule in rules if not isinstance(rule.target, NameTarget))


def count(left_out: dict[str, int], word: str) -> None:
    """One more left out for the reason `word`."""
    left_out[word] = left_out.get(word, 0) + 1


def sentences(left_out: Mapping[str, int]) -> list[str]:
    """What was left out, a sentence for each reason."""
    return [f"{_(LEFT_OUT_WORDS[word])}: {n}" for word, n in sorted(left_out.items()) if n]


def one_line(text: str) -> str:
    """The text as it may stand in a comment: nothing in it ends the line."""
    return "".join(c if c.isprintable() else " " for c in text)


def batched_lines(lines: Iterable[str]) -> Iterator[list[str]]:
    """Lines in lists of LINES_A_PIECE: one write a list instead of one a line."""
    source = iter(lines)
    while part := list(islice(source, LINES_A_PIECE)):
        yield part
