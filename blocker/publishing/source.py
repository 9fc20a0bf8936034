"""The register's verified content, as a publication takes it."""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import cast

from tuf.api.metadata import Root

from blocker.publishing.layout import CONTACT_PATH
from blocker.publishing.publish import emergencies_of, officer_keys_of
from blocker.publishing.release_of import Content
from blocker.publishing.standing import Standing
from blocker.register import Emergency, Register, Verified
from blocker.register.ground import Judge
from feeds.errors import Problem, Refused, Rejected
from feeds.language import _
from feeds.manifest import Contact
from feeds.roster import roster_bytes

BREAK_GLASS = "proposal.break-glass"
FEWEST_DIGITS = 12  # of a digest that names a break-glass proposal


def source_of(
    register: Register, now: datetime, guard: Judge | None, named: Collection[str], contact: Contact | None
) -> Callable[[Standing], Content]:
    """Reads the register once the feed is known. `named` are digests (or their first digits) of break-glass proposals.

    The root keys that certify officers are those of the feed's own root. A break-glass proposal is admitted if an
    operator names it now, or if the standing release, signed by the feed's own key, already carries it.
    """

    def read(standing: Standing) -> Content:
        carried = emergencies_of(standing)
        keys, threshold = root_keys(standing.root)

        def admit(emergency: Emergency) -> bool:
            return emergency.sha256 in carried or any(emergency.sha256.startswith(digits) for digits in named)

        published = standing.manifest.chain if standing.manifest else None
        found = register.verified(now, keys, threshold, published, guard=guard, admit=admit)
        _check_first_officers(found, standing)
        genesis, changes = register.officers.certificates()
        admitted, problems = _split(found)
        return Content(
            authority=register.authority,
            authority_name=register.authority_name,
            training=register.training,
            contact=contact or contact_of(standing),
            rules=found.rules,
            decisions=found.decisions,
            chain=found.head,
            officers=roster_bytes(genesis, changes),
            officer_keys=sorted(officer.key for officer in found.officers.active()),
            emergencies=sorted(e.sha256 for e in found.emergencies if e.admitted),
            problems=problems,
            notes=admitted,
        )

    return read


def _check_first_officers(found: Verified, standing: Standing) -> None:
    """Raise Refused unless the first officers are those to whom the new feed delegates, by its own targets key.

    Later the chain head in the manifest ties register and feed together. Before the first publication nothing else
    does: the root file lies in the feed's directory, and whoever can exchange it could certify officers of his own.
    """
    first = set(found.officers.history[0].values())
    if standing.manifest is None and first != set(officer_keys_of(standing)):
        raise Refused(
            _("the register's first officers are not those for whom this feed was made"),
            kept=_("nothing was published"),
            then=_("check --register and --repository; if they are right, restore both from a backup"),
        )


def _split(found: Verified) -> tuple[list[str], list[Problem]]:
    """What was admitted as an emergency, to be told, and what was left out."""
    emergencies = iter(found.emergencies)
    told: list[str] = []
    left_out: list[Problem] = []
    for problem in found.problems:
        # The register says one sentence for each emergency, in their order.
        emergency = next(emergencies, None) if problem.rule == BREAK_GLASS else None
        if emergency is not None and emergency.admitted:
            told.append(f"{problem.place}: {problem.message}")
        else:
            left_out.append(problem)
    return told, left_out


def root_keys(root: Root) -> tuple[list[str], int]:
    """The root's public keys (64 hexadecimal digits) and how many must sign."""
    role = root.roles[Root.type]
    return [str(root.keys[keyid].keyval["public"]) for keyid in role.keyids], role.threshold


def contact_of(standing: Standing) -> Contact:
    """How to object, as the feed says it; raises Rejected if it does not."""
    if standing.manifest is not None:
        return standing.manifest.contact
    if CONTACT_PATH not in standing.targets.targets:
        raise Rejected(
            _("the feed does not say how to object"), rule="contact.none", then=_("give --contact email=ADDRESS")
        )
    return cast(Contact, Contact.of_bytes(standing.target(CONTACT_PATH)))


def check_digits(text: str) -> str:
    """Enough of a digest to name one proposal; raises Rejected."""
    digits = text.strip().lower()
    if not (FEWEST_DIGITS <= len(digits) <= 64) or set(digits) - set("0123456789abcdef"):
        raise Rejected(
            _("«{text}»: a break-glass proposal is named by at least {n} digits of its SHA-256").format(
                text=text, n=FEWEST_DIGITS
            ),
            rule="emergency.name",
            then=_("read them aloud with the officer who made it, and compare"),
        )
    return digits
