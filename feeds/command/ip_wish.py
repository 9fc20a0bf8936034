"""What every command of `blocker ip` starts from: the accepted release, its options, and the filter they make."""

import ipaddress
import re
import shlex
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from feeds.command.state import now, state_option
from feeds.errors import Problem, Rejected, Unavailable
from feeds.ipfilter import ipset, nftables
from feeds.ipfilter.carried import WAYS, target_of
from feeds.ipfilter.kernel import run
from feeds.ipfilter.lifetime import HOUR_SECONDS, Lasting, lifetimes
from feeds.ipfilter.plan import Plan
from feeds.ipfilter.routers import FORMS
from feeds.ipfilter.routers.form import limited_flows
from feeds.ipfilter.target import TARGETS, Target
from feeds.ipfilter.wanted import Wanted, check_safe, wanted
from feeds.language import N_, _
from feeds.prefix import Prefix
from feeds.rule import Rule, hour_text, hours
from feeds.store import Accepted, Store
from feeds.terminal import SpokenOption, hint, json_option

MAX_ADDRESSES = 1_000_000
# 256 prefixes of the widest kind that the floor lets pass, /48.
MAX_NETWORKS = 256 << 16
# ipset counts to 2^31 milliseconds.
MAX_LIFETIME_HOURS = 24 * 24
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

    @property
    def target(self) -> Target:
        assert self.chosen is not None, self.name  # noqa: S101 - only forms that are just rendered have none
        return self.chosen

    def heading(self, flowspec: bool = False) -> list[str]:
        manifest = self.accepted.manifest
        return [
            _("{id}, serial {serial}, as of {hour}").format(
                id=manifest.authority, serial=manifest.serial, hour=hour_text(hours(self.now))
            ),
            _("Objections: {email}").format(email=manifest.contact.email),
            *self.notes(flowspec),
        ]

    def says_ports(self, flowspec: bool) -> bool:
        """Does the target carry out rules limited to ports?"""
        if self.name in TARGETS:
            return self.target.sayable(self.wanted.filter) == self.wanted.filter
        return FORMS[self.name].limited or flowspec or not any(limited_flows(self.wanted.filter))

    def notes(self, flowspec: bool = False) -> list[str]:
        """What is not as somebody might expect, a sentence each."""
        made = self.wanted
        notes = []
        if made.dns_only:
            notes.append(_("left to the resolver, which alone can carry them out: {n} rules").format(n=made.dns_only))
        if not self.says_ports(flowspec):
            notes.append(_("left out, since {target} cannot say it: rules limited to ports").format(target=self.name))
        if any(made.excepted.values()):
            notes.append(
                _("freed by the exceptions: {four} IPv4 and {six} IPv6 addresses").format(
                    four=made.excepted[4], six=made.excepted[6]
                )
            )
        if self.name == ipset.NAME:
            notes += [_("used by a rule of yours, such as: {rule}").format(rule=rule) for rule in ipset.rules_hint()]
        return notes

    def check(self, max_addresses: int, max_networks: int) -> None:
        """Raise Held where the filter is not safe to apply."""
        check_safe(self.rules, self.accepted.manifest.training, self.wanted, max_addresses, max_networks)

    def plan(self) -> Plan:
        # Linux 6.16 and later take a device that is not there, and drop nothing.
        missing = set(self.devices) - {name for _number, name in socket.if_nameindex()}
        if missing:
            raise Unavailable(
                _("there is no network device {name}").format(name=", ".join(sorted(missing))),
                kept=_("the filter in the kernel is as it was"),
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


def options_for(names: Iterable[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The target, one of `names`, and the options of every command that makes a filter."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed((click.argument("target", type=click.Choice(list(names))), *_options())):
            command = option(command)
        return command

    return add


next_hop_option = click.option(
    "--next-hop",
    "next_hops",
    multiple=True,
    metavar="ADDRESS",
    cls=SpokenOption,
    help=N_("The address that your routers discard; once for each IP version. Needed by --rtbh, exabgp and gobgp."),
)


def carried_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of a command that also reaches targets behind a file."""
    for option in reversed(
        (
            click.option(
                "--file",
                type=click.Path(path_type=Path, dir_okay=False),
                cls=SpokenOption,
                help=N_("bird, frr, exabgp, gobgp, pf, plain: the file that holds what was told to the target."),
            ),
            click.option(
                "--run",
                "told",
                metavar="COMMAND",
                cls=SpokenOption,
                help=N_(
                    "For the same: the command after a change, instead of the usual one; {file} and {changes} in it "
                    "are replaced. Empty: none."
                ),
            ),
            next_hop_option,
        )
    ):
        command = option(command)
    return command


exceptions_option = click.option(
    "--except",
    "exceptions",
    type=click.Path(path_type=Path),
    cls=SpokenOption,
    help=N_("File of addresses and prefixes of yours that are never dropped, one a line."),
)


def _options() -> Sequence[Callable[..., Any]]:
    return (
        state_option,
        exceptions_option,
        click.option(
            "--hook",
            "hooks",
            multiple=True,
            type=click.Choice(nftables.HOOKS),
            default=(nftables.HOOKS[0],),
            show_default=True,
            cls=SpokenOption,
            help=N_(
                "nftables: drop what is passed on (forward), what this machine sends (output), what comes in "
                "(prerouting), what comes in at --device (ingress); several may be given."
            ),
        ),
        click.option(
            "--device",
            "devices",
            multiple=True,
            cls=SpokenOption,
            help=N_("nftables: a network device that --hook ingress is for; several may be given."),
        ),
        click.option(
            "--lifetime",
            "lifetime_hours",
            type=click.IntRange(1, MAX_LIFETIME_HOURS),
            cls=SpokenOption,
            help=N_(
                "nftables, ipset, routeros: hours after which an entry lapses by itself unless it is renewed; "
                "`blocker ip follow` renews in half that time. Without it entries stay (routeros: 24)."
            ),
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
    next_hops: Sequence[str] = (),
    reached: bool = True,
    checked: bool = True,
) -> Wish:
    """What these options ask for; raises Unavailable, Rejected, and unless `checked` is False, Held.

    `reached` is False for a target that is only rendered.
    """
    if target not in WAYS and (file or told is not None or next_hops):
        raise click.UsageError(
            _("--file, --run and --next-hop are for these targets: {able}").format(able=", ".join(WAYS))
        )
    if (nftables.INGRESS in hooks) != bool(devices):
        raise click.UsageError(_("--hook ingress and --device belong together"))
    if not all(re.fullmatch(r"[A-Za-z0-9._@:-]{1,15}", device) for device in devices):
        raise click.UsageError(_("a device is named by 1 to 15 letters, digits, dots, colons, hyphens"))
    chosen = TARGETS.get(target) or (carried(target, file, told, next_hops) if reached else None)
    accepted, moment = release_of(state)
    rules = accepted.release().in_force(moment)
    free = exceptions_of(exceptions) if exceptions else ()
    made = wanted(rules, free)
    order = nftables.places(hooks, devices)
    wish = Wish(target, chosen, accepted, tuple(rules), free, made, order, moment, lifetime_hours, devices)
    if checked:
        wish.check(max_addresses, max_networks)
    return wish


def carried(target: str, file: Path | None, told: str | None, next_hops: Sequence[str]) -> Target:
    """The target behind a file that these options name; raises UsageError."""
    hops = hops_of(next_hops)
    if WAYS[target].needs_hops and next_hops == ():
        raise click.UsageError(
            _("{target} needs --next-hop, the address that your routers discard").format(target=target)
        )
    return target_of(target, file, None if told is None else tuple(shlex.split(told)), hops)


def hops_of(texts: Sequence[str]) -> dict[int, str]:
    """Next hops by IP version; raises UsageError."""
    return {ipaddress.ip_address(address_of(text)).version: address_of(text) for text in texts}


def address_of(text: str) -> str:
    """An address as it is written everywhere; raises UsageError."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise click.UsageError(_("«{text}» is no address").format(text=text)) from None


def release_of(state: Path) -> tuple[Accepted, datetime]:
    """The accepted release of a state directory, and the moment by a clock that never goes back; or Unavailable."""
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
            kept=_("the filter in the kernel is as it was"),
            then=_("correct these lines and try again"),
            problems=problems,
        )
    return tuple(found)
