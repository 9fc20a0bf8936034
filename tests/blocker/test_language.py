"""Promises of the catalogue: every sentence an officer can meet is there in Vietnamese, whole, and compiled."""

import os
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from string import Formatter

import click
import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir, extract_from_file
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from feeds import language
from feeds.language import LOCALES, _, speak

ROOT = Path(__file__).parents[2]
PO = LOCALES / "vi" / "LC_MESSAGES" / "blocker.po"
KEYWORDS: dict[str, tuple[int, ...] | None] = {
    "_": None,
    "N_": None,
    "gettext": None,
    "plural": (1, 2),
    "ngettext": (1, 2),
}
SHARED = ("name", "prefix", "rule", "floor", "errors", "terminal", "language", "manifest", "officers", "release")


@pytest.fixture(scope="module")
def catalogue() -> Catalog:
    with PO.open("rb") as file:
        return read_po(file, locale="vi")


def officers_sentences() -> set[str | tuple[str, ...]]:
    """Every sentence in the authority's code, the shared values and click."""
    found: set[str | tuple[str, ...]] = set()
    for folder in (ROOT / "blocker", Path(click.__file__).parent):
        found |= {ids for _f, _l, ids, _c, _x in extract_from_dir(folder, keywords=KEYWORDS)}
    for name in SHARED:
        found |= {ids for _l, ids, _c, _x in extract_from_file("python", ROOT / "feeds" / f"{name}.py", KEYWORDS)}
    return found


def fields(sentence: str) -> set[str]:
    """Its {placeholders} and %(placeholders)s."""
    named = {name for _text, name, _spec, _conv in Formatter().parse(sentence) if name}
    return named | set(re.findall(r"%\((\w+)\)s", sentence))


def forms(message: Message) -> list[str]:
    return [message.string] if isinstance(message.string, str) else list(message.string)


def test_every_sentence_an_officer_can_meet_is_translated(catalogue: Catalog) -> None:
    missing = []
    for ids in officers_sentences():
        message = catalogue.get(ids if isinstance(ids, str) else ids[0])
        if message is None or not all(forms(message)) or message.fuzzy:
            missing.append(ids)
    assert not missing, f"{len(missing)} without translation; run deploy/messages.sh, then translate: {missing[:10]}"


def test_every_translation_keeps_the_placeholders_of_its_sentence(catalogue: Catalog) -> None:
    for message in catalogue:
        if not message.id:
            continue
        wanted = fields(message.id if isinstance(message.id, str) else message.id[1])
        for form in forms(message):
            assert not form or fields(form) == wanted, (message.id, form)


def test_the_compiled_catalogue_says_what_its_source_says(catalogue: Catalog) -> None:
    made = BytesIO()
    write_mo(made, catalogue)
    assert PO.with_suffix(".mo").read_bytes() == made.getvalue(), "run: sh deploy/messages.sh compile"


def test_a_sentence_of_more_than_two_words_does_not_stay_english(catalogue: Catalog) -> None:
    # Names of programs, options and forms stay; whole sentences must not.
    same = [m.id for m in catalogue if isinstance(m.id, str) and m.id == m.string and len(m.id.split()) > 2]
    assert not same


@pytest.fixture
def english_again() -> None:
    """Leave the process speaking English, its environment as it was."""
    before = os.environ.get("LANGUAGE")
    yield
    speak("en")
    if before is None:
        os.environ.pop("LANGUAGE", None)
    else:
        os.environ["LANGUAGE"] = before


@pytest.mark.usefixtures("english_again")
def test_language_is_taken_from_the_option_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "vi_VN.UTF-8")
    assert speak() == "vi"
    assert _("nothing was changed") == "chưa có gì thay đổi"
    assert speak("en") == "en"
    assert _("nothing was changed") == "nothing was changed"
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.delenv("LANGUAGE", raising=False)
    assert speak() == "en"
    assert language.spoken() == "en"


def blocker(*args: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    base = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "BLOCKER_", "PYTHON"))}
    program = Path(sys.executable).with_name("blocker")
    return subprocess.run(
        [program, *args], env={**base, **environment}, capture_output=True, stdin=subprocess.DEVNULL, timeout=60
    )


@pytest.mark.parametrize(("args", "environment"), [(["--lang", "vi"], {}), ([], {"LANG": "vi_VN.UTF-8"})])
def test_help_and_usage_errors_speak_vietnamese_throughout(args: list[str], environment: dict[str, str]) -> None:
    shown = blocker(*args, "decision", "add", "--help", **environment).stdout.decode()
    for word in ("Cách dùng:", "Tùy chọn:", "Ghi một quyết định.", "In ra JSON", "Hiện lời hướng dẫn"):
        assert word in shown
    failed = blocker(*args, "decision", "add", **environment)
    assert failed.returncode == 2
    assert "còn thiếu: --officer, --number" in failed.stderr.decode()


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
    ids=["C", "ascii", "latin-1"],
)
def test_a_terminal_without_vietnamese_letters_still_gets_its_answer(environment: dict[str, str]) -> None:
    done = blocker("--lang", "vi", "--help", **environment)
    assert done.returncode == 0
    assert b"register" in done.stdout
    assert b"Traceback" not in done.stderr
    assert blocker("--lang", "vi", "không-có", **environment).returncode == 2
