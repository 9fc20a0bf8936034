"""`blocker ip`: render, plan and apply packet filters from the last accepted release."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from feeds.command.state import now, state_option
from feeds.errors import Problem, Rejected, Unavailable
from feeds.ipfilter import ipset, metrics, nftables
from feeds.ipfilter.kernel import run
from feeds.ipfilter.plan import Plan, address_count, prefix_count
from feeds.ipfilter.target import TARGETS, Target
from feeds.ipfilter.wanted import BITS, Wanted, check_safe, wanted
from feeds.language import N_, _
from feeds.prefix import Prefix
from feeds.rule import hour_text, hours
from feeds.store import Accepted, Store
from feeds.terminal import SpokenOption, answer, hint, json_option, table

MAX_ADDRESSES = 1_000_000
# 256 prefixes of the widest kind that the floor lets pass, /48.
MAX_NETWORKS = 256 << 16
MAX_EXCEPTIONS_BYTES = 16 << 20
SHOWN = 20


@dataclass(frozen=True)
class Wish:
    """What the options of a command ask for."""

    target: Target
    accepted: Accepted
    wanted: Wanted
    hooks: tuple[str, ...]
    now: datetime

    def heading(self) -> list[str]:
        manifest = self.accepted.manifest
        return [
            _("{id}, serial {serial}, as of {hour}").format(
                id=manifest.authority, serial=manifest.serial, hour=hour_text(hours(self.now))
            ),
            _("Objections: {email}").format(email=manifest.contact.email),
            *self.notes(),
        ]

    def notes(self) -> list[str]:
        """What is not as somebody might expect, a sentence each."""
        made = self.wanted
        notes = []
        if made.dns_only:
            notes.append(_("left to the resolver, which alone can carry them out: {n} rules").format(n=made.dns_only))
        if self.target.sayable(made.filter) != made.filter:
            notes.append(
                _("left out, since {target} cannot say it: rules limited to ports").format(target=self.target.name)
            )
        if any(made.excepted.values()):
            notes.append(
                _("freed by the exceptions: {four} IPv4 and {six} IPv6 addresses").format(
                    four=made.excepted[4], six=made.excepted[6]
                )
            )
        if self.target.name == ipset.NAME:
            notes += [_("used by a rule of yours, such as: {rule}").format(rule=rule) for rule in ipset.rules_hint()]
        return notes

    def plan(self) -> Plan:
        return self.target.plan(self.accepted.manifest.serial, self.wanted.filter, self.hooks, run)


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        (
            click.argument("target", type=click.Choice(list(TARGETS))),
            state_option,
            click.option(
                "--except",
                "exceptions",
                type=click.Path(path_type=Path),
                cls=SpokenOption,
                help=N_("File of addresses and prefixes of yours that are never dropped, one a line."),
            ),
            click.option(
                "--hook",
                "hooks",
                multiple=True,
                type=click.Choice(nftables.HOOKS),
                default=(nftables.HOOKS[0],),
                show_default=True,
                cls=SpokenOption,
                help=N_("nftables: drop what is passed on (forward), what this machine sends (output), or both."),
            ),
            click.option(
                "--max-addresses",
                type=click.IntRange(0),
                default=MAX_ADDRESSES,
                show_default=True,
                cls=SpokenOption,
                help=N_("Refuse to drop more IPv4 addresses than this."),
            ),
            click.option(
                "--max-networks",
                type=click.IntRange(0),
                default=MAX_NETWORKS,
                show_default=True,
                cls=SpokenOption,
                help=N_("Refuse to drop more IPv6 networks of /64 than this."),
            ),
            json_option,
        )
    ):
        command = option(command)
    return command


_metrics_option = click.option(
    "--metrics-file",
    type=click.Path(path_type=Path, dir_okay=False),
    cls=SpokenOption,
    help=N_("Write metrics for node_exporter here."),
)


@click.group(help=_("Plan and apply packet filters from the feed."))
def ip() -> None:
    pass


@ip.command("render", help=_("Print the filter as its tool reads it; changes nothing."))
@_options
def render_(as_json: bool, **options: Any) -> None:
    wish = _wish(**options)
    script = wish.target.script(wish.target.sayable(wish.wanted.filter), wish.hooks, wish.heading())
    answer(
        as_json,
        {"target": wish.target.name, "serial": wish.accepted.manifest.serial, "script": script},
        script.removesuffix("\n"),
    )


@ip.command("plan", help=_("Show what an apply would change in the kernel, and its checksum; changes nothing."))
@_options
@_metrics_option
def plan_(as_json: bool, metrics_file: Path | None, **options: Any) -> None:
    wish = _wish(**options)
    plan = wish.plan()
    if metrics_file:
        metrics.write(metrics_file, plan, wish.now)
    answer(as_json, _plan_json(wish, plan), _plan_text(wish, plan))
    if plan.empty:
        hint(_("Nothing to do: the kernel holds what it shall hold."))
    else:
        hint(
            _("Next: `blocker ip apply {target} --checksum {checksum}`, with the same options").format(
                target=plan.target, checksum=plan.checksum
            )
        )


@ip.command("apply", help=_("Carry out the plan of this checksum, in one transaction, and read it back."))
@_options
@click.option("--checksum", cls=SpokenOption, help=N_("The checksum that `blocker ip plan` showed."))
@click.option(
    "--lapse",
    is_flag=True,
    cls=SpokenOption,
    help=N_("Instead of a checksum, for a timer: only take out what is no longer wanted; nothing is added."),
)
@_metrics_option
def apply_(as_json: bool, checksum: str | None, lapse: bool, metrics_file: Path | None, **options: Any) -> None:
    if (checksum is None) != lapse:
        raise click.UsageError(_("give either --checksum or --lapse"))
    wish = _wish(**options)
    whole = wish.plan()
    if checksum is not None:
        whole.check(checksum)
    plan = whole.lapsing() if lapse else whole
    after = wish.target.apply(plan, wish.hooks, wish.heading(), run)
    done = replace(whole, held=after)
    if metrics_file:
        # A lapse that adds nothing leaves the time of the last whole apply: the alert on drift looks at it.
        metrics.write(metrics_file, done, wish.now, wish.now if done.empty else None)
    data = {**_counts(replace(done, wanted=after.filter)), "applied": not plan.empty, "checksum": done.checksum}
    sentence = _("The kernel now drops {four} IPv4 and {six} IPv6 prefixes of serial {serial}.").format(
        four=prefix_count(after.filter, 4), six=prefix_count(after.filter, 6), serial=plan.serial
    )
    answer(as_json, data, sentence)
    if not done.empty:
        hint(_("There is more to do: look at `blocker ip plan {target}`").format(target=plan.target))
    for note in wish.notes():
        hint(_("Note: {note}").format(note=note))


def _wish(
    target: str,
    state: Path,
    exceptions: Path | None,
    hooks: tuple[str, ...],
    max_addresses: int,
    max_networks: int,
) -> Wish:
    store = Store(state)
    accepted = store.accepted() if store.exists else None
    if accepted is None:
        raise Unavailable(
            _("there is no accepted release in {path}").format(path=state),
            kept=_("the filter in the kernel is as it was"),
            then=_("run `blocker feed pull`, or give the right directory with --state"),
        )
    if accepted.damage:
        hint(_("Note: {note}").format(note=accepted.damage))
    moment = store.clock(now())
    rules = accepted.release().in_force(moment)
    made = wanted(rules, _exceptions(exceptions) if exceptions else ())
    check_safe(rules, accepted.manifest.training, made, max_addresses, max_networks)
    order = tuple(hook for hook in nftables.HOOKS if hook in hooks)
    return Wish(TARGETS[target], accepted, made, order, moment)


def _exceptions(path: Path) -> tuple[Prefix, ...]:
    """The prefixes of a file; raises Rejected that names every bad line."""
    try:
        if path.stat().st_size > MAX_EXCEPTIONS_BYTES:
            raise Rejected(_("{path} is too large for a list of exceptions").format(path=path))
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else _("it is not UTF-8 text")
        raise Rejected(
            _("{path} cannot be read: {why}").format(path=path, why=why), then=_("check the path and its permissions")
        ) from None
    found: list[Prefix] = []
    problems: list[Problem] = []
    for number, line in enumerate(lines, 1):
        typed = line.partition("#")[0].strip()
        if not typed:
            continue
        try:
            found += Prefix.parse(typed)
        except Rejected as error:
            problems.append(Problem(_("line {n}").format(n=number), error.rule, error.what))
    if problems:
        raise Rejected(
            _("{path} holds lines that are no addresses").format(path=path),
            kept=_("the filter in the kernel is as it was"),
            then=_("correct these lines and try again"),
            problems=problems,
        )
    return tuple(found)


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
