"""`blocker ip`: render, plan and apply packet filters from the last accepted release."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from feeds.command.ip_follow import follow
from feeds.command.ip_options import carried_options, metrics_option, options_for
from feeds.command.ip_render import config, render
from feeds.command.ip_why import why
from feeds.command.ip_wish import Wish, wish_of
from feeds.ipfilter.carried.ways import WAYS
from feeds.ipfilter.filter import BITS
from feeds.ipfilter.kernel import run
from feeds.ipfilter.plan import Plan, address_count, prefix_count
from feeds.ipfilter.target import TARGETS
from feeds.language import N_, _
from feeds.terminal import SpokenOption, answer, hint, table

SHOWN = 20


@click.group(help=_("Plan and apply packet filters from the feed."))
def ip() -> None:
    pass


ip.add_command(render)
ip.add_command(config)
ip.add_command(follow)
ip.add_command(why)


@ip.command("plan", help=_("Show what an apply would change, and its checksum; changes nothing."))
@options_for([*TARGETS, *WAYS])
@carried_options
@metrics_option
def plan_(as_json: bool, metrics_file: Path | None, **options: Any) -> None:
    wish = wish_of(**options)
    plan = wish.plan()
    wish.write_metrics(metrics_file, plan)
    answer(as_json, _plan_json(wish, plan), _plan_text(wish, plan))
    if plan.empty:
        hint(_("Nothing to do: {target} holds what it shall hold.").format(target=plan.target))
    else:
        hint(
            _("Next: `blocker ip apply {target} --checksum {checksum}`, with the same options").format(
                target=plan.target, checksum=plan.checksum
            )
        )


@ip.command("apply", help=_("Carry out the plan of this checksum, in one transaction, and read it back."))
@options_for([*TARGETS, *WAYS])
@carried_options
@click.option("--checksum", cls=SpokenOption, help=N_("The checksum that `blocker ip plan` showed."))
@click.option(
    "--lapse",
    is_flag=True,
    cls=SpokenOption,
    help=N_("Instead of a checksum, for a timer: only take out what is no longer wanted; nothing is added."),
)
@metrics_option
def apply_(as_json: bool, checksum: str | None, lapse: bool, metrics_file: Path | None, **options: Any) -> None:
    if (checksum is None) != lapse:
        raise click.UsageError(_("give either --checksum or --lapse"))
    wish = wish_of(**options)
    whole = wish.plan()
    if checksum is not None:
        whole.check(checksum)
    plan = whole.lapsing() if lapse else whole
    after = wish.target.apply(plan, wish.hooks, wish.heading(), run)
    done = replace(whole, held=after)
    # A lapse that adds nothing leaves the time of the last whole apply: the alert on drift looks at it.
    wish.write_metrics(metrics_file, done, applied=done.empty)
    data = {**_counts(replace(done, wanted=after.filter)), "applied": not plan.empty, "checksum": done.checksum}
    sentence = _("{target} now drops {four} IPv4 and {six} IPv6 prefixes of serial {serial}.").format(
        target=plan.target, four=prefix_count(after.filter, 4), six=prefix_count(after.filter, 6), serial=plan.serial
    )
    answer(as_json, data, sentence)
    if not done.empty:
        hint(_("There is more to do: look at `blocker ip plan {target}`").format(target=plan.target))
    for note in wish.notes():
        hint(_("Note: {note}").format(note=note))


def _counts(plan: Plan) -> dict[str, Any]:
    return {
        "target": plan.target,
        "serial": plan.serial,
        "prefixes": {f"ipv{v}": prefix_count(plan.wanted, v) for v in BITS},
        "addresses": {f"ipv{v}": address_count(plan.wanted, v) for v in BITS},
    }


def _plan_json(wish: Wish, plan: Plan) -> dict[str, Any]:
    changes = {
        change.name: {"added": change.added, "removed": change.removed, "kept": change.kept}
        for change in plan.changes()
    }
    return {
        **_counts(plan),
        "sets": changes,
        "rules_in_place": plan.held.uses == plan.uses,
        "renewed": plan.ageing,
        "recounted": plan.recounted,
        "notes": wish.notes(),
        "empty": plan.empty,
        "checksum": plan.checksum,
    }


def _plan_text(wish: Wish, plan: Plan) -> str:
    changes = plan.changes()
    rows = [(c.name, len(c.added), len(c.removed), c.kept) for c in changes]
    lines = [table([_("set"), _("added"), _("removed"), _("kept")], rows)] if rows else []
    for change in changes:
        for mark, elements in (("+", change.added), ("-", change.removed)):
            lines += [f"{mark} {change.name} {element}" for element in elements[:SHOWN]]
            if len(elements) > SHOWN:
                lines.append(
                    _("{mark} {name}: {n} more, all with --json").format(
                        mark=mark, name=change.name, n=len(elements) - SHOWN
                    )
                )
    if plan.ageing:
        lines.append(_("Entries have lived half of their life, or were given another one: all are renewed."))
    if plan.recounted:
        lines.append(_("The same is dropped already, some of it counted under another category; apply corrects that."))
    if plan.held.uses != plan.uses:
        lines.append(_("The rules that drop by these sets are not in the kernel, or not all; apply puts them there."))
    lines.append(
        _("Covered afterwards: {four} IPv4 and {six} IPv6 addresses").format(
            four=address_count(plan.wanted, 4), six=address_count(plan.wanted, 6)
        )
    )
    lines += [_("Note: {note}").format(note=note) for note in wish.notes()]
    lines.append(_("Checksum: {checksum}").format(checksum=plan.checksum))
    return "\n".join(lines)
