"""dnsmasq configuration: `address=/name/#` refuses a name and all below it, `server=/name/#` lets them through.

The more specific line wins in dnsmasq, so an exception below a listed name can be said; it then lets through the
names below it, too. An exact rule that refuses cannot be said: it would block the names below.
"""

from collections.abc import Iterator

from feeds.language import N_
from feeds.render.form import REFUSING, Format, Named, Rendering, View, by_name, count, prefix_rules
from feeds.rule import Action, Rule


def _lines_of(named: Named, left_out: dict[str, int]) -> Iterator[str]:
    exact, subtree = named.exact, named.subtree
    if exact is not None and exact.action not in REFUSING:
        if exact.action is Action.TCP_ONLY:
            count(left_out, "passing")
        if subtree is not None and subtree.action in REFUSING:
            count(left_out, "exception")
        yield f"server=/{named.name}/#"
    elif subtree is None:
        count(left_out, "exact")
    elif subtree.action not in REFUSING:
        if subtree.action is Action.TCP_ONLY:
            count(left_out, "passing")
        if exact is not None:
            count(left_out, "exact")
        yield f"server=/{named.name}/#"
    else:
        for address in _addresses(subtree, left_out):
            yield f"address=/{named.name}/{address}"


def _addresses(rule: Rule, left_out: dict[str, int]) -> list[str]:
    if rule.action is Action.LOCAL:
        parts = rule.data.split(",")
        if ":" in parts[0] or parts[0][-1:].isdigit():
            return parts
        count(left_out, "notice")
    return ["#"]


def _body(view: View, left_out: dict[str, int]) -> Iterator[str]:
    for named in by_name(view.rules):
        yield from _lines_of(named, left_out)
    for _rule in prefix_rules(view.rules):
        count(left_out, "prefix")


def _write(view: View) -> Rendering:
    left_out = view.left_out()
    for _line in _body(view, left_out):
        pass

    def lines() -> Iterator[str]:
        for line in view.heading("dnsmasq", left_out):
            yield "# " + line
        yield from _body(view, {})

    return Rendering(lines(), left_out)


FORMAT = Format("dnsmasq", N_("dnsmasq configuration"), "blocker.dnsmasq.conf", "text/plain", _write)
