"""`blocker zone status`: what the secondaries have fetched."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from feeds.command.state import now, state_option
from feeds.language import _
from feeds.store import Store
from feeds.terminal import answer, json_option, moment_text, table
from feeds.transfer.watching import FILE


@click.command(help=_("Which serial each secondary has, and since when."))
@state_option
@json_option
def status(state: Path, as_json: bool) -> None:
    """As `zone serve` wrote it down, a few seconds ago at most."""
    store = Store(state)
    store.settings()
    found = store.remembered(FILE)
    try:
        rows = _rows(found, now())
    except (AttributeError, KeyError, TypeError, ValueError):
        # A damaged account is forgotten, as by the primary.
        found, rows = {}, []
    columns = (_("Secondary"), _("Zone"), _("Serial"), _("Last SOA"), _("Last transfer"), _("Lag, seconds"))
    text = table(columns, [[_shown(cell) for cell in row.values()] for row in rows])
    answer(as_json, {"zones": found.get("zones", {}), "secondaries": rows}, text)


def _rows(found: dict[str, Any], moment: datetime) -> list[dict[str, Any]]:
    """`lag` is how long the present content has been there without this secondary having it, in seconds.

    It is None for a zone that the secondary never fetched: nobody has to fetch all of them.
    """
    rows = []
    for name, zones in sorted(found.get("secondaries", {}).items()):
        for zone, seen in sorted(zones.items()):
            shown = found.get("zones", {}).get(zone)
            serial, lag = seen.get("serial"), None
            if shown is not None and serial is not None:
                behind = moment - datetime.fromisoformat(shown["since"])
                lag = 0 if serial == shown["serial"] else max(0, int(behind.total_seconds()))
            rows.append(
                {
                    "secondary": name,
                    "zone": zone,
                    "serial": serial,
                    "soa": seen.get("soa"),
                    "transfer": seen.get("transfer"),
                    "lag": lag,
                }
            )
    return rows


def _shown(cell: Any) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, str) and "T" in cell and "+" in cell:
        return moment_text(datetime.fromisoformat(cell))
    return str(cell)
