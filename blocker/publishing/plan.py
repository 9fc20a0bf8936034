"""What a publication would do now; nothing is written."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from blocker.publishing.bulk import Bulk, in_force
from blocker.publishing.difference import Difference, difference, release_lines
from blocker.publishing.forecast import Forecast, forecast
from blocker.publishing.recover import Ledger, newest_reserved
from blocker.publishing.release_of import Chosen, Content, Judge, choose
from blocker.publishing.standing import Standing
from feeds.errors import Held, Problem, Rejected
from feeds.language import _
from feeds.manifest import RELEASE_PATH, BulkStatement
from feeds.rule import hours

# Reads the register's verified content, given what the feed now carries.
Source = Callable[[Standing], Content]


@dataclass(frozen=True, slots=True)
class Plan:
    """`statements` are the bulk statements that the feed will carry, by path.

    `renewed`: a new serial is needed though no rule changed, since the feed's directory was restored.
    """

    standing: Standing
    content: Content
    chosen: Chosen
    change: Difference
    forecast: Forecast
    next_serial: int
    expiring: int
    renewed: bool
    bulk: Bulk | None
    statements: dict[str, BulkStatement]

    @property
    def new_release(self) -> bool:
        """Does it make a new serial?"""
        return bool(self.change) or self.standing.manifest is None or self.renewed

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What the register holds and the release will not."""
        return (*self.content.problems, *self.chosen.refused)


def make_plan(
    ledger: Ledger, content: Content, standing: Standing, now: datetime, judge: Judge, bulk: Bulk | None = None
) -> Plan:
    """Compare the register's content with the feed; raises Rejected where they are not of one authority."""
    manifest = standing.manifest
    if manifest is not None and (manifest.authority, manifest.training) != (content.authority, content.training):
        raise Rejected(
            _("the feed belongs to authority {a}, the register to {b}").format(
                a=manifest.authority, b=content.authority
            ),
            rule="feed.foreign",
            kept=_("nothing was changed"),
            then=_("check --register and --repository"),
        )
    next_serial = max(newest_reserved(ledger), standing.serial) + 1
    statements = in_force(standing, content.officer_keys, now)
    if bulk is not None:
        bulk.check(standing, content.officer_keys, next_serial, now)
        statements = {path: statement for path, statement in statements.items() if path in bulk.statements}
        statements[bulk.path] = bulk.statement
    chosen = choose(content.rules, now, judge)
    lines = release_lines(standing.target(RELEASE_PATH), manifest) if manifest else []
    change = difference(lines, chosen.rules)
    published = {p.serial: p.published for p in ledger.list() if p.published is not None}
    last = ledger.last()
    return Plan(
        standing,
        content,
        chosen,
        change,
        forecast(standing, lines, change, next_serial, statements.values(), published, now),
        next_serial,
        sum(rule.expires <= hours(now) for rule in change.removed),
        last is not None and last.serial > standing.serial,
        bulk,
        statements,
    )


def held(plan: Plan) -> Held:
    """Why the change will not pass the ISPs' brake, and the ways past it."""
    return Held(
        _("ISPs would hold this release: it removes {r} and adds {a} rules").format(
            r=plan.forecast.removed, a=plan.forecast.added
        ),
        problems=[Problem("", "brake", str(excess)) for excess in plan.forecast.excesses],
        kept=_("nothing was published; the release that stands stays in force"),
        then=_(
            "if the change is meant, run «blocker publish bulk prepare --reason TEXT --output FILE», let two officers "
            "run «blocker publish bulk sign FILE», then «blocker publish --bulk FILE»; or publish with --accept-hold, "
            "and every ISP must accept it by name"
        ),
    )
