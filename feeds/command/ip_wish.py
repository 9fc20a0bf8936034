"""What every command of `blocker ip` starts from: the accepted release, its options, and the filter they make."""

import re
import shlex
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import click

from feeds.command.ip_options import check_announces, check_carried, hops_of
from feeds.command.state import now
from feeds.errors import Problem, Rejected, Unavailable
from feeds.ipfilter import ipset, iptables, nftables
from feeds.ipfilter.carried.target import target_of
from feeds.ipfilter.carried.ways import WAYS, way_of
from feeds.ipfilter.filter import BITS
from feeds.ipfilter.kernel import run
from feeds.ipfilter.lifetime import HOUR_SECONDS, Lasting, lifetimes
from feeds.ipfilter.plan import Plan
from feeds.ipfilter.routers import FORMS
from feeds.ipfilter.routers.form import limited_flows
from feeds.ipfilter.target import TARGETS, Target
from feeds.ipfilter.wanted import Wanted, check_safe, wanted
from feeds.language import _
from feeds.prefix import Prefix
from feeds.rule import Rule, hour_text, hours
from feeds.store import Accepted, Store
from feeds.terminal import hint

# Of a target whose entries always lapse.
LIFETIME_HOURS = 24
MAX_EXCEPTIONS_BYTES = 16 << 20


@dataclass(frozen=True)
class Wish:
    """What the options of a command ask for."""

    name: str
    chosen: Target | None
    accepted: Accepted
    rules: tuple[Rule, ...]
    exceptions: tuple[Prefix, ...]
    wanted: Wanted
    hooks: tuple[str, ...]
    now: datetime
    lifetime_hours: int | None
    devices: tuple[str, ...]
    flowspec: bool
    hops: frozenset[int] = frozenset()

    @property
    def target(self) -> Target:
        assert self.chosen is not None, self.name  # noqa: S101 - only forms that are just rendered have none
        return self.chosen

    def heading(self) -> list[str]:
        manifest = self.accepted.manifest
        return [
            _("{id}, serial {serial}, as of {hour}").format(
                id=manifest.authority, serial=manifest.serial, hour=hour_text(hours(self.now))
            ),
            _("Objections: {email}").format(email=manifest.contact.email),
            *self.notes(),
        ]

    def says_ports(self) -> bool:
        """Does the target carry out rules limited to ports?"""
        if self.name in TARGETS:
            return self.target.sayable(self.wanted.filter).joined() == self.wanted.filter.joined()
        return FORMS[self.name].limited or self.flowspec or not any(limited_flows(self.wanted.filter))

    def notes(self) -> list[str]:
        """What is not as somebody might expect, a sentence each."""
        made = self.wanted
        notes = []
        if made.dns_only:
            notes.append(_("left to the resolver, which alone can carry them out: {n} rules").format(n=made.dns_only))
        if not self.says_ports():
            left_out = _("left out, since {target} cannot say it: rules limited to ports").format(target=self.name)
            able = self.name in FORMS and "flowspec" in FORMS[self.name].announces
            notes.append(_("left out: rules limited to ports; --flowspec announces them") if able else left_out)
        if self.hops and self.name in WAYS and WAYS[self.name].needs_hops:
            missing = [version for version in BITS if version not in self.hops and made.filter.whole(version)]
            notes += [
                _("left out, since no --next-hop of its own is given: IPv{version}").format(version=version)
                for version in missing
            ]
        if any(made.excepted.values()):
            notes.append(
                _("freed by the exceptions: {four} IPv4 and {six} IPv6 addresses").format(
                    four=made.excepted[4], six=made.excepted[6]
                )
            )
        hints = {ipset.NAME: ipset.rules_hint, iptables.NAME: iptables.rules_hint}
        if self.name in hints:
            notes += [_("used by a rule of yours, such as: {rule}").format(rule=rule) for rule in hints[self.name]()]
        return notes

    def write_metrics(self, path: Path | None, plan: Plan, applied: bool = False) -> None:
        """Write the metrics of a plan, if a file is given; `applied` says that it was carried out now, whole."""
        if path is not None:
            # Loaded only here: prometheus_client takes an eighth of what a command takes to start.
            from feeds.ipfilter import metrics

            metrics.write(path, plan, self.now, self.now if applied else None)

    def check(self, max_addresses: int, max_networks: int) -> None:
        """Raise Held where the filter is not safe to apply."""
        check_safe(self.rules, self.accepted.manifest.training, self.wanted, max_addresses, max_networks)

    def plan(self) -> Plan:
        # Linux 6.16 and later take a device that is not there, and drop nothing.
        missing = set(self.devices) - {name for _number, name in socket.if_nameindex()}
        if missing:
            raise Unavailable(
                _("there is no network device {name}").format(name=", ".join(sorted(missing))),
                kept=_("the filter is as it was"),
                then=_("look at `ip link` and give the device of --hook ingress as it is named there"),
            )
        seconds = self.lifetime_hours * HOUR_SECONDS if self.lifetime_hours else None
        lasting = self.lasting(self.lifetime_hours)
        serial = self.accepted.manifest.serial
        return self.target.plan(serial, self.wanted.filter, self.hooks, run, seconds, lasting)

    def lasting(self, lifetime_hours: int | None) -> Lasting:
        """The lives of the entries, none longer than that; nothing where they stay."""
        if lifetime_hours is None:
            return ()
        return lifetimes(self.rules, self.exceptions, int(self.now.timestamp()), lifetime_hours * HOUR_SECONDS)


