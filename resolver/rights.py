"""Root only to start: after that the processes are an ordinary user's for good.

A lane that is started again must bind port 53 again, long after root is gone. So that one right
(CAP_NET_BIND_SERVICE) stays permitted, but asleep, in the process that forks lanes and in the one that would take its
place; a lane wakes it to bind and then gives it up, and the control process never has it (capabilities(7)).
"""

import codecs
import ctypes
import os
import pwd
import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from feeds.errors import Rejected, Unavailable
from feeds.language import _

DEFAULT_USER = "nobody"
CAP_NET_BIND_SERVICE = 10
FIRST_FREE_PORT = 1024
OPEN_FILES = 65_536
LESS_URGENT = 5
_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_SET_NAME, _PR_SET_NO_NEW_PRIVS = 1, 8, 15, 38
_CAPABILITY_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)
# Python loads a codec at its first use, from files that the ordinary user may not be let to read.
CODECS_NEEDED_LATER = ("ascii", "latin-1", "utf-8", "unicode_escape", "idna", "punycode")


@dataclass(frozen=True, slots=True)
class Rights:
    """The user to become; uid 0: stay root, since it was asked for by name."""

    uid: int
    gid: int

    @classmethod
    def of(cls, user: str | None) -> "Rights | None":
        """None where we are no root and nothing is to be given up; raises Rejected for an unknown or another user."""
        if os.geteuid() != 0 and user is None:
            return None
        try:
            found = pwd.getpwnam(user or DEFAULT_USER)
        except KeyError:
            raise Rejected(
                _("there is no user {user}").format(user=user or DEFAULT_USER),
                rule="user.unknown",
                then=_("name one with --user"),
            ) from None
        if os.geteuid() != 0:
            if found.pw_uid == os.geteuid():
                return None
            raise Rejected(
                _("only root can become another user"), rule="user.root", then=_("leave out --user, or start as root")
            )
        return cls(found.pw_uid, found.pw_gid)

    def drop(self, *, keep_binding: bool = False) -> None:
        """Become that user, without any other group, and make sure there is no way back.

        `keep_binding`: the right to bind low ports stays permitted if we have it, asleep.
        """
        if self.uid == 0:
            return
        for codec in CODECS_NEEDED_LATER:
            codecs.lookup(codec)
        os.setgroups([])
        os.setresgid(self.gid, self.gid, self.gid)
        _libc.prctl(_PR_SET_KEEPCAPS, int(keep_binding), 0, 0, 0)
        os.setresuid(self.uid, self.uid, self.uid)
        try:
            os.setuid(0)
        except PermissionError:
            return
        raise Unavailable(_("the rights of root could not be given up"), then=_("start it as an ordinary user"))


def need_rights(ports: Iterable[int]) -> bool:
    """Does one of these ports take more than an ordinary user has?"""
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except (OSError, ValueError):
        first = FIRST_FREE_PORT
    return any(0 < port < first for port in ports)


def may_bind(port: int) -> bool:
    """Have we the right to bind this port?"""
    return not need_rights((port,)) or bool(_permitted() & 1 << CAP_NET_BIND_SERVICE)


def allow_files() -> None:
    """Let this process and its children open as many files as a busy lane needs, or as many as is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def keep_binding_asleep() -> None:
    """Give up all rights but that to bind low ports, and that one too until `binding`; also in children."""
    if os.geteuid() != 0:
        _set_capabilities(effective=0, permitted=_permitted() & 1 << CAP_NET_BIND_SERVICE)


def give_up_binding() -> None:
    """Give up all rights, for good."""
    if os.geteuid() != 0:
        _set_capabilities(effective=0, permitted=0)
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


@contextmanager
def binding() -> Iterator[None]:
    """Within, low ports can be bound, if that right was kept; afterwards it is gone for good."""
    if os.geteuid() != 0:
        permitted = _permitted()
        _set_capabilities(effective=permitted, permitted=permitted)
    try:
        yield
    finally:
        give_up_binding()


def end_with_parent(signal: int) -> None:
    """Have this signal when the process that forked us ends. Changing user undoes it."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0)


def give_way() -> None:
    """Let the processes that answer go first. Where that is not allowed (a unit's filter) we go on as we are."""
    with suppress(OSError):
        os.nice(LESS_URGENT)


def call_process(name: str) -> None:
    """What `ps` and `top` show this process as: up to 15 octets."""
    _libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def _permitted() -> int:
    found = (ctypes.c_uint32 * 6)()
    if _libc.capget((ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), found) != 0:
        return 0
    return int(found[1]) | int(found[4]) << 32


def _set_capabilities(*, effective: int, permitted: int) -> None:
    """None is inheritable, so no program that is executed gets any (and none is ambient)."""
    mask = 0xFFFF_FFFF
    wanted = (effective & mask, permitted & mask, 0, effective >> 32, permitted >> 32, 0)
    if _libc.capset((ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)(*wanted)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
