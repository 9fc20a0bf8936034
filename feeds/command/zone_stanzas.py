"""What stands in another DNS server's configuration, so that it enforces our zone: one stanza a program.

Each works as it is pasted and writes no client's address anywhere. Comments say what is not in the stanza itself.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from feeds.errors import Rejected
from feeds.language import _

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
DNS_PORT = 53
TLS_PORT = 853


@dataclass(frozen=True, slots=True)
class Primary:
    """Whom a secondary asks. `key`: name, algorithm and secret in base64; `tls_name` stands in the certificate."""

    host: str
    port: int
    key: tuple[str, str, str] | None
    tls_name: str
    authorities: Path


@dataclass(frozen=True, slots=True)
class Kept:
    """For programs that read a file: where `blocker feed follow` keeps it, and from which state directory."""

    state: Path
    file: Path | None


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

# A NOTIFY does not wake the RPZ of the Recursor (4.8), so it asks every second; an unchanged zone costs one SOA.
POWERDNS = """\
-- {before}
rpzPrimary({{"{host}:{port}"}}, "{zone}", {{{tsig}refresh=1, maxReceivedMBytes=1024, axfrTimeout=600,
    dumpFile="/var/lib/powerdns/{zone}.rpz", seedFile="/var/lib/powerdns/{zone}.rpz"}})

# {settings}
packetcache-ttl=1

# {after}
packetcache:
  ttl: 1
recursor:
  rpzs:
    - name: "{zone}"
      addresses: ["{host}:{port}"]
{yaml_tsig}      refresh: 1
      maxReceivedMBytes: 1024
      axfrTimeout: 600
      dumpFile: "/var/lib/powerdns/{zone}.rpz"
      seedFile: "/var/lib/powerdns/{zone}.rpz"
"""

# Unbound (1.17) knows no TSIG; TLS with the primary's name proves who it is. Before a transfer it asks for the SOA
# over plain UDP: on its own `port:` where the primary's port is its `tls-port:`, else on the primary's port.
UNBOUND = """\
# {serving}
#     blocker zone serve ... {listen}
server:
    # {once}
    module-config: "respip validator iterator"
    tls-cert-bundle: "{authorities}"
rpz:
    name: "{zone}"
    primary: {host}@{port}#{tls_name}
    zonefile: "/var/lib/unbound/{zone}.zone"
    rpz-log: no
"""

# Prefixes mean nothing to Knot, so it gets the form without them. `true` needs lua-cqueues: without it Knot says so
# at its start. It then reads the file by itself whenever that is replaced, in every process. The SOA of DENY_MSG lets
# a refusal be kept for three hours, so it is written anew with five minutes: then what is unblocked is found again.
KNOT = """\
-- {before} {file_first}
--     {follow_5}
-- {above}
local deny = policy.DENY_MSG(nil, kres.extended_error.CENSORED)
local function refuse(state, req)
    req:set_extended_error(kres.extended_error.CENSORED, '{message}')
    local done, answer = deny(state, req), req.answer
    if answer ~= nil then
        answer:clear_payload()
        req:ensure_edns()
        answer:begin(kres.section.AUTHORITY)
        answer:put(answer:qname(), 300, answer:qclass(), kres.type.SOA,
            answer:qname() .. '\\6nobody\\7invalid\\0' .. ('\\0\\0\\1\\44'):rep(5))
    end
    return done
end
policy.add(policy.rpz(refuse, '{file}', true))

# {after} {file_first}
#     {follow_6}
local-data:
  rpz:
    - file: {file}
      watchdog: false
"""

# dnsmasq reads `address=` lines at its start only.
DNSMASQ = """\
# {file_first}
#     {follow}
conf-file={file}
"""


def bind(zone: str, primary: Primary) -> str:
    """BIND 9.16 and later; TSIG where the secondary has a key."""
    key = primary.key
    return BIND.format(
        into_options=_("inside options {{ }}").format(),
        outside=_("outside options"),
        zone=zone,
        host=primary.host,
        port=primary.port,
        key=BIND_KEY.format(name=key[0], algorithm=key[1], secret=key[2]) if key else "",
        with_key=f' key "{key[0]}"' if key else "",
    )


def powerdns(zone: str, primary: Primary) -> str:
    """PowerDNS Recursor, in Lua and in YAML."""
    key = primary.key
    lua = yaml = ""
    if key:
        lua = f'tsigname="{key[0]}", tsigalgo="{key[1]}", tsigsecret="{key[2]}",\n    '
        yaml = f'      tsig: {{name: "{key[0]}", algo: "{key[1]}", secret: "{key[2]}"}}\n'
    return POWERDNS.format(
        before=_("before 5.2, in the Lua configuration"),
        settings=_("before 5.2, in recursor.conf: a blocked answer must not outlive its rule"),
        after=_("from 5.2 on, in YAML"),
        zone=zone,
        host=_bracketed(primary.host),
        port=primary.port,
        tsig=lua,
        yaml_tsig=yaml,
    )


def unbound(zone: str, primary: Primary) -> str:
    """Unbound 1.13 and later, over TLS; raises Rejected where the secondary is known by a key."""
    if primary.key is not None:
        raise Rejected(
            _("Unbound cannot sign with a key (TSIG)"),
            rule="zone.stanza",
            then=_("give this secondary an address in the settings, and no key"),
        )
    host = _bracketed(primary.host)
    tls = f"--tls {host}:{primary.port}"
    plain = DNS_PORT if primary.port == TLS_PORT else primary.port
    serving = _("Unbound asks for the serial over plain UDP, on port {plain}; so the primary runs with").format(
        plain=plain
    )
    return UNBOUND.format(
        serving=serving,
        # Beside TLS the primary answers UDP on that port by itself.
        listen=tls if plain == primary.port else f"--listen {host}:{plain} {tls}",
        once=_("the last line of each of these names counts: if there are others already, mend them"),
        authorities=primary.authorities,
        zone=zone,
        host=primary.host,
        port=primary.port,
        tls_name=primary.tls_name,
    )


def knot(kept: Kept) -> str:
    """Knot Resolver 5 (Lua) and 6 (YAML)."""
    file = kept.file or Path("/var/lib/knot-resolver/blocker.rpz")
    return KNOT.format(
        before=_("before 6, in kresd.conf."),
        after=_("from 6 on, in config.yaml."),
        file_first=_("The file must be there first; what keeps it:"),
        above=_("Above every other policy.add: the first that matches decides."),
        follow_5=_follow("rpz-names", file, "true", kept.state),
        follow_6=_follow("rpz-names", file, "kresctl reload --force", kept.state),
        message=_("blocked by decision of the authority").replace("\\", "\\\\").replace("'", "\\'"),
        file=file,
    )


def dnsmasq(kept: Kept) -> str:
    """dnsmasq 2.86 and later."""
    file = kept.file or Path("/etc/blocker/dnsmasq.conf")
    return DNSMASQ.format(
        file_first=_("The file must be there first; what keeps it:"),
        follow=_follow("dnsmasq", file, "systemctl restart dnsmasq", kept.state),
        file=file,
    )


# How the program gets the zone: from a primary, or from a file.
BY_TRANSFER: dict[str, Callable[[str, Primary], str]] = {"bind": bind, "unbound": unbound, "powerdns": powerdns}
BY_FILE: dict[str, Callable[[Kept], str]] = {"knot": knot, "dnsmasq": dnsmasq}


def _follow(form: str, file: Path, command: str, state: Path) -> str:
    words = ["blocker", "feed", "follow", "--state", str(state), "--render", form, "--to", str(file), "--run", command]
    return shlex.join(words)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
