"""`blocker dns zones`."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click

from feeds.errors import Failure
from feeds.language import _
from feeds.terminal import answer, json_option, table
from resolver.command.zones import foreign_zones, zone_options
from resolver.frames import ZoneLoaded
from resolver.image import new_memory
from resolver.zones.loading import load_zone
from resolver.zones.meaning import REASONS
from resolver.zones.metrics import checked_at
from resolver.zones.settings import ForeignZone


@click.command(
    name="zones",
    help=_(
        "Read foreign zones as `blocker dns serve` with the same options does, and say what becomes of them: "
        "rules, and records that no rule can be made of, by reason. Exit code 1 if one cannot be used."
    ),
)
@zone_options
@json_option
@click.pass_context
def zones(
    ctx: click.Context,
    zones: tuple[ForeignZone, ...],
    zone_policies: tuple[tuple[str, str], ...],
    zone_settings: Path | None,
    zone_state: Path,
    as_json: bool,
) -> None:
    if not zones:
        raise click.UsageError(_("give at least one --zone ZONE=SOURCE"))
    found = [_read(zone, zone_state) for zone in foreign_zones(zones, zone_policies, zone_settings)]
    answer(as_json, {"zones": list(map(_as_json, found))}, "\n".join(map(_as_text, found)))
    if any(zone.problem for zone in found):
        ctx.exit(Failure.exit_code)


def _read(zone: ForeignZone, folder: Path) -> ZoneLoaded:
    try:
        return load_zone(zone, folder, version("blocker"), new_memory(), None).loaded
    except Failure as failure:
        return ZoneLoaded(zone.name, 0, 0, {}, zone.policy, problem=failure.what)


def _as_json(zone: ZoneLoaded) -> dict[str, object]:
    return {
        "zone": zone.name,
        "serial": zone.serial,
        "rules": zone.rules,
        "policy": zone.policy,
        "skipped": dict(zone.skipped),
        "changed": _moment(zone.changed_at),
        "checked": _moment(checked_at(zone)),
        "problem": zone.problem,
    }


def _as_text(zone: ZoneLoaded) -> str:
    rows = [
        (_("Serial"), f"{zone.serial}"),
        (_("Rules"), f"{zone.rules}"),
        (_("Policy"), zone.policy),
        *((_("Left out"), f"{count} × {_(REASONS[reason])}") for reason, count in sorted(zone.skipped.items())),
        (_("Changed"), _moment(zone.changed_at)),
        (_("Checked"), _moment(checked_at(zone))),
        (_("Problem"), zone.problem),
    ]
    return table((_("Zone"), zone.name), [row for row in rows if row[1]])


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else ""
