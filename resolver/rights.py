"""Root only to bind: after that the process becomes an ordinary user for good."""

import codecs
import os
import pwd
from dataclasses import dataclass

from feeds.errors import Rejected, Unavailable
from feeds.language import _

DEFAULT_USER = "nobody"
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

    def drop(self) -> None:
        """Become that user, without any other group, and make sure there is no way back."""
        if self.uid == 0:
            return
        for codec in CODECS_NEEDED_LATER:
            codecs.lookup(codec)
        os.setgroups([])
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
        try:
            os.setuid(0)
        except PermissionError:
            return
        raise Unavailable(_("the rights of root could not be given up"), then=_("start it as an ordinary user"))
