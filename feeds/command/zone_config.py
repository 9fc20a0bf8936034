"""`blocker zone config`: what is pasted into another DNS server, so that it enforces our zone."""

import base64
from pathlib import Path

import click

from feeds.command import zone_stanzas as stanzas
from feeds.command.service import Listen
from feeds.command.state import state_option
from feeds.errors import Rejected
from feeds.language import _
from feeds.name import DomainName
from feeds.render import DEFAULT_ZONE
from feeds.terminal import answer, json_option
from feeds.transfer.settings import Secondary, read_settings

PROGRAMS = [*stanzas.BY_TRANSFER, *stanzas.BY_FILE]


@click.command(
    help=_(
        "Print the stanza for the configuration of a DNS server. It holds the secret of the key.\n\n"
        "SETTINGS is the file of `blocker zone serve`; programs that read the zone from a file need none."
    )
)
@click.argument("settings", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--for", "program", type=click.Choice(PROGRAMS), required=True, help=_("Which program."))
@click.option("--secondary", "name", help=_("Its name in the settings."))
@click.option("--zone", "zone_name", default=DEFAULT_ZONE, show_default=True, help=_("Which of the settings' zones."))
@click.option("--primary", type=Listen(), help=_("Where `blocker zone serve` listens; with TLS for unbound."))
@click.option("--tls-name", help=_("unbound: the name in the primary's certificate."))
@click.option(
    "--authorities",
    type=click.Path(path_type=Path, dir_okay=False),
    default=stanzas.CERTIFICATES,
    show_default=True,
    help=_("unbound: the certificates that it trusts, in PEM."),
)
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=_("knot, dnsmasq: the file that `blocker feed follow` keeps for it."),
)
@state_option
@json_option
def config(
    settings: Path | None,
    program: str,
    name: str | None,
    zone_name: str,
    primary: tuple[str, int] | None,
    tls_name: str | None,
    authorities: Path,
    file: Path | None,
    state: Path,
    as_json: bool,
) -> None:
    """Changes nothing."""
    if program in stanzas.BY_FILE:
        text = stanzas.BY_FILE[program](stanzas.Kept(state, file))
    else:
        if settings is None or name is None or primary is None:
            raise click.UsageError(_("{program} needs SETTINGS, --secondary and --primary").format(program=program))
        if program == "unbound" and not tls_name:
            raise click.UsageError(_("unbound needs --tls-name, the name in the primary's certificate"))
        secondary = _secondary(settings, name, zone_name)
        if secondary.certificate is not None:
            raise Rejected(
                _("this stanza cannot show a certificate of the secondary's own"),
                rule="zone.stanza",
                then=_("let this secondary in by its address, by a key or by both"),
            )
        key = _key(secondary)
        tls = DomainName.parse(tls_name).name.text if tls_name else ""
        asked = stanzas.Primary(*primary, key, tls, authorities)
        text = stanzas.BY_TRANSFER[program](zone_name, asked)
    answer(as_json, {"for": program, "stanza": text}, text.removesuffix("\n"))


def _secondary(settings: Path, name: str, zone_name: str) -> Secondary:
    """That secondary; raises Rejected where the settings do not hold it and the zone."""
    found = read_settings(settings)
    secondary = next((one for one in found.secondaries if one.name == name), None)
    if secondary is None or zone_name not in [zone.name.text for zone in found.zones]:
        raise Rejected(
            _("the settings know no such secondary or zone: {name}, {zone}").format(name=name, zone=zone_name),
            rule="zone.settings",
            then=_("choose names that stand in {path}").format(path=settings),
        )
    return secondary


def _key(secondary: Secondary) -> tuple[str, str, str] | None:
    """Name, algorithm and secret in base64."""
    key = secondary.key
    if key is None:
        return None
    texts = (key.name.to_text(omit_final_dot=True), key.algorithm.to_text(omit_final_dot=True))
    return (*texts, base64.b64encode(key.secret).decode())
