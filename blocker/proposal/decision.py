"""The authority's decision: on what ground entries stand."""

import re
from dataclasses import dataclass, fields
from datetime import date

from feeds.document import compose, parse
from feeds.errors import Problem, Rejected, Untrusted
from feeds.language import N_, _
from feeds.manifest import DecisionRef
from feeds.rule import Category, good_text

KIND = "blocker-decision"
_SHA256 = re.compile(r"(?:[0-9a-f]{64})?\Z")
_MOST = {"notation": 200, "agency": 200, "number": 100, "court": 200, "ruling": 100}
FIELD_WORDS = {
    "notation": N_("notation"),
    "agency": N_("issuing agency"),
    "number": N_("number"),
    "subject": N_("subject"),
    "legal_basis": N_("legal basis"),
    "contact": N_("contact for objections"),
    "court": N_("court"),
    "ruling": N_("ruling number"),
}


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision as it was issued. `notation` names it everywhere (`123/QĐ-STTTT`).

    `sha256` is of the signed file (64 hexadecimal digits, or empty). `contact` is where to object. `court` and `ruling`
    are needed by entries of category court_order. Raises Rejected, with every fault as a problem.
    """

    notation: str
    agency: str
    number: str
    date: date
    subject: str
    legal_basis: str
    contact: str
    sha256: str = ""
    court: str = ""
    ruling: str = ""

    def __post_init__(self) -> None:
        problems = []
        for name, word in FIELD_WORDS.items():
            text = getattr(self, name)
            if name not in ("court", "ruling") and not text.strip():
                message = _("the {field} is missing").format(field=_(word))
                problems.append(Problem(name, "decision.missing", message))
            elif not good_text(text, _MOST.get(name, 1000), empty=True):
                message = _("the {field} is too long, or holds a tab, a line break or an unprintable character").format(
                    field=_(word)
                )
                problems.append(Problem(name, "decision.text", message))
        if _SHA256.match(self.sha256) is None:
            message = _("the signed file's SHA-256 is 64 hexadecimal digits in small letters")
            problems.append(Problem("sha256", "decision.sha256", message))
        if bool(self.court) != bool(self.ruling):
            message = _("a court and its ruling's number belong together")
            problems.append(Problem("ruling", "decision.court", message))
        if problems:
            raise Rejected(
                _("decision «{notation}» is not complete").format(notation=self.notation[:200]),
                rule="decision",
                problems=problems,
            )

    def carries(self, category: Category) -> bool:
        """May entries of this category rest on it? A court order needs the court and the ruling's number."""
        return category is not Category.COURT_ORDER or bool(self.court and self.ruling)

    def to_bytes(self) -> bytes:
        """Canonical bytes."""
        return compose(KIND, ((name, str(getattr(self, name))) for name in _NAMES))

    @classmethod
    def of_bytes(cls, data: bytes) -> "Decision":
        """Read canonical bytes; raises Untrusted."""
        values, rest = parse(data, KIND, _NAMES)
        said = dict(zip(_NAMES, values, strict=True))
        try:
            day = date.fromisoformat(said.pop("date"))
            found = cls(date=day, **said)
        except ValueError as error:
            raise Untrusted(_("a decision's date is malformed: {why}").format(why=error)) from None
        except Rejected as error:
            raise Untrusted(error.what, problems=error.problems) from None
        if rest or found.to_bytes() != data:
            raise Untrusted(_("decision «{notation}» is not in canonical form").format(notation=found.notation))
        return found

    def ref(self) -> DecisionRef:
        """What an ISP and a user may know of it."""
        return DecisionRef(
            notation=self.notation,
            agency=self.agency,
            number=self.number,
            date=self.date.isoformat(),
            legal_basis=self.legal_basis,
            contact=self.contact,
            sha256=self.sha256,
        )


_NAMES = tuple(field.name for field in fields(Decision))
