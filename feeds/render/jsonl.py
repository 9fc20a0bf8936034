"""JSON lines: everything that was decided, one object a line. The first says which release it is."""

import json
from collections.abc import Iterator

from feeds.canary import canary_rule
from feeds.language import N_
from feeds.prefix import Prefix
from feeds.render.form import Format, Rendering, View
from feeds.rule import NameTarget, Rule, moment_of


def _line(value: dict[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _rule(rule: Rule) -> dict[str, object]:
    target = rule.target
    value: dict[str, object] = {"type": "rule"}
    if isinstance(target, NameTarget):
        value |= {"kind": str(target.scope), "target": target.name.text}
        if "xn--" in target.name.text:
            value["unicode"] = target.name.unicode
    elif isinstance(target, Prefix):
        value |= {"kind": "prefix", "target": str(target)}
        if rule.limits.protocol:
            value |= {"protocol": rule.limits.protocol, "ports": rule.limits.ports}
    value["action"] = str(rule.action)
    if rule.data:
        value["data"] = rule.data.split(",")
    return value | {
        "category": str(rule.category),
        "entry": rule.entry,
        "decision": rule.decision,
        "expires": moment_of(rule.expires).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _write(view: View) -> Rendering:
    manifest = view.manifest

    def lines() -> Iterator[str]:
        yield _line(
            {
                "type": "release",
                "authority": manifest.authority,
                "authority_name": manifest.authority_name,
                "serial": manifest.serial,
                "issued": manifest.issued.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "training": manifest.training,
                "objections": manifest.contact.email,
                "rules": len(view.rules),
            }
        )
        for canary in manifest.canaries:
            if canary_rule(canary, manifest.authority) is None:
                continue
            yield _line({"type": "canary", "target": canary.name, "action": str(canary.action), "data": canary.data})
        for rule in view.rules:
            yield _line(_rule(rule))

    return Rendering(lines(), view.left_out())


FORMAT = Format("jsonl", N_("JSON lines: every rule with its decision"), "blocker.jsonl", "application/jsonl", _write)
