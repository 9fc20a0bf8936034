"""The index is built once, whole or not at all, and costs little to open."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from blocker.guard import Guard
from blocker.guard.index import build, open_index, place, sources
from blocker.guard.index.lookup import Index
from blocker.guard.index.sources import Content, Source
from feeds.errors import Unavailable
from feeds.prefix import Prefix
from feeds.terminal import Advance
from tests.blocker.guard_case import guard_cache, target

__all__ = ["guard_cache"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of three items each, so that building takes no time."""
    real = sources.read

    def read(source: Source) -> Content:
        return real(source) if source.origin != sources.MISP else Content(source, source.key, "1", None, _ITEMS)

    monkeypatch.setattr(sources, "read", read)


_ITEMS = ["popular-shop.vn", ".www.tiệm-ăn.vn", "198.18.7.0/24"]


@pytest.mark.usefixtures("small")
def test_a_truncated_index_is_built_again(tmp_path: Path) -> None:
    path = open_index(tmp_path).path
    whole = path.stat().st_size
    for size in (0, 100, 4096, whole // 2):
        with path.open("r+b") as file:
            file.truncate(size)
        assert open_index(tmp_path).names(("popular-shop.vn",))
        assert path.stat().st_size == whole


@pytest.mark.usefixtures("small")
def test_a_build_that_fails_leaves_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, advance: Advance) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build, "build", fail)
    with pytest.raises(Unavailable, match="No space left") as told:
        open_index(tmp_path)
    assert told.value.kept == "nothing was judged"
    assert "--cache" in told.value.then
    assert [p.name for p in tmp_path.iterdir()] == ["guard.lock"]


def test_a_cache_that_cannot_be_made_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be built in"):
        Guard.load(False, tmp_path / "file" / "cache").judge(target("evil.vn"))


@pytest.mark.usefixtures("small")
def test_an_index_of_other_versions_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_index(tmp_path).path
    monkeypatch.setattr(build, "FORMAT", build.FORMAT + 1)
    second = open_index(tmp_path).path
    assert first != second
    assert [p for p in tmp_path.glob("guard-*.sqlite")] == [second]


@pytest.mark.usefixtures("small")
def test_items_are_found_in_the_form_the_register_writes_them(tmp_path: Path) -> None:
    index = open_index(tmp_path)
    assert index.names(("www.xn--tim-n-dia4914b.vn",)) or index.names(("www.tiệm-ăn.vn".encode("idna").decode(),))
    hits = index.ranges(Prefix.parse("198.18.7.9")[0])
    assert str(hits["guard.shared-address"].item) == "198.18.7.0/24"
    assert not index.ranges(Prefix.parse("198.18.8.0")[0])


def test_nested_prefixes_leave_the_widest_and_neighbours_stay_apart() -> None:
    pairs = [(Prefix.of_text(t).network, Prefix.of_text(t).length) for t in ("10.0.0.0/8", "10.1.0.0/16", "11.0.0.0/8")]
    assert list(build._outermost(4, pairs)) == [(10 << 24, 8), (11 << 24, 8)]


def test_two_processes_at_first_use_build_once(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from blocker.guard.index import build, place, sources\n"
        "from blocker.guard.index.sources import Content, MISP\n"
        "real = sources.read\n"
        "sources.read = lambda s: Content(s, s.key, '1', None, ['a.vn']) if s.origin == MISP else real(s)\n"
        "made = build.build\n"
        "def slow(path, advance):\n"
        "    import time; print('built'); time.sleep(0.5); made(path, advance)\n"
        "build.build = slow\n"
        "print(sorted(place.open_index(Path(sys.argv[1])).names(('a.vn',))))\n"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _n in range(2)
    ]
    said = "".join(process.communicate(timeout=60)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert said.count("built") == 1
    assert said.count("['a.vn']") == 2


def test_the_real_index_opens_at_once_and_within_100_megabytes(guard_cache: Path) -> None:
    path = open_index(guard_cache).path
    started = time.perf_counter()
    Index(path)
    assert time.perf_counter() - started < 0.3
    script = (
        "import sys; from pathlib import Path; from blocker.guard import Guard\n"
        "from blocker.sheet import parse_targets\n"
        "guard = Guard.load(False, Path(sys.argv[1]))\n"
        "for n in range(20000):\n"
        "    text = f'{n * 7919}.com' if n % 2 else f'{n % 223}.9.{n % 251}.7'\n"
        "    guard.judge(parse_targets(text)[0].target)\n"
        # The kernel's own mark of this program; ru_maxrss would remember the process that started it.
        "print(next(int(x.split()[1]) for x in open('/proc/self/status') if x.startswith('VmHWM')) // 1024)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(guard_cache)], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(run.stdout) < 100


def test_the_default_cache_obeys_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/tmp/cache")
    assert place.default_cache() == Path("/var/tmp/cache/blocker")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert place.default_cache() == Path.home() / ".cache/blocker"
