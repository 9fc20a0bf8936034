"""The state directory as an option of every ISP command, and what each prints of it."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from feeds.language import N_, _
from feeds.store import DEFAULT_PATH, HeldChange, Store
from feeds.terminal import SpokenOption, moment_text

_F = TypeVar("_F", bound=Callable[..., Any])


def state_option(command: _F) -> _F:
    """`--state DIR`, from BLOCKER_STATE, default /var/lib/blocker/feed."""
    option = click.option(
        "--state",
        cls=SpokenOption,
        type=click.Path(path_type=Path, file_okay=False),
        envvar="BLOCKER_STATE",
        default=DEFAULT_PATH,
        show_default=True,
        help=N_("The directory that holds the accepted releases."),
    )
    return option(command)


def now() -> datetime:
    """The machine's clock; `Store.clock` keeps it from going backwards."""
    return datetime.now(UTC)


def status_rows(store: Store, moment: datetime) -> list[tuple[str, object]]:
    """The lines of `feed status`."""
    data = store.status()
    accepted, held, expires = store.accepted(), store.held(), store.expires()
    rows: list[tuple[str, object]] = [(_("State directory"), store.path), (_("Feed"), data["url"])]
    if store.training:
        rows.append((_("Kind"), _("TRAINING")))
    if accepted is None:
        rows.append((_("Release"), _("none accepted yet")))
    else:
        manifest = accepted.manifest
        counts = _("{names} names, {prefixes} prefixes").format(
            names=accepted.counts.get("names", 0), prefixes=accepted.counts.get("prefixes", 0)
        )
        rows += [
            (_("Authority"), f"{manifest.authority_name} ({manifest.authority})"),
            (_("Release"), manifest.serial),
            (_("Digest"), manifest.digest),
            (_("Signed"), moment_text(manifest.issued)),
            (_("Accepted"), moment_text(accepted.accepted_at)),
            (_("Enforced"), counts),
        ]
        if accepted.refused:
            rows.append((_("Refused"), refused_text(accepted.refused)))
        if accepted.damage:
            rows.append((_("Damage"), accepted.damage))
        if accepted.accepted_at > moment:
            rows.append((_("Clock"), _("this machine's clock stands before the last accept")))
    if expires is not None:
        gone = " - " + _("EXPIRED") if expires <= moment else ""
        rows.append((_("Feed valid until"), moment_text(expires) + gone))
    if held is not None:
        rows += held_rows(held)
    return rows


def held_rows(held: HeldChange) -> list[tuple[str, object]]:
    """What the brake holds back."""
    return [
        (_("HELD release"), f"{held.serial} {held.digest}"),
        (_("Held since"), moment_text(held.since)),
        (_("Held because"), "\n".join(held.reasons)),
    ]


def refused_text(refused: Any) -> str:
    """`3 floor.single-label, 1 decision.missing`"""
    return ", ".join(f"{count} {rule}" for rule, count in sorted(dict(refused).items()))
