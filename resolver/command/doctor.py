"""`blocker doctor`: what this machine can do for a resolver, before there is one or when it is in trouble."""

import errno
import os
import platform
import resource
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

import click

from feeds.errors import Failure, Untrusted
from feeds.language import _
from feeds.store import DEFAULT_PATH, Store
from feeds.terminal import answer, json_option, table
from resolver import lane
from resolver.command.addresses import AddressPort, label
from resolver.image import KEPT_NAME, fetch, freshness, new_memory, seal
from resolver.rights import OPEN_FILES, may_bind
from resolver.server import RECEIVE_BUFFER, tcp_socket, udp_socket
from resolver.upstream import Address


class State(StrEnum):
    """`WARNING`: it works, but not as well as it could. `BAD`: it will not start, or not do what it is for."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """`about`: one word for programs; `what` was found and what to do `then`, for people."""

    about: str
    state: State
    what: str
    then: str = ""


@click.command(
    help=_(
        "Say what this machine can do for a resolver: compiled lane, processors, ports, limits, state directory. "
        "Exit code 1 where something would keep it from its work."
    )
)
@click.option("--state", type=click.Path(path_type=Path), default=DEFAULT_PATH, show_default=True,
              help=_("The feed's state directory."))  # fmt: skip
@click.option("--listen", type=AddressPort(), multiple=True, default=["127.0.0.1:53"], show_default=True,
              help=_("Where it is to answer; many."))  # fmt: skip
@json_option
@click.pass_context
def doctor(ctx: click.Context, state: Path, listen: tuple[Address, ...], as_json: bool) -> None:
    findings = [
        _lane(),
        _processors(),
        *map(_port, listen),
        *_kernel(),
        _files(),
        _receive_buffer(),
        *_state_directory(state),
    ]
    words = {State.GOOD: _("good"), State.WARNING: _("warning"), State.BAD: _("bad")}
    rows = [(words[one.state], one.what, one.then) for one in findings]
    ok = all(one.state is not State.BAD for one in findings)
    told = {"ok": ok, "version": version("blocker"), "findings": [asdict(one) for one in findings]}
    answer(as_json, told, table((_("State"), _("Found"), _("To do")), rows))
    if not ok:
        ctx.exit(1)


def _lane() -> Finding:
    why = lane.missing()
    if not why:
        return Finding("lane", State.GOOD, _("the compiled lane is there: the fast one answers"))
    return Finding(
        "lane",
        State.WARNING,
        _("no compiled lane ({why}): the plain one answers, as well but slower").format(why=why),
        _("install a C compiler and Python's headers, then install the program again"),
    )


def _processors() -> Finding:
    ours, every = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    what = _("{n} of {all} processors may be used, so {n} processes answer").format(n=ours, all=every)
    return Finding("processors", State.GOOD, f"{what}; Python {platform.python_version()}, Linux {platform.release()}")


def _port(address: Address) -> Finding:
    where = label(address)
    if not may_bind(address[1]):
        return Finding(
            "port",
            State.BAD,
            _("{address} takes the right to bind low ports, which this user does not have").format(address=where),
            _("start it as root with --user, or by systemd with AmbientCapabilities=CAP_NET_BIND_SERVICE"),
        )
    try:
        udp_socket(*address).close()
        tcp_socket(*address).close()
    except OSError as error:
        what = _("{address} cannot be bound now: {why}").format(address=where, why=error.strerror)
        if error.errno == errno.EADDRNOTAVAIL:
            then = _("give an address that this machine has (ip address), or give it this one before the start")
            return Finding("port", State.BAD, what, then)
        return Finding(
            "port",
            State.WARNING,
            what,
            _("nothing, if the resolver runs; else see what listens there: ss -lnup, ss -lntp"),
        )
    return Finding("port", State.GOOD, _("{address} is free and can be bound").format(address=where))


def _kernel() -> Iterator[Finding]:
    """What the processes share images by, and the sockets."""
    then = _("run it on Linux 3.17 or later, without a filter of system calls that forbids this")
    try:
        memory = new_memory()
        try:
            seal(memory)
        finally:
            os.close(memory)
        yield Finding("sealed_memory", State.GOOD, _("memory can be sealed and shared"))
    except (OSError, AttributeError) as error:
        yield Finding("sealed_memory", State.BAD, _("memory cannot be sealed: {why}").format(why=error), then)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        yield Finding("shared_ports", State.GOOD, _("several processes can answer at one port"))
    except OSError as error:
        yield Finding("shared_ports", State.BAD, _("a port cannot be shared: {why}").format(why=error.strerror), then)


def _files() -> Finding:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else hard
    what = _("a process may open {n} files").format(n=most)
    if most >= OPEN_FILES:
        return Finding("open_files", State.GOOD, what)
    return Finding(
        "open_files", State.WARNING, what, _("allow {n}: LimitNOFILE= of the unit, or ulimit -Hn").format(n=OPEN_FILES)
    )


def _receive_buffer() -> Finding:
    try:
        most = int(Path("/proc/sys/net/core/rmem_max").read_text())
    except (OSError, ValueError):
        return Finding("receive_buffer", State.WARNING, _("the largest receive buffer is not known here"))
    what = _("a socket may hold {n} bytes that were not read yet").format(n=most)
    if most >= RECEIVE_BUFFER:
        return Finding("receive_buffer", State.GOOD, what)
    return Finding(
        "receive_buffer",
        State.WARNING,
        what,
        _("for bursts: sysctl -w net.core.rmem_max={n}").format(n=RECEIVE_BUFFER),
    )


def _state_directory(path: Path) -> Iterator[Finding]:
    pull = _("run `blocker feed init` and `blocker feed pull`, as a user whose files the resolver's user may read")
    try:
        accepted = Store(path).accepted() if (path / "releases").is_dir() else None
    except Failure as error:
        yield Finding("release", State.BAD, error.what, error.then)
        return
    except OSError as error:
        yield Finding(
            "release", State.BAD, _("{path} cannot be read: {why}").format(path=path, why=error.strerror), pull
        )
        return
    if accepted is None:
        yield Finding("release", State.BAD, _("{path} holds no release yet").format(path=path), pull)
        return
    serial, rules = accepted.manifest.serial, accepted.counts["rules"]
    what = _("{path} holds release {serial} with {n} rules").format(path=path, serial=serial, n=rules)
    if accepted.damage:
        yield Finding("release", State.WARNING, f"{what}; {accepted.damage}", _("run `blocker feed pull`"))
    else:
        yield Finding("release", State.GOOD, what)
    yield _image(path / KEPT_NAME, freshness(version("blocker"), "release", accepted.directory.name))


def _image(path: Path, made_from: bytes) -> Finding:
    then = _("run `blocker dns compile`, or let the resolver do it at its next start, which takes longer")
    memory = new_memory()
    try:
        found = fetch(path, made_from, memory)
    except Untrusted as error:
        return Finding("image", State.WARNING, f"{path}: {error.what}", then)
    finally:
        os.close(memory)
    if found is None:
        return Finding("image", State.WARNING, _("{path} is not of this release, or not there").format(path=path), then)
    return Finding("image", State.GOOD, _("{path} is fresh: a start takes a second").format(path=path))
