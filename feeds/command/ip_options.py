"""The options that the commands of `blocker ip` share."""

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from feeds.command.state import state_option
from feeds.ipfilter.carried.ways import WAYS
from feeds.ipfilter.nft.layout import HOOKS
from feeds.language import N_, _
from feeds.terminal import SpokenOption, json_option

MAX_ADDRESSES = 1_000_000
# 256 prefixes of the widest kind that the floor lets pass, /48.
MAX_NETWORKS = 256 << 16
# ipset counts to 2^31 milliseconds.
MAX_LIFETIME_HOURS = 24 * 24

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def options_for(names: Iterable[str]) -> Decorator:
    """The target, one of `names`, and the options of every command that makes a filter."""
    choice = click.Choice(list(names))
    # With spaces between, so that a line of the usage breaks between two names.
    shown = f"{{{' | '.join(choice.choices)}}}"
    return _all(click.argument("target", type=choice, metavar=shown), *_options())


def _all(*options: Decorator) -> Decorator:
    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
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

# Of a command that also reaches targets behind a file.
carried_options = _all(
    click.option(
        "--file",
        type=click.Path(path_type=Path),
        cls=SpokenOption,
        help=N_("Targets behind a file: the file that holds what was told to the target (routeros: a link to parts)."),
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
    click.option(
        "--read",
        "reads",
        multiple=True,
        metavar="COMMAND",
        cls=SpokenOption,
        help=N_("frr, gobgp: what prints all that it holds, where --run replaces the usual commands; may be repeated."),
    ),
    next_hop_option,
    click.option(
        "--rtbh",
        is_flag=True,
        cls=SpokenOption,
        help=N_("Routers: tell --run the static blackhole routes that change, instead of writing prefix lists."),
    ),
    click.option(
        "--flowspec",
        is_flag=True,
        cls=SpokenOption,
        help=N_("bird, exabgp, gobgp: announce rules limited to ports as Flowspec."),
    ),
)

exceptions_option = click.option(
    "--except",
    "exceptions",
    type=click.Path(path_type=Path),
    cls=SpokenOption,
    help=N_("File of addresses and prefixes of yours that are never dropped, one a line."),
)

metrics_option = click.option(
    "--metrics-file",
    type=click.Path(path_type=Path, dir_okay=False),
    cls=SpokenOption,
    help=N_("Write metrics for node_exporter here."),
)


def _options() -> Sequence[Decorator]:
    return (
        state_option,
        exceptions_option,
        click.option(
            "--hook",
            "hooks",
            multiple=True,
            type=click.Choice(HOOKS),
            default=(HOOKS[0],),
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


def check_carried(target: str, given: bool) -> None:
    """Raise UsageError where options of a target behind a file are given for another."""
    if target not in WAYS and given:
        raise click.UsageError(
            _("--file, --run, --next-hop, --rtbh and --flowspec are for these targets: {able}").format(
                able=", ".join(WAYS)
            )
        )


def check_announces(target: str, announces: frozenset[str], **asked: bool) -> None:
    """Raise UsageError where the target cannot announce what is asked."""
    from feeds.ipfilter.routers import FORMS

    for word, wished in asked.items():
        if not wished or word in announces:
            continue
        if (target, word) == ("frr", "flowspec"):
            raise click.UsageError(
                _("FRR passes Flowspec on and cannot originate it: announce it with bird, exabgp or gobgp")
            )
        able = ", ".join(name for name, form in FORMS.items() if word in form.announces)
        raise click.UsageError(
            _("{target} does not know --{word}; these do: {able}").format(target=target, word=word, able=able)
        )


def hops_of(texts: Sequence[str]) -> dict[int, str]:
    """Next hops by IP version; raises UsageError."""
    return {ipaddress.ip_address(address_of(text)).version: address_of(text) for text in texts}


def address_of(text: str) -> str:
    """An address as it is written everywhere; raises UsageError."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise click.UsageError(_("«{text}» is no address").format(text=text)) from None
