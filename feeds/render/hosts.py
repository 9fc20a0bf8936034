"""Hosts file (hosts(5)): exact names only; a subtree rule blocks its own name and nothing below."""

from collections.abc import Iterator

from feeds.language import N_
from feeds.render.form import REFUSING, Format, Rendering, View, by_name, count, prefix_rules
from feeds.rule import Action

NOWHERE = ("0.0.0.0", "::")  # noqa: S104 - the null addresses, no listener


def _entries(view: View, left_out: dict[str, int]) -> Iterator[tuple[str, str]]:
    """(address, name) pairs; what a hosts file cannot say is counted when the iterator has ended."""
    for named in by_name(view.rules):
        rule = named.here
        if named.subtree is not None:
            count(left_out, "subtree")
        if rule.action not in REFUSING:
            count(left_out, "passing")
            continue
        addresses: tuple[str, ...] = NOWHERE
        if rule.action is Action.LOCAL:
            parts = tuple(rule.data.split(","))
            if ":" in parts[0] or parts[0][-1:].isdigit():
                addresses = parts
            else:
                count(left_out, "notice")
        for address in addresses:
            yield address, named.name
    for _rule in prefix_rules(view.rules):
        count(left_out, "prefix")


def _write(view: View) -> Rendering:
    left_out = view.left_out()
    for _entry in _entries(view, left_out):
        pass

    def lines() -> Iterator[str]:
        for line in view.heading("hosts", left_out):
            yield "# " + line
        for address, name in _entries(view, {}):
            yield f"{address} {name}"

    return Rendering(lines(), left_out)


FORMAT = Format("hosts", N_("hosts file (exact names only)"), "blocker.hosts", "text/plain", _write)