def wish_of(
    target: str,
    state: Path,
    exceptions: Path | None,
    hooks: tuple[str, ...],
    max_addresses: int,
    max_networks: int,
    devices: tuple[str, ...] = (),
    lifetime_hours: int | None = None,
    file: Path | None = None,
    told: str | None = None,
    reads: Sequence[str] = (),
    next_hops: Sequence[str] = (),
    rtbh: bool = False,
    flowspec: bool = False,
    reached: bool = True,
    checked: bool = True,
) -> Wish:
    """What these options ask for; raises Unavailable, Rejected, and unless `checked` is False, Held.

    `reached` is False for a target that is only rendered.
    """
    if reached:
        check_carried(target, bool(file or told is not None or reads or next_hops or rtbh or flowspec))
    if (nftables.INGRESS in hooks) != bool(devices):
        raise click.UsageError(_("--hook ingress and --device belong together"))
    if not all(re.fullmatch(r"[A-Za-z0-9._@:-]{1,15}", device) for device in devices):
        raise click.UsageError(_("a device is named by 1 to 15 letters, digits, dots, colons, hyphens"))
    chosen, behind_file = TARGETS.get(target), None
    if chosen is None and reached:
        behind_file = _carried(target, file, told, reads, next_hops, rtbh, flowspec)
    accepted, moment = release_of(state)
    if behind_file is not None:
        chosen = behind_file(now_seconds=moment.timestamp())
    rules = accepted.release().in_force(moment)
    # Whoever drops what leads to the next hop drops nothing else any more.
    hops = hops_of(next_hops)
    free = (*(exceptions_of(exceptions) if exceptions else ()), *_addresses(hops))
    made = wanted(rules, free)
    order = nftables.places(hooks, devices)
    if target in FORMS and FORMS[target].times_out:
        lifetime_hours = lifetime_hours or LIFETIME_HOURS
    wish = Wish(
        target,
        chosen,
        accepted,
        tuple(rules),
        free,
        made,
        order,
        moment,
        lifetime_hours,
        devices,
        flowspec,
        frozenset(hops),
    )
    if checked:
        wish.check(max_addresses, max_networks)
    return wish


def _addresses(hops: Mapping[int, str]) -> Iterator[Prefix]:
    for hop in hops.values():
        yield from Prefix.parse(hop)


def _carried(
    target: str,
    file: Path | None,
    told: str | None,
    reads: Sequence[str],
    next_hops: Sequence[str],
    rtbh: bool,
    flowspec: bool,
) -> Callable[..., Target]:
    """The target behind a file that these options name, once it is told the time; raises UsageError."""
    check_announces(target, FORMS[target].announces, rtbh=rtbh, flowspec=flowspec)
    hops, way = hops_of(next_hops), way_of(target, rtbh)
    if way.needs_hops and not hops and (rtbh or not flowspec):
        raise click.UsageError(
            _("{target} needs --next-hop, the address that your routers discard").format(target=target)
        )
    if reads and not way.reads:
        raise click.UsageError(
            _("--read is for frr and gobgp: what {target} holds is in its file").format(target=target)
        )
    if way.needs_command and told is None:
        raise click.UsageError(
            _("{target} with --rtbh is told only what changes: give with --run what brings {{changes}} to it").format(
                target=target
            )
        )
    if told and way.appends:
        raise click.UsageError(
            _("{target} reads what is appended to its file by itself: --run is not for it").format(target=target)
        )
    command = None if told is None else tuple(shlex.split(told))
    # Another command speaks to another place, which the usual one would not read.
    live = tuple(tuple(shlex.split(each)) for each in reads) if reads or told is not None else way.reads
    return partial(target_of, target, way, file, command, hops, flowspec=flowspec, reads=live)


def release_of(state: Path) -> tuple[Accepted, datetime]:
    """The accepted release of a state directory, and the moment by a clock that never goes back; or Unavailable."""
    store = Store(state)
    accepted = store.accepted() if store.exists else None
    if accepted is None:
        raise Unavailable(
            _("there is no accepted release in {path}").format(path=state),
            kept=_("the filter is as it was"),
            then=_("run `blocker feed pull`, or give the right directory with --state"),
        )
    if accepted.damage:
        hint(_("Note: {note}").format(note=accepted.damage))
    return accepted, store.clock(now())


def exceptions_of(path: Path) -> tuple[Prefix, ...]:
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
            kept=_("the filter is as it was"),
            then=_("correct these lines and try again"),
            problems=problems,
        )
    return tuple(found)
