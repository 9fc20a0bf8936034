"""Knot Resolver and dnsmasq read the file that `blocker feed follow` keeps, as the printed stanza tells them."""

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from feeds.store import Store
from tests.conftest import _install, missing
from tests.interop.rpz_sets import ANSWER, APEX, free_port, running, seen
from tests.interop.test_transfer_bind import BLOCKER, NeedProgram, accept, listed, until

pytestmark = pytest.mark.interop

# Whatever is not refused is answered here, and the root is a port where nobody listens: nothing is asked of anybody.
KRESD = """
net.ipv6 = false
net.listen('127.0.0.1', {port}, {{ kind = 'dns' }})
cache.size = 10 * MB
trust_anchors.remove('.')
for _, name in ipairs({{ 'priming', 'ta_update', 'ta_signal_query', 'detect_time_skew' }}) do modules.unload(name) end
modules.load('hints')
hints.root({{ ['none.invalid.'] = '127.0.0.1' }})
{stanza}
policy.add(policy.suffix(policy.ANSWER({{
    [kres.type.A] = {{ rdata = kres.str2ip('{answer}'), ttl = 60 }}
}}), {{ todname('{apex}') }}))
policy.add(policy.all(policy.REFUSE))
"""


class Case:
    """A state directory whose feed cannot be had, and a file made of it."""

    def __init__(self, here: Path) -> None:
        self.here, self.port, self.file = here, free_port(), here / "list"
        self.store = Store.create(here / "state", url="http://127.0.0.1:1/", root=b"{}", training=True)
        accept(self.store, 1, listed(range(1, 101)))

    def stanza(self, program: str) -> str:
        command = [BLOCKER, "zone", "config", "--for", program, "--file", str(self.file), "--json"]
        made = subprocess.run([*command, "--state", str(self.store.path)], capture_output=True, check=True)
        return str(json.loads(made.stdout)["stanza"])

    @contextmanager
    def following(self, stanza: str, run: str = "") -> Iterator[None]:
        """Run the first `blocker feed follow` of the stanza's comments, with another command where one is given."""
        line = next(line for line in stanza.splitlines() if "blocker feed follow" in line)
        words = shlex.split(line.lstrip("#- "))
        assert words[0] == "blocker"
        words[0] = BLOCKER
        if run:
            words[words.index("--run") + 1] = run
        log = self.here / "follow.log"
        with log.open("w") as out, subprocess.Popen(words, stdout=out, stderr=out) as follower:
            try:
                assert until(self.file.exists, 20) < 20, log.read_text()
                yield
            finally:
                follower.terminate()
                follower.wait(20)

    def follows(self, refused: str, log: Path) -> None:
        """Each of some versions is enforced, and what it leaves out is answered, within five seconds."""
        for name in (f"n50.{APEX}", f"a.n50.{APEX}", f"a.b.n50.{APEX}", f"a.b.c.n50.{APEX}"):
            assert seen(self.port, name) == refused
        assert seen(self.port, f"n101.{APEX}") == "answer"
        for serial in range(2, 6):
            accept(self.store, serial, listed(range(serial, 100 + serial)))
            gone, come = f"n{serial - 1}.{APEX}", f"n{99 + serial}.{APEX}"
            want = ("answer", refused)
            took = until(lambda g=gone, c=come, w=want: (seen(self.port, g, 1), seen(self.port, c, 1)) == w, 8)  # type: ignore[misc]
            assert took < 5, (serial, took, log.read_text()[-2000:])


def need_cqueues() -> None:
    """A library, so no program to look for; Knot needs it to see that a file has changed."""
    places = Path("/usr/share/lua")
    if os.geteuid() == 0 and not list(places.glob("*/cqueues.lua")):
        _install("lua-cqueues")
    if not list(places.glob("*/cqueues.lua")):
        missing("lua-cqueues is not installed")


def test_knot_reads_the_file_anew_from_the_printed_stanza(tmp_path: Path, need_program: NeedProgram) -> None:
    kresd = need_program("kresd", "knot-resolver")
    need_cqueues()
    case, log = Case(tmp_path), tmp_path / "kresd.log"
    stanza = case.stanza("knot")
    lua = stanza.partition("\n\n")[0]
    (tmp_path / "kresd.conf").write_text(KRESD.format(port=case.port, stanza=lua, answer=ANSWER, apex=APEX))
    (tmp_path / "run").mkdir()
    command = [kresd, "-n", "-c", str(tmp_path / "kresd.conf"), str(tmp_path / "run")]
    with case.following(stanza), running(command, case.port, f"probe.{APEX}", log):
        case.follows("nxdomain", log)
        done = subprocess.run(
            ["dig", "+noall", "+comments", "+authority", "@127.0.0.1", "-p", str(case.port), f"n50.{APEX}"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    assert "EDE: 16 (Censored): (blocked by decision" in done.stdout, done.stdout
    assert "status: NXDOMAIN" in done.stdout
    # Nobody keeps a refusal longer than five minutes.
    soa = next(line.split() for line in done.stdout.splitlines() if "\tSOA\t" in line)
    assert (soa[0], soa[1], soa[-1]) == (f"n50.{APEX}.", "300", "300")
    assert "127.0.0.1#" not in log.read_text()


# As a service manager does it: the new one starts when the old one has ended.
RESTART = """
if [ -e "{pid}" ]; then
    old=$(cat "{pid}")
    kill "$old"
    for _try in $(seq 100); do
        kill -0 "$old" 2>/dev/null || break
        sleep 0.05
    done
fi
exec "{dnsmasq}" -C "{config}" --pid-file="{pid}" --user= --port={port} --listen-address=127.0.0.1 \\
    --bind-interfaces --no-resolv --no-hosts --address=/{apex}/{answer}
"""


def test_dnsmasq_is_restarted_for_each_change_from_the_printed_stanza(
    tmp_path: Path, need_program: NeedProgram
) -> None:
    dnsmasq, case = need_program("dnsmasq", "dnsmasq-base"), Case(tmp_path)
    stanza, pid, script = case.stanza("dnsmasq"), tmp_path / "pid", tmp_path / "restart.sh"
    assert "systemctl restart dnsmasq" in stanza
    (tmp_path / "dnsmasq.conf").write_text(stanza)
    script.write_text(
        RESTART.format(
            pid=pid, dnsmasq=dnsmasq, config=tmp_path / "dnsmasq.conf", port=case.port, apex=APEX, answer=ANSWER
        )
    )
    try:
        with case.following(stanza, shlex.join(["sh", str(script)])):
            log = tmp_path / "follow.log"
            assert until(lambda: seen(case.port, f"n1.{APEX}", 0.5) == "['0.0.0.0']", 10) < 10, log.read_text()
            case.follows("['0.0.0.0']", log)
        assert "failed" not in log.read_text()
    finally:
        if pid.exists():
            os.kill(int(pid.read_text()), signal.SIGTERM)
