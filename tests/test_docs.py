"""Promises of the pages: every command in them exists, with the options it is shown with."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from blocker.cli import SUMMARIES, blocker

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "deploy").rglob("*.md"))]
SHELL = re.compile(r"```(?:sh|console|bash)\n(.*?)```", re.S)


def shown() -> Iterator[tuple[str, list[str]]]:
    """(page, words) of every `blocker` command in the shell blocks of the pages."""
    for page in PAGES:
        for block in SHELL.findall(page.read_text()):
            joined = re.sub(r"\\\n\s*", " ", block)
            for line in joined.splitlines():
                command = line.removeprefix("$ ").strip()
                for part in re.split(r"\s(?:\||&&|;)\s", command):
                    words = shlex.split(part, comments=True)
                    while words and re.match(r"[A-Z_]+=", words[0]):
                        words.pop(0)
                    if words and words[0] == "blocker":
                        yield str(page.relative_to(ROOT)), _without_redirects(words[1:])


def _without_redirects(words: list[str]) -> list[str]:
    out: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif re.fullmatch(r"\d*[<>]{1,2}&?", word):
            skip = True
        elif not re.match(r"\d*[<>]{1,2}", word):
            out.append(word)
    return out


COMMANDS = list(shown())


def test_the_pages_show_commands_of_every_group() -> None:
    assert {words[0] for _page, words in COMMANDS if words} >= set(SUMMARIES) - {"guard"}


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[f"{p}: {' '.join(w)[:60]}" for p, w in COMMANDS])
def test_every_command_in_the_pages_exists_with_its_options(page: str, words: list[str]) -> None:
    context = click.Context(blocker, info_name="blocker")
    command: click.Command = blocker
    rest = list(words)
    while isinstance(command, click.Group) and rest:
        if rest[0].startswith("-"):
            break
        found = command.get_command(context, rest[0])
        if found is None and command.invoke_without_command:
            break
        assert found is not None, f"{page}: there is no command «{' '.join(words)}»"
        context = click.Context(found, info_name=rest[0], parent=context)
        command = found
        rest.pop(0)
    options = {name for param in command.params for name in [*param.opts, *param.secondary_opts]}
    options |= {"--help", "-h", *(name for param in blocker.params for name in param.opts)}
    for word in rest:
        if word.startswith("--"):
            assert word.partition("=")[0] in options, f"{page}: {' '.join(words)} knows no {word}"
    takes = [param for param in command.params if isinstance(param, click.Argument)]
    flags = {name for param in command.params if getattr(param, "is_flag", False) for name in param.opts}
    places = _positional(rest, flags)
    assert len(places) >= sum(param.required for param in takes), f"{page}: {' '.join(words)} lacks an argument"
    if all(param.nargs == 1 for param in takes):
        assert len(places) <= len(takes), f"{page}: {' '.join(words)} has an argument too many"


@pytest.mark.parametrize(("page", "words"), [shown for shown in COMMANDS if shown[1][:2] == ["ip", "config"]])
def test_what_needs_no_state_is_done_as_it_is_shown(page: str, words: list[str]) -> None:
    done = CliRunner().invoke(blocker, words)
    assert done.exit_code == 0, f"{page}: {done.output}"


def _positional(words: list[str], flags: set[str]) -> list[str]:
    out: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("--"):
            skip = "=" not in word and word not in flags
        else:
            out.append(word)
    return out


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), link
