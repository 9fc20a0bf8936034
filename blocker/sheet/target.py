"""One cell or line: a name, a link, an address, a prefix, a range, in whatever dress it came."""

import re

from blocker.sheet.row import ParsedTarget
from feeds.errors import Rejected
from feeds.language import _
from feeds.name import DomainName
from feeds.prefix import Prefix
from feeds.rule import NameTarget, Scope

_PLAIN = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})+\Z")
_ADDRESS6 = re.compile(r"[0-9a-f:.\[\]]*:[0-9a-f:.\[\]]*:[0-9a-f:.\[\]/ -]*\Z", re.IGNORECASE)
_RANGE4 = re.compile(r"[0-9.\[\]()]+\s*[-–]\s*[0-9.\[\]()]+\Z")
# A link or an endpoint whose host is an address: scheme, address, port, path.
_ON_ADDRESS = re.compile(
    r"(?:[a-z][a-z0-9+.-]*://)?(?P<host>[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[[0-9a-f:.]+\])(?P<port>:[0-9]{1,5})?(?P<path>[/?#].*)?\Z",
    re.IGNORECASE,
)
_ADBLOCK = re.compile(r"\|\|(?P<name>[^/^$|]+)\^?(?:\$.*)?\Z")


def parse_targets(text: str, scope: Scope | None = None) -> tuple[ParsedTarget, ...]:
    """The targets of a text; a range of addresses gives several. Raises Rejected with the reason.

    `scope` is what was said for names; without it `=name` means the name alone, anything else its subtree.
    """
    if _PLAIN.match(text) is not None and "xn--" not in text:
        try:
            return (ParsedTarget(NameTarget(DomainName.parse(text).name, scope or Scope.SUBTREE)),)
        except Rejected as error:
            if error.rule != "name.address":
                raise
            return _addresses(text)
    bare = text.strip()
    if _RANGE4.match(bare) or (_ADDRESS6.match(bare) and "//" not in bare and not bare.startswith("[")):
        return _addresses(bare)
    if found := _ADBLOCK.match(bare):
        bare = f"||{found.group('name')}^"
    elif bare.startswith("="):
        bare, scope = bare[1:], scope or Scope.EXACT
    try:
        parsed = DomainName.parse(bare)
    except Rejected as error:
        if error.rule != "name.address":
            raise
        return _addresses(bare)
    notes = tuple(_("left out: {what}").format(what=what) for what in parsed.dropped) + parsed.notes
    target = NameTarget(parsed.name, Scope.SUBTREE if parsed.wildcard and scope is None else scope or Scope.SUBTREE)
    return (ParsedTarget(target, parsed.path_dropped, notes),)


def _addresses(text: str) -> tuple[ParsedTarget, ...]:
    defanged = text.replace("[.]", ".").replace("(.)", ".")
    found = _ON_ADDRESS.match(defanged)
    # `192.0.2.0/24` is a prefix; only what is no length after the slash is a path.
    if found is None or (re.fullmatch(r"[^/]*(?:/[0-9. ]*)?", defanged) and not found.group("port")):
        return tuple(ParsedTarget(prefix) for prefix in Prefix.parse(text))
    dropped = [found.group(part) or "" for part in ("port", "path")]
    notes = tuple(_("left out: {what}").format(what=what) for what in dropped if what.strip("/"))
    path_dropped = bool(dropped[1].strip("/"))
    return tuple(ParsedTarget(prefix, path_dropped, notes) for prefix in Prefix.parse(found.group("host").strip("[]")))
