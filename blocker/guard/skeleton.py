"""What a name looks like to a hurried reader: names with the same skeleton are twins."""

import unicodedata

import idna

# Letters of other scripts that are drawn as Latin ones, and digits and pairs that are read as letters.
_LOOKALIKES = str.maketrans(
    {
        **dict(zip("аеіјорсухѕһԁԛԝьвкмнтгпз", "aeijopcyxshdqwbbkmhtrn3", strict=True)),
        **dict(zip("αεικνορτυχβηωγμ", "aeiknoptuxbnwyu", strict=True)),
        **dict(zip("ıɡɩʟøłđðħŧ", "igilołdohtx"[:10], strict=True)),
        "0": "o",
        "1": "l",
        "ł": "l",
    }
)


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
