"""`blocker zone config`: the stanza that makes another DNS server a secondary, to be pasted as it is."""

from dataclasses import dataclass
from pathlib import Path

import click

from feeds.command.service import Listen
from feeds.errors import Rejected
from feeds.language import _
from feeds.terminal import answer, json_option
from feeds.transfer.settings import Secondary, read_settings

# `log no`: a log of rewritten answers would hold clients' addresses. Without `qname-wait-recurse no` a blocked name
# whose own servers fail would not be refused.
BIND = """\
// {into_options}
response-policy {{ zone "{zone}" policy given max-policy-ttl 300 min-update-interval 1 log no; }}
    qname-wait-recurse no nsip-wait-recurse no;

// {outside}
{key}zone "{zone}" {{
    type secondary;
    primaries {{ {host} port {port}{with_key}; }};
    file "{zone}.db";
    masterfile-format raw;
    allow-query {{ none; }};
    allow-transfer {{ none; }};
    notify no;
}};
"""
BIND_KEY = 'key "{name}" {{ algorithm {algorithm}; secret "{secret}"; }};\n'

# A NOTIFY does not wake the RPZ of the Recursor (4.8), so it asks every two seconds; an unchanged zone costs one SOA.
POWERDNS = """\
-- {before}
rpzPrimary({{"{host}:{port}"}}, "{zone}", {{{tsig}refresh=2, maxReceivedMBytes=1024, axfrTimeout=600,
    dumpFile="/var/lib/powerdns/{zone}.rpz", seedFile="/var/lib/powerdns/{zone}.rpz"}})

# {settings}
packetcache-ttl=2

# {after}
packetcache:
  ttl: 2
recursor:
  rpzs:
    - name: "{zone}"
      addresses: ["{host}:{port}"]
{yaml_tsig}      refresh: 2
      maxReceivedMBytes: 1024
      axfrTimeout: 600
      dumpFile: "/var/lib/powerdns/{zone}.rpz"
      seedFile: "/var/lib/powerdns/{zone}.rpz"
"""


@dataclass(frozen=True, slots=True)
class _Wish:
    zone: str
    host: str
    port: int
    secondary: Secondary


@click.command(help=_("Print the stanza for the configuration of a DNS server. It holds the secret of the key."))
@click.argument("settings", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--for", "program", type=click.Choice(["bind", "powerdns"]), required=True, help=_("Which program."))
@click.option("--secondary", "name", required=True, help=_("Its name in the settings."))
@click.option("--zone", "zone_name", required=True, help=_("Which of the settings' zones."))
@click.option("--primary", type=Listen(), required=True, help=_("Where `blocker zone serve` listens."))
@json_option
def config(
    settings: Path,
    program: str,
    name: str,
    zone_name: str,
    primary: tuple[str, int],
    as_json: bool,
) -> None:
    """Changes nothing."""
    found = read_settings(settings)
    secondary = next((one for one in found.secondaries if one.name == name), None)
    if secondary is None or zone_name not in [zone.name.text for zone in found.zones]:
        raise Rejected(
            _("the settings know no such secondary or zone: {name}, {zone}").format(name=name, zone=zone_name),
            rule="zone.settings",
            then=_("choose names that stand in {path}").format(path=settings),
        )
    wish = _Wish(zone_name, *primary, secondary)
    text = _bind(wish) if program == "bind" else _powerdns(wish)
    answer(as_json, {"for": program, "stanza": text}, text.removesuffix("\n"))


def _key(wish: _Wish) -> tuple[str, str, str] | None:
    """Name, algorithm and secret in base64."""
    import base64

    key = wish.secondary.key
    if key is None:
        return None
    texts = (key.name.to_text(omit_final_dot=True), key.algorithm.to_text(omit_final_dot=True))
    return (*texts, base64.b64encode(key.secret).decode())


def _bind(wish: _Wish) -> str:
    key = _key(wish)
    return BIND.format(
        into_options=_("inside options {{ }}").format(),
        outside=_("outside options"),
        zone=wish.zone,
        host=wish.host,
        port=wish.port,
        key=BIND_KEY.format(name=key[0], algorithm=key[1], secret=key[2]) if key else "",
        with_key=f' key "{key[0]}"' if key else "",
    )


def _powerdns(wish: _Wish) -> str:
    key = _key(wish)
    lua = yaml = ""
    if key:
        lua = f'tsigname="{key[0]}", tsigalgo="{key[1]}", tsigsecret="{key[2]}",\n    '
        yaml = f'      tsig: {{name: "{key[0]}", algo: "{key[1]}", secret: "{key[2]}"}}\n'
    return POWERDNS.format(
        before=_("before 5.2, in the Lua configuration"),
        settings=_("before 5.2, in recursor.conf: a blocked answer must not outlive its rule"),
        after=_("from 5.2 on, in YAML"),
        zone=wish.zone,
        host=f"[{wish.host}]" if ":" in wish.host else wish.host,
        port=wish.port,
        tsig=lua,
        yaml_tsig=yaml,
    )
