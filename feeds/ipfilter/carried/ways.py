"""How each of these targets is reached: where its file is, and what is run after a change."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Way:
    """Either the file is written anew and the program told to read it, and put back if it refuses; or, `by_changes`,
    only what changes is said, so that no neighbour hears of a route that stays.

    `{file}` in `command` is the file, `{changes}` what is to be changed. `says` must be in what the command prints,
    where its exit status is no answer; `refuses` must begin none of its lines, but for those that begin with
    `forgives`: what an interrupted change has done already. `appends` says that the program itself reads what is
    appended to the file. `routes` says that prefixes are announced, rather than listed; `needs_hops` that a route
    carries its next hop, and `needs_command` that changes are lost if nothing takes them. `in_parts` is a directory
    of short files behind a symbolic link. `reads` are commands that print what the program holds, for one that forgets
    it when it is started anew; without them its file says what it holds.
    """

    file: str
    command: tuple[str, ...] = ()
    says: str = ""
    refuses: str = ""
    forgives: str = "% Refusing to remove a non-existent route"
    by_changes: bool = False
    appends: bool = False
    routes: bool = False
    needs_hops: bool = False
    needs_command: bool = False
    in_parts: bool = False
    reads: tuple[tuple[str, ...], ...] = ()


# Routers whose file somebody or something brings to them, as a whole.
LISTED = ("ios", "iosxr", "junos", "huawei", "nokia", "arista")

WAYS = {
    "bird": Way("/etc/bird/blocker.conf", ("birdc", "configure"), says="Reconfigur", routes=True),
    "frr": Way(
        "/var/lib/blocker/frr.routes",
        ("vtysh", "-f", "{changes}"),
        refuses="%",
        by_changes=True,
        routes=True,
        reads=(("vtysh", "-c", "show running-config"),),
    ),
    "exabgp": Way("/run/exabgp/blocker.commands", by_changes=True, appends=True, routes=True, needs_hops=True),
    "gobgp": Way(
        "/var/lib/blocker/gobgp.routes",
        ("sh", "-e", "{changes}"),
        by_changes=True,
        routes=True,
        needs_hops=True,
        reads=tuple(
            ("gobgp", "global", "rib", "-a", family, "-j")
            for family in ("ipv4", "ipv6", "ipv4-flowspec", "ipv6-flowspec")
        ),
    ),
    **{name: Way(f"/var/lib/blocker/{name}.conf") for name in LISTED},
    "routeros": Way("/var/lib/blocker/routeros", in_parts=True),
    "pf": Way("/etc/pf.blocked", ("pfctl", "-t", "blocked", "-T", "replace", "-f", "{file}")),
    "plain": Way("/srv/blocker/blocked.txt"),
}

# The same routers with RTBH: one static route a prefix.
_ROUTES = {
    name: Way(f"/var/lib/blocker/{name}.routes", by_changes=True, routes=True, needs_command=True) for name in LISTED
}


def way_of(name: str, rtbh: bool) -> Way:
    """The way of a target; `rtbh` asks for routes where lists are usual."""
    return _ROUTES[name] if rtbh and name in _ROUTES else WAYS[name]
