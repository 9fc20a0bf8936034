"""Vietnamese writes the tone of oa, oe and uy on either vowel (`hoà`, `hòa`); to the DNS these are two names."""

import re
import unicodedata

import idna

from blocker.guard.rule import GuardRule, Subject
from blocker.guard.verdict import Severity
from feeds.language import N_, _
from feeds.name import DomainName
from feeds.rule import NameTarget

ID = "guard.tone-mark"
_TONES = "\u0300\u0301\u0303\u0309\u0323"
# In NFD the tone follows its vowel; a consonant after the pair leaves only one place for the tone. `qu` is a consonant.
_PAIR = re.compile(
    f"(?<!q)(?:(o)([{_TONES}])([ae])|(u)([{_TONES}])(y)|(o)([ae])([{_TONES}])|(u)(y)([{_TONES}]))(?![a-z])"
)


def check(subject: Subject) -> str | None:
    if subject.name is None or "xn--" not in subject.name:
        return None
    other = other_spelling(subject.name)
    if other is None:
        return None
    text = _("the other spelling is {readable} ({name})").format(readable=DomainName(other).unicode, name=other)
    if subject.listed is not None and isinstance(subject.target, NameTarget):
        notation = subject.listed(NameTarget(DomainName(other), subject.target.scope))
        text += ", " + (_("listed under {decision}").format(decision=notation) if notation else _("not listed"))
    return text


def other_spelling(name: str) -> str | None:
    """The name with each movable tone mark on the other vowel, or None if there is none."""
    labels = []
    for label in name.split("."):
        try:
            readable = unicodedata.normalize("NFD", idna.ulabel(label)) if label.startswith("xn--") else label
            moved = unicodedata.normalize("NFC", _PAIR.sub(_move, readable))
            labels.append(label if moved.isascii() else idna.encode(moved).decode())
        except (idna.IDNAError, UnicodeError):
            labels.append(label)
    other = ".".join(labels)
    return None if other == name or len(other) > 253 else other


def _move(found: re.Match[str]) -> str:
    first, second, third = (part for part in found.groups() if part)
    return first + third + second


RULE = GuardRule(ID, Severity.WARN, N_("the tone mark can stand on either vowel; these are two different names"), check)
