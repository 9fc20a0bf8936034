"""Text without case and diacritics, so that `vi du` finds `Ví Dụ`."""

import unicodedata

from feeds.name import DomainName

# Đ is a letter of its own, not a D with a mark, so Unicode does not take it apart.
_PLAIN = str.maketrans({"đ": "d", "Đ": "d", "ð": "d", "Ð": "d"})


def fold(text: str) -> str:
    """Small letters without marks."""
    parts = unicodedata.normalize("NFD", text.translate(_PLAIN))
    return "".join(c for c in parts if not unicodedata.combining(c)).casefold()


def folded_name(text: str) -> str | None:
    """What a name is searched by beside its canonical text; None where that is the same."""
    return fold(DomainName(text).unicode) if "xn--" in text else None


def like(text: str) -> str:
    """A LIKE pattern (escape character backslash) for text that contains `text`."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
