"""The options of `blocker dns serve` about foreign zones."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from feeds.language import _
from feeds.message.building import encode_name
from resolver.zones.meaning import override_of
from resolver.zones.settings import DISABLED, ForeignZone

DEFAULT_ZONE_STATE = Path("/var/lib/blocker/zones")
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
            good = encode_name(name) != b"\0" and rest.strip() != "" and name.isprintable()
        except ValueError:
            good = False
        if not good:
            self.fail(_("«{text}» is not ZONE=VALUE, such as rpz.example=…").format(text=value), param, ctx)
        return name, rest.strip()


class _ZoneFile(click.ParamType[ForeignZone]):
    """`NAME=FILE`"""

    name = "name=file"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> ForeignZone:
        if isinstance(value, ForeignZone):
            return value
        name, file = _Named().convert(value, param, ctx)
        return ForeignZone(name, Path(file))


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
    """Add `--zone`, `--zone-policy` and `--zone-state`."""
    for option in (
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
            type=_ZoneFile(),
            multiple=True,
            metavar="ZONE=FILE",
            help=_(
                "A foreign RPZ zone from a zone file (or .gz), asked after the feed in the order given; many. "
                "Without --state and --list it is enforced instead of a feed."
            ),
        ),
    ):
        command = option(command)
    return command


def with_policies(zones: Iterable[ForeignZone], policies: Iterable[tuple[str, str]]) -> tuple[ForeignZone, ...]:
    """The zones with what the operator makes of them; raises UsageError for a name that is there twice or not."""
    found: dict[str, ForeignZone] = {}
    for zone in zones:
        if zone.name in found:
            raise click.UsageError(_("two zones have the name {value}").format(value=zone.name))
        found[zone.name] = zone
    for name, policy in policies:
        if name not in found:
            raise click.UsageError(_("--zone-policy: there is no zone {zone}").format(zone=name))
        found[name] = replace(found[name], policy=policy)
    return tuple(found.values())
