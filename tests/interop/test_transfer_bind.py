"""BIND as a secondary of `blocker zone serve`, from the printed stanza alone: what is published is refused, and what
is withdrawn is answered, within seconds."""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from feeds.release import Release
from feeds.rule import Rule
from feeds.store import Store
from tests.feeds.accepting import manifest_for
from tests.golden.sample import rule
from tests.interop.rpz_sets import APEX, UPSTREAM_ZONE, free_port, running, seen

pytestmark = pytest.mark.interop
NeedProgram = Callable[[str, str], str]
BLOCKER = str(Path(sys.executable).parent / "blocker")
ZONE = "rpz.blocker"

BIND = """
{outside}
options {{
    directory "{here}"; pid-file none; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
    recursion yes; dnssec-validation no; session-keyfile none;
    {inside}
}};
controls {{ }};
logging {{ channel out {{ stderr; severity info; }}; category default {{ out; }}; category rpz {{ out; }}; }};
zone "." {{ type hint; file "{here}/root.hint"; }};
zone "{apex}" {{ type primary; file "{here}/upstream.zone"; check-names ignore; }};
"""


def accept(store: Store, serial: int, rules: list[Rule]) -> None:
    release = Release.of("hanoi", serial, rules)
    manifest = manifest_for(release, datetime.now(UTC))
    with store.lock():
        store.accept({"manifest.json": manifest.to_bytes()}, release, release, {}, datetime.now(UTC))


def listed(numbers: range) -> list[Rule]:
    return [rule(f"n{number}.{APEX}", number=number) for number in numbers]


@contextmanager
def serving(settings: Path, store: Store, port: int, log: Path, *more: str, host: str = "127.0.0.1") -> Iterator[None]:
    command = [BLOCKER, "zone", "serve", str(settings), "--listen", f"{host}:{port}", "--state", str(store.path), *more]
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as server:
        try:
            for _try in range(100):
                if "rpz.blocker" in log.read_text():
                    break
                assert server.poll() is None, log.read_text()
                time.sleep(0.1)
            yield
        finally:
            server.terminate()
            server.wait(20)


def settings_file(tmp_path: Path, bind_port: int) -> Path:
    (tmp_path / "secret").write_bytes(base64.b64encode(b"k" * 32))
    path = tmp_path / "zone.toml"
    path.write_text(
        f'[zone."{ZONE}"]\nflavour = "full"\n[secondary.bind]\naddress = ["127.0.0.1"]\n'
        f'notify = ["127.0.0.1:{bind_port}"]\nkey = "bind-key"\nsecret_file = "secret"\n'
    )
    return path


def until(test: Callable[[], bool], seconds: float) -> float:
    """Seconds until it holds; at least `seconds` where it does not."""
    began = time.monotonic()
    while time.monotonic() - began < seconds and not test():
        time.sleep(0.05)
    return time.monotonic() - began


def test_bind_follows_versions_from_the_printed_stanza(tmp_path: Path, need_program: NeedProgram) -> None:
    named = need_program("named", "bind9")
    store = Store.create(tmp_path / "state", url="https://feed.example/", root=b"{}", training=True)
    accept(store, 1, listed(range(1, 101)))
    port, bind_port = free_port(), free_port()
    settings = settings_file(tmp_path, bind_port)
    asked = ["--for", "bind", "--secondary", "bind", "--zone", ZONE, "--primary", f"127.0.0.1:{port}", "--json"]
    made = subprocess.run([BLOCKER, "zone", "config", str(settings), *asked], capture_output=True, check=True)
    stanza = json.loads(made.stdout)["stanza"]
    inside, _mark, outside = stanza.partition("\n\n")
    (tmp_path / "root.hint").write_text(". 3600000 NS none.invalid.\nnone.invalid. 3600000 A 127.0.0.1\n")
    (tmp_path / "upstream.zone").write_text(UPSTREAM_ZONE)
    (tmp_path / "named.conf").write_text(
        BIND.format(inside=inside, outside=outside, here=tmp_path, port=bind_port, apex=APEX)
    )
    command = [named, "-f", "-n", "1", "-c", str(tmp_path / "named.conf")]
    with (
        serving(settings, store, port, tmp_path / "serve.log"),
        running(command, bind_port, f"probe.{APEX}", tmp_path / "named.log"),
    ):
        log = tmp_path / "named.log"
        first = until(lambda: seen(bind_port, f"n1.{APEX}") == "nxdomain", 10)
        assert first < 10, log.read_text()[-3000:] + (tmp_path / "serve.log").read_text()
        for name in (f"n50.{APEX}", f"a.n50.{APEX}", f"a.b.n50.{APEX}", f"a.b.c.n50.{APEX}"):
            assert seen(bind_port, name) == "nxdomain"
        assert seen(bind_port, f"n101.{APEX}") == "answer"
        for serial in range(2, 7):
            accept(store, serial, listed(range(serial, 100 + serial)))
            gone, come = f"n{serial - 1}.{APEX}", f"n{99 + serial}.{APEX}"
            took = until(lambda g=gone, c=come: (seen(bind_port, g), seen(bind_port, c)) == ("answer", "nxdomain"), 8)  # type: ignore[misc]
            assert took < 5, (serial, took, log.read_text()[-2000:])
        assert "n50." not in log.read_text()
        time.sleep(5.5)
        state = subprocess.run(
            [BLOCKER, "zone", "status", "--state", str(store.path), "--json"], capture_output=True, check=True
        )
    row = json.loads(state.stdout)["secondaries"][0]
    assert (row["secondary"], row["zone"], row["lag"]) == ("bind", ZONE, 0)
    assert row["serial"] // 1000 == 6
    assert json.loads((store.path / "zone.json").read_text())["secondaries"]["bind"][ZONE]["form"] == "ixfr"
    assert "127.0.0.1" not in (tmp_path / "serve.log").read_text().partition("\n")[2]
    assert "127.0.0.1" not in (store.path / "zone.json").read_text()
