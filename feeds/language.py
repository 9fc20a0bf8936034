"""The sentences a person sees, in the person's language (gettext).

One process speaks one language: `speak` sets it once at start, `_` translates at the moment of use. click asks
gettext's default domain for its own words (`Usage`, `Missing option`), so `speak` points that at our catalogue, too.
"""

import gettext
import os
from pathlib import Path

LOCALES = Path(__file__).parent / "locale"
_spoken: gettext.NullTranslations = gettext.NullTranslations()
_code = "en"


def speak(language: str | None = None) -> str:
    """Choose the language: `language` if given, else LANGUAGE, LC_ALL, LC_MESSAGES, LANG. Returns its code."""
    global _spoken, _code
    wanted = [language] if language else [os.environ.get(v, "") for v in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")]
    code = next((w for w in wanted if w), "en").split(":")[0].split(".")[0].split("_")[0]
    try:
        _spoken = gettext.translation("blocker", LOCALES, [code])
        _code = code
    except OSError:
        _spoken = gettext.NullTranslations()
        _code = "en"
    gettext.bindtextdomain("blocker", str(LOCALES))
    gettext.textdomain("blocker")
    # The default domain knows its language from the environment alone, which `--lang` must be able to overrule.
    os.environ["LANGUAGE"] = _code
    return _code


def spoken() -> str:
    """The code of the language now spoken: `en` or `vi`."""
    return _code


def _(message: str) -> str:
    """The sentence in the language now spoken. Parameters are put in afterwards, with `.format`."""
    return _spoken.gettext(message) if message else ""


def N_(message: str) -> str:
    """Mark a sentence of a table for the catalogue; `_` translates it where it is shown."""
    return message


def plural(one: str, many: str, count: int) -> str:
    """`ngettext`: the sentence for this count."""
    return _spoken.ngettext(one, many, count)
