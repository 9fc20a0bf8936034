"""CSV (RFC 4180, UTF-8): everything that was decided, a row a rule, safe to open in a spreadsheet.

A cell that a spreadsheet would take for a formula gets an apostrophe in front (a name may begin with a hyphen).
"""

import csv
import io
from collections.abc import Iterator, Sequence

from feeds.language import N_
from feeds.render.form import Format, Rendering, View, one_line
from feeds.rule import NameTarget, Rule, hour_text

COLUMNS = (
    "kind", "target", "unicode", "action", "data", "limits", "category", "entry", "decision", "agency", "legal_basis",
    "expires",
)  # fmt: skip
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")


def safe(cell: str) -> str:
    """The cell as a spreadsheet shows it and never computes it, on one line and without control characters."""
    cell = one_line(cell)
    return "'" + cell if cell.startswith(_FORMULA_STARTS) else cell


def _cells(rule: Rule, agency: str, legal_basis: str) -> list[str]:
    target, limits = rule.target, str(rule.limits) if rule.limits.protocol else ""
    if isinstance(target, NameTarget):
        name = target.name
        start = [str(target.scope), name.text, name.unicode if "xn--" in name.text else ""]
    else:
        start = ["prefix", str(target), ""]
    return [
        *start, str(rule.action), rule.data, limits, str(rule.category), rule.entry, rule.decision, agency,
        legal_basis, hour_text(rule.expires),
    ]  # fmt: skip


def _write(view: View) -> Rendering:
    decisions = {d.notation: (d.agency, d.legal_basis) for d in view.manifest.decisions}

    def lines() -> Iterator[str]:
        yield _row(COLUMNS)
        for rule in view.rules:
            yield _row([safe(cell) for cell in _cells(rule, *decisions.get(rule.decision, ("", "")))])

    return Rendering(lines(), view.left_out(), line_end="\r\n")


def _row(cells: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(cells)
    return out.getvalue()


FORMAT = Format("csv", N_("CSV: every rule with its decision"), "blocker.csv", "text/csv", _write)
