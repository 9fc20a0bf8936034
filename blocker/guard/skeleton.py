"""What a name looks like to a hurried reader: names with the same skeleton are twins."""

import unicodedata

import idna

# Letters of other scripts that are drawn as Latin ones, and digits and pairs that are read as letters.
_PAIRS = """
    аa еe іi јj оo рp сc уy хx ѕs һh ԁd ԛq ԝw вb ьb кk мm нh тt пn ӏl ґr гr
    αa εe ιi κk νv οo ρp τt υu χx βb ηn ωw γy μm σo
    օo սu հh ցg զq ոn ѵv
    ıi ɩi ɪi ɡg ʟl łl øo đd ðd ħh ŧt ƅb ƒf ʏy ᴏo
    0o 1l
"""
_LOOKALIKES = str.maketrans({pair[0]: pair[1] for pair in _PAIRS.split()})


def skeleton(name: str) -> str:
    """The skeleton of a canonical name: accents, foreign letters and look-alike digits reduced to plain letters."""
    if "xn--" in name:
        name = ".".join(_readable(label) for label in name.split("."))
    if not name.isascii():
        decomposed = unicodedata.normalize("NFKD", name.casefold())
        name = "".join(c for c in decomposed if not unicodedata.combining(c))
    return name.translate(_LOOKALIKES).replace("rn", "m").replace("vv", "w")


def looks_foreign(name: str) -> bool:
    """Could the skeleton differ from the name? A cheap test that spares most names the work."""
    return "xn--" in name or "0" in name or "1" in name or "rn" in name or "vv" in name


def plain(name: str) -> str:
    """The name without Vietnamese marks (`xn--...` for `ngânhàng` gives `nganhang`), unchanged if it has none."""
    if "xn--" not in name:
        return name
    readable = ".".join(_readable(label) for label in name.split("."))
    decomposed = unicodedata.normalize("NFD", readable.replace("đ", "d"))
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    return bare if bare.isascii() else name


def _readable(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return idna.ulabel(label)
    except (idna.IDNAError, UnicodeError):
        return label
