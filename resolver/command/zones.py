"""The options of `blocker dns serve` about foreign zones."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click
import dns.rdata

from feeds.language import _
from feeds.message.building import encode_name
from resolver.command.addresses import AddressPort
from resolver.zones.meaning import override_of
from resolver.zones.settings import DISABLED, Address, Credentials, ForeignZone, Primary, read_credentials

DEFAULT_ZONE_STATE = Path("/var/lib/blocker/zones")
# dnspython leaves it bare.
_load_all_types: Any = dns.rdata.load_all_types
F = TypeVar("F", bound=Callable[..., Any])


class _Named(click.ParamType[tuple[str, str]]):
    """`NAME=VALUE`, the name being a zone's."""

    name = "name=value"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, _equals, rest = str(value).partition("=")
        name = name.strip().lower().removesuffix(".")
        try:
            good = encode_name(name) != b"\0" and rest.strip() != "" and name.isprintable() and "/" not in name
        except ValueError:
            good = False
        if not good:
            self.fail(_("«{text}» is not ZONE=VALUE, such as rpz.example=…").format(text=value), param, ctx)
        return name, rest.strip()


class _ZoneSource(click.ParamType[ForeignZone]):
    """`NAME=FILE` or `NAME=ADDRESS[:PORT]`, several addresses with commas between."""

    name = "name=source"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> ForeignZone:
        if isinstance(value, ForeignZone):
            return value
        name, source = _Named().convert(value, param, ctx)
        addresses = [_address(part) for part in source.split(",")]
        if None in addresses:
            return ForeignZone(name, Path(source))
        return ForeignZone(name, primary=Primary(tuple(filter(None, addresses))))


def _address(text: str) -> Address | None:
    """The address and port of a primary; port 0 where none is given; None for anything else, such as a file."""
    try:
        return AddressPort(0).convert(text, None, None)
    except click.BadParameter:
        return None


class _ZonePolicy(_Named):
    """`NAME=POLICY`"""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        name, policy = super().convert(value, param, ctx)
        policy = " ".join(policy.lower().split())
        try:
            if policy != DISABLED:
                override_of(policy)
        except ValueError:
            self.fail(
                _(
                    "«{text}»: a policy is given, disabled, nxdomain, nodata, passthru, drop, tcp-only or cname NAME"
                ).format(text=policy),
                param,
                ctx,
            )
        return name, policy


def zone_options(command: F) -> F:
    """Add `--zone`, `--zone-policy`, `--zone-settings` and `--zone-state`."""
    for option in (
        click.option(
            "--zone-settings",
            type=click.Path(path_type=Path),
            help=_("TOML file with TSIG keys and certificates of the primaries that zones are transferred from."),
        ),
        click.option(
            "--zone-state",
            type=click.Path(path_type=Path),
            default=DEFAULT_ZONE_STATE,
            show_default=True,
            help=_("Where foreign zones and their images are kept."),
        ),
        click.option(
            "--zone-policy",
            "zone_policies",
            type=_ZonePolicy(),
            multiple=True,
            metavar="ZONE=POLICY",
            help=_(
                "What all rules of that zone do, whatever they say: given (the default), disabled, nxdomain, nodata, "
                "passthru, drop, tcp-only or cname NAME."
            ),
        ),
        click.option(
            "--zone",
            "zones",
            type=_ZoneSource(),
            multiple=True,
            metavar="ZONE=SOURCE",
            help=_(
                "A foreign RPZ zone, from a zone file (or .gz) or transferred from ADDRESS[:PORT], asked after the "
                "feed in the order given; many. Without --state and --list it is enforced instead of a feed."
            ),
        ),
    ):
        command = option(command)
    return command


def foreign_zones(
    zones: Iterable[ForeignZone], policies: Iterable[tuple[str, str]], settings: Path | None
) -> tuple[ForeignZone, ...]:
    """The zones with what the operator makes of them, and how their primaries are spoken to.

    Raises UsageError for a zone that is named twice, or only where it is not given; Rejected for bad settings.
    """
    found: dict[str, ForeignZone] = {}
    for zone in zones:
        if zone.name in found:
            raise click.UsageError(_("two zones have the name {value}").format(value=zone.name))
        found[zone.name] = zone
    for name, policy in policies:
        if name not in found:
            raise click.UsageError(_("--zone-policy: there is no zone {zone}").format(zone=name))
        found[name] = replace(found[name], policy=policy)
    credentials = read_credentials(settings) if settings is not None else {}
    for name in sorted(credentials.keys() - {zone.name for zone in found.values() if zone.primary}):
        raise click.UsageError(_("--zone-settings: no zone {zone} is transferred").format(zone=name))
    if found:
        # Once the rights are gone, the files of Python itself may be out of reach.
        _load_all_types(disable_dynamic_load=False)
    return tuple(_with_primary(zone, credentials.get(zone.name, Credentials())) for zone in found.values())


def _with_primary(zone: ForeignZone, proof: Credentials) -> ForeignZone:
    if zone.primary is None:
        return zone
    port = 53 if proof.certificate is None else 853
    addresses = tuple((host, given or port) for host, given in zone.primary.addresses)
    return replace(zone, primary=Primary(addresses, proof.key, proof.certificate))
