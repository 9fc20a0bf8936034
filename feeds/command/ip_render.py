"""`blocker ip render` and `blocker ip config`: text for a tool, a router or a firewall; nothing is changed."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from feeds import durable
from feeds.command.ip_options import address_of, check_announces, hops_of, next_hop_option, options_for
from feeds.command.ip_wish import Wish, wish_of
from feeds.errors import Rejected
from feeds.ipfilter.routers import FORMS
from feeds.ipfilter.routers.form import Form, Order, Setup
from feeds.ipfilter.target import TARGETS
from feeds.language import N_, _
from feeds.rule import hours
from feeds.terminal import SpokenOption, answer, json_option

MAX_PREVIOUS_BYTES = 256 << 20


def _routes(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        (
            click.option(
                "--rtbh",
                is_flag=True,
                cls=SpokenOption,
                help=N_("Announce prefixes as blackhole routes, with communities 65535:666 and no-export."),
            ),
            next_hop_option,
            click.option(
                "--flowspec",
                is_flag=True,
                cls=SpokenOption,
                help=N_("Announce rules limited to ports as Flowspec; without --rtbh the other rules, too."),
            ),
        )
    ):
        command = option(command)
    return command


@click.command(help=_("Print the filter as its tool or router reads it; changes nothing."))
@options_for(dict.fromkeys([*TARGETS, *FORMS]))
@_routes
@click.option(
    "--previous",
    type=click.Path(path_type=Path, dir_okay=False),
    cls=SpokenOption,
    help=N_("What this command printed last, without this option: print only what takes that to the new state."),
)
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    cls=SpokenOption,
    help=N_("Write files into this directory, in parts where the router reads no long ones."),
)
def render(
    as_json: bool,
    rtbh: bool,
    next_hops: Sequence[str],
    flowspec: bool,
    previous: Path | None,
    into: Path | None,
    target: str,
    **options: Any,
) -> None:
    form = FORMS.get(target)
    hops = _check(target, form, rtbh, flowspec, next_hops)
    if previous is not None and (form is None or form.undo is None):
        raise click.UsageError(
            _("{target} replaces all of the old at once: --previous is not needed").format(target=target)
        )
    reached = target in TARGETS
    wish = wish_of(target=target, flowspec=flowspec, next_hops=next_hops, reached=reached, **options)
    if form is None:
        sayable, lasting = wish.target.sayable(wish.wanted.filter), wish.lasting(wish.lifetime_hours)
        lines = wish.target.script(sayable, wish.hooks, wish.heading(), lasting).splitlines()
    else:
        made = list(form.write(_order(wish, form, rtbh, flowspec, hops)))
        if previous is not None and form.undo is not None:
            made = list(_changes(_lines_of(previous), made, form.undo))
        lines = [*(f"{form.comment} {line}" for line in wish.heading()), *made]
    data = {"target": target, "serial": wish.accepted.manifest.serial}
    if into is None:
        script = "\n".join(lines) + "\n"
        answer(as_json, {**data, "script": script}, script.removesuffix("\n"))
        return
    files = _write(into, target, lines, form.part_lines if form else None)
    answer(as_json, {**data, "files": files}, "\n".join(files))


@click.command(help=_("Print what is told to a router once, before the first rendering; changes nothing."))
@click.option(
    "--for", "target", required=True, type=click.Choice(list(FORMS)), cls=SpokenOption, help=N_("The target.")
)
@_routes
@click.option("--asn", type=click.IntRange(1, 2**32 - 1), cls=SpokenOption, help=N_("Your AS number."))
@click.option("--peer", cls=SpokenOption, help=N_("Address of the BGP neighbour that hears the routes."))
@click.option(
    "--peer-asn", type=click.IntRange(1, 2**32 - 1), cls=SpokenOption, help=N_("Its AS number; yours if not given.")
)
@click.option("--local", cls=SpokenOption, help=N_("exabgp: the address that it speaks from."))
@json_option
def config(
    as_json: bool,
    target: str,
    rtbh: bool,
    next_hops: Sequence[str],
    flowspec: bool,
    asn: int | None,
    peer: str | None,
    peer_asn: int | None,
    local: str | None,
) -> None:
    form = FORMS[target]
    hops = _check(target, form, rtbh, flowspec, next_hops)
    if (rtbh or flowspec) and (asn is None or peer is None):
        raise click.UsageError(_("what is announced over BGP needs --asn and --peer"))
    if form.needs_local and local is None:
        raise click.UsageError(_("{target} needs --local, the address that it speaks from").format(target=target))
    neighbour, speaker = (address_of(text) if text else "" for text in (peer, local))
    own = asn or 0
    text = "\n".join(form.setup(Setup(rtbh, flowspec, hops, own, neighbour, peer_asn or own, speaker)))
    answer(as_json, {"target": target, "config": text + "\n"}, text)


def _check(target: str, form: Form | None, rtbh: bool, flowspec: bool, next_hops: Sequence[str]) -> dict[int, str]:
    """The next hops by IP version; raises UsageError where the target cannot do what is asked."""
    check_announces(target, form.announces if form else frozenset(), rtbh=rtbh, flowspec=flowspec)
    if form and form.must_announce and not (rtbh or flowspec):
        raise click.UsageError(_("{target} announces routes: choose --rtbh, --flowspec or both").format(target=target))
    hops = hops_of(next_hops)
    if rtbh and not hops:
        raise click.UsageError(_("--rtbh needs --next-hop, the address that your routers discard"))
    return hops


def _order(wish: Wish, form: Form, rtbh: bool, flowspec: bool, hops: dict[int, str]) -> Order:
    lasting = wish.lasting(wish.lifetime_hours) if form.times_out else ()
    serial = wish.accepted.manifest.serial
    return Order(wish.wanted.filter, serial, hours(wish.now), rtbh, flowspec, hops, lasting)


def _lines_of(previous: Path) -> list[str]:
    try:
        if previous.stat().st_size > MAX_PREVIOUS_BYTES:
            raise Rejected(_("{path} is too large to be a rendering").format(path=previous))
        return previous.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else _("it is not UTF-8 text")
        raise Rejected(
            _("{path} cannot be read: {why}").format(path=previous, why=why),
            then=_("give the file that this command printed last, or leave --previous out the first time"),
        ) from None


def _changes(old: Sequence[str], new: Sequence[str], undo: Callable[[str], str | None]) -> Iterator[str]:
    """What is gone is taken back first; what is there already is not said again."""
    before, after = set(old), set(new)
    for line in new:
        if undo(line) is None:
            yield line
    for line in old:
        taken_back = undo(line)
        if taken_back is not None and line not in after:
            yield taken_back
    for line in new:
        if undo(line) is not None and line not in before:
            yield line


def _write(into: Path, target: str, lines: Sequence[str], part_lines: int | None) -> list[str]:
    """Write the parts and take away older ones beyond them; returns their paths."""
    size = part_lines or max(len(lines), 1)
    parts = [lines[start : start + size] for start in range(0, len(lines), size)]
    width = max(3, len(str(len(parts))))
    paths = [
        into / (f"{target}-{n:0{width}}.rsc" if part_lines else f"{target}.conf") for n in range(1, len(parts) + 1)
    ]
    with durable.told():
        into.mkdir(parents=True, exist_ok=True)
        for path, part in zip(paths, parts, strict=True):
            durable.write(path, ("\n".join(part) + "\n").encode())
        for stale in set(into.glob(f"{target}-*.rsc")) - set(paths):
            stale.unlink()
    return [str(path) for path in paths]
