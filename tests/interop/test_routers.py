"""The written forms before their real judges, and BGP speakers that announce them to a real router."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from feeds.ipfilter.routers import FORMS
from feeds.ipfilter.routers.form import Order, Setup
from feeds.ipfilter.wanted import wanted
from feeds.rule import hours
from tests.golden.sample import NOW, RULES, rule
from tests.golden.state import state

pytestmark = [pytest.mark.interop, pytest.mark.root]

GOLDEN = Path(__file__).parent.parent / "golden" / "routers"
HOPS = {4: "192.0.2.1", 6: "100::1"}
LATER = hours(datetime(2099, 1, 1, tzinfo=UTC))


def judged(*command: str, stdin: str = "") -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text()


@pytest.mark.parametrize("body", ["bird", "bird-bgp"])
def test_bird_takes_the_routes_and_the_config(
    body: str, tmp_path: Path, need_program: Callable[[str, str], str]
) -> None:
    bird = need_program("bird", "bird2")
    (tmp_path / "blocker.conf").write_text(golden(body))
    config = golden("bird.config").replace("/etc/bird/blocker.conf", str(tmp_path / "blocker.conf"))
    (tmp_path / "bird.conf").write_text(f"router id 192.0.2.250;\nprotocol device {{ }}\n{config}")
    judged(bird, "-p", "-c", str(tmp_path / "bird.conf"))
    (tmp_path / "blocker.conf").write_text(golden(body).replace("route 192", "rout 192"))
    assert subprocess.run([bird, "-p", "-c", str(tmp_path / "bird.conf")], capture_output=True).returncode != 0


@pytest.mark.parametrize("body", ["frr", "frr-bgp", "frr.config"])
def test_frr_takes_every_line(body: str, tmp_path: Path, need_program: Callable[[str, str], str]) -> None:
    vtysh = need_program("vtysh", "frr")
    path = tmp_path / "frr.conf"
    path.write_text(golden(body))
    # Its exit status stays 0 whatever it reads: what it prints is the answer.
    assert judged(vtysh, "-C", "-f", str(path)).strip() == ""
    path.write_text(golden(body) + "ip nonsense\n")
    assert "nonsense" in judged_loosely(vtysh, "-C", "-f", str(path))


def judged_loosely(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def test_iptables_loads_both_families_from_one_file(need_root: None, need_program: Callable[[str, str], str]) -> None:
    need_program("iptables-restore", "iptables")
    script = (
        "set -e; cat > $0; for t in iptables ip6tables; do $t-restore --test --noflush $0; $t-restore --noflush $0; "
        "$t-restore --noflush $0; $t -S BLOCKER; done; rm $0"
    )
    file = f"/tmp/blocker-test-iptables-{os.getpid()}"
    said = judged("unshare", "-n", "sh", "-c", script, file, stdin=golden("iptables"))
    assert said.count("-d 203.0.113.64/26 -j DROP") == 1
    assert said.count("-d 2001:db8::/48 -j DROP") == 1
    assert said.count("-d 198.51.100.7/32 -p tcp -m tcp --dport 443 -j DROP") == 1


def test_exabgp_takes_the_config(tmp_path: Path, need_program: Callable[[str, str], str]) -> None:
    exabgp = need_program("exabgp", "exabgp")
    path = tmp_path / "exabgp.conf"
    path.write_text(golden("exabgp.config"))
    judged(exabgp, "--test", str(path))
    path.write_text(golden("exabgp.config").replace("peer-as", "peer-as-number"))
    assert subprocess.run([exabgp, "--test", str(path)], capture_output=True, timeout=60).returncode != 0


class Router:
    """BIRD in a network namespace, hearing blackhole routes from a speaker on the same loopback."""

    def __init__(self, namespace: str, folder: Path) -> None:
        self.namespace, self.folder = namespace, folder
        self.started: list[subprocess.Popen[bytes]] = []

    def run(self, *command: str, env: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace, *command],
            capture_output=True,
            text=True,
            timeout=30,
            env={**os.environ, **(env or {})},
        )
        return done.stdout + done.stderr

    def start(self, *command: str, env: dict[str, str] | None = None) -> None:
        log = (self.folder / f"{Path(command[0]).name}.{len(self.started)}.log").open("w")
        self.started.append(
            subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *command],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **(env or {})},
            )
        )

    def stop(self) -> None:
        """End all that was started."""
        for process in self.started:
            try:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(5)
            except ProcessLookupError:
                pass
        self.started.clear()

    def stop_last(self) -> None:
        """End what was started last."""
        process = self.started.pop()
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(5)

    def routes(self) -> str:
        """What the kernel of the router discards."""
        return self.run("ip", "route", "show", "table", "66") + self.run("ip", "-6", "route", "show", "table", "66")

    def until(self, holds: Callable[[], bool], seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if holds():
                return
            time.sleep(0.2)
        logs = "".join(f"\n== {path.name}\n{path.read_text()[-1500:]}" for path in self.folder.glob("*.log"))
        raise AssertionError(self.routes() + self.birdc("show protocols all upstream") + logs)

    def birdc(self, *words: str) -> str:
        return self.run("birdc", "-s", str(self.folder / "router.ctl"), *" ".join(words).split())


_ROUTER = """
router id 192.0.2.251;
protocol device { }
protocol static discard4 { ipv4; route 192.0.2.1/32 blackhole; }
protocol static discard6 { ipv6; route 100::1/128 blackhole; }
ipv4 table heard4;
ipv6 table heard6;
flow4 table flowtab4;
flow6 table flowtab6;
protocol bgp upstream {
    local 127.0.0.2 port 1790 as 64513;
    neighbor 127.0.0.1 as 64512;
    multihop; passive;
    ipv4 { table heard4; export none; import filter {
        if (65535, 666) ~ bgp_community && (65535, 65281) ~ bgp_community then { dest = RTD_BLACKHOLE; accept; }
        reject; }; };
    ipv6 { table heard6; export none; import filter {
        if (65535, 666) ~ bgp_community && (65535, 65281) ~ bgp_community then { dest = RTD_BLACKHOLE; accept; }
        reject; }; };
    flow4 { import all; export none; };
    flow6 { import all; export none; };
}
protocol kernel { kernel table 66; ipv4 { table heard4; export all; }; }
protocol kernel { kernel table 66; ipv6 { table heard6; export all; }; }
"""


@contextmanager
def router(folder: Path) -> Iterator[Router]:
    namespace = f"blkbgp{os.getpid()}"
    made = Router(namespace, folder)
    subprocess.run(["ip", "netns", "add", namespace], check=True, timeout=30)
    try:
        made.run("ip", "link", "set", "lo", "up")
        (folder / "router.conf").write_text(_ROUTER)
        made.start("bird", "-f", "-c", str(folder / "router.conf"), "-s", str(folder / "router.ctl"))
        made.until(lambda: "upstream" in made.birdc("show protocols"))
        yield made
    finally:
        made.stop()
        subprocess.run(["ip", "netns", "del", namespace], check=False, timeout=30)


BOTH = (
    rule("198.51.100.7/32", number=1, expires=LATER),
    rule("203.0.113.9/32", number=2, limits="tcp/80,8000-8010", expires=LATER),
    rule("2001:db8:1::5/128", number=3, expires=LATER),
    rule("2001:db8:2::6/128", number=4, limits="udp/53", expires=LATER),
)
REST = BOTH[1:]


def text(name: str, rules: tuple[object, ...]) -> str:
    made = Order(wanted(rules).filter, 7, hours(NOW), True, True, HOPS)  # type: ignore[arg-type]
    return "".join(f"{line}\n" for line in FORMS[name].write(made))


def setup(name: str) -> str:
    return "\n".join(FORMS[name].setup(Setup(True, True, HOPS, 64512, "127.0.0.2", 64513, "127.0.0.1"))) + "\n"


def changes(name: str) -> str:
    """From BOTH to REST."""
    undo = FORMS[name].undo
    assert undo is not None
    kept = text(name, REST).splitlines()
    return "".join(f"{undo(line)}\n" for line in text(name, BOTH).splitlines() if line not in kept)


def heard(made: Router) -> None:
    made.until(lambda: "blackhole 198.51.100.7" in made.routes() and "blackhole 2001:db8:1::5" in made.routes())
    made.until(lambda: "dst 203.0.113.9/32; proto 6; dport" in made.birdc("show route table flowtab4"))
    made.until(lambda: "2001:db8:2::6/128" in made.birdc("show route table flowtab6"))
    assert "0x80060000, 0x0" in made.birdc("show route table flowtab4 all")


def forgotten(made: Router) -> None:
    made.until(lambda: "198.51.100.7" not in made.routes())
    assert "2001:db8:1::5" in made.routes()


@pytest.fixture
def bird(need_root: None, need_program: Callable[[str, str], str], tmp_path: Path) -> Iterator[Router]:
    need_program("ip", "iproute2")
    need_program("bird", "bird2")
    with router(tmp_path) as made:
        yield made


def test_bird_announces_what_a_router_discards_and_forgets(bird: Router) -> None:
    folder = bird.folder
    (folder / "blocker.conf").write_text(text("bird", BOTH))
    config = setup("bird").replace("/etc/bird/blocker.conf", str(folder / "blocker.conf"))
    config = config.replace("local as 64512;", "local 127.0.0.1 as 64512; multihop; connect delay time 1;")
    config = config.replace("neighbor 127.0.0.2 as", "neighbor 127.0.0.2 port 1790 as")
    (folder / "ours.conf").write_text(f"router id 192.0.2.250;\nprotocol device {{ }}\n{config}")
    bird.start("bird", "-f", "-c", str(folder / "ours.conf"), "-s", str(folder / "ours.ctl"))
    heard(bird)
    (folder / "blocker.conf").write_text(text("bird", REST))
    assert "Reconfigured" in bird.run("birdc", "-s", str(folder / "ours.ctl"), "configure")
    forgotten(bird)


def test_exabgp_announces_and_withdraws_what_is_appended_to_its_commands(
    bird: Router, need_program: Callable[[str, str], str]
) -> None:
    exabgp = need_program("exabgp", "exabgp")
    commands = bird.folder / "blocker.commands"
    commands.write_text(text("exabgp", BOTH))
    config = setup("exabgp").replace("/run/exabgp/blocker.commands", str(commands))
    config = config.replace(
        "local-address 127.0.0.1;", "local-address 127.0.0.1;\n\trouter-id 192.0.2.250;\n\tconnect 1790;"
    )
    (bird.folder / "exabgp.conf").write_text(config)
    env = {"exabgp.daemon.user": "root", "exabgp.api.cli": "false", "exabgp.tcp.bind": ""}
    bird.start(exabgp, str(bird.folder / "exabgp.conf"), env=env)
    heard(bird)
    with commands.open("a") as file:
        file.write(changes("exabgp"))
    forgotten(bird)


def test_gobgp_announces_and_deletes_what_the_script_says(
    bird: Router, need_program: Callable[[str, str], str]
) -> None:
    gobgp(bird, need_program("gobgpd", "gobgpd"))
    (bird.folder / "add.sh").write_text(text("gobgp", BOTH))
    assert bird.run("sh", str(bird.folder / "add.sh")) == ""
    heard(bird)
    (bird.folder / "del.sh").write_text(changes("gobgp"))
    assert bird.run("sh", str(bird.folder / "del.sh")) == ""
    forgotten(bird)


BLOCKER = shutil.which("blocker", path=str(Path(sys.executable).parent)) or "blocker"
HOP_WORDS = ("--next-hop", HOPS[4], "--next-hop", HOPS[6])


def planned(made: Router, target: str, *options: str) -> dict[str, object]:
    said = made.run(BLOCKER, "ip", "plan", target, "--state", str(made.folder / "state"), "--json", *options)
    plan: dict[str, object] = json.loads(said[: said.rindex("}") + 1])
    return plan


def applied(made: Router, target: str, *options: str) -> str:
    """Plan and apply with the real command, as an engineer does."""
    checksum = str(planned(made, target, *options)["checksum"])
    words = ("--state", str(made.folder / "state"), "--checksum", checksum)
    return made.run(BLOCKER, "ip", "apply", target, *words, *options)


def told(made: Router, target: str, *options: str) -> None:
    """What is listed is heard and discarded; what is withdrawn is forgotten, and nothing else."""
    flowspec = "--flowspec" in options
    # One prefix each, and with Flowspec two ranges of ports in IPv4 and one in IPv6.
    more4, more6 = (2, 1) if flowspec else (0, 0)
    state(made.folder / "state", BOTH)
    assert f"{target} now drops {1 + more4} IPv4 and {1 + more6} IPv6" in applied(made, target, *options)
    if flowspec:
        heard(made)
    made.until(lambda: "blackhole 198.51.100.7" in made.routes() and "blackhole 2001:db8:1::5" in made.routes())
    assert "203.0.113.9" not in made.routes(), "an address of which only ports are listed is never discarded whole"
    plan = planned(made, target, *options)
    assert plan["empty"] is True
    assert ("rules limited to ports" in str(plan["notes"])) == (not flowspec)
    state(made.folder / "state", REST, serial=8)
    assert f"{target} now drops {more4} IPv4 and {1 + more6} IPv6" in applied(made, target, *options)
    forgotten(made)
    if flowspec:
        assert "203.0.113.9/32" in made.birdc("show route table flowtab4")
        state(made.folder / "state", REST[1:2], serial=9)
        assert f"{target} now drops 0 IPv4 and 1 IPv6" in applied(made, target, *options)
        made.until(lambda: "203.0.113.9/32" not in made.birdc("show route table flowtab4"))
        made.until(lambda: "2001:db8:2::6/128" not in made.birdc("show route table flowtab6"))


def test_apply_carries_releases_to_bird_and_takes_back_what_it_refuses(bird: Router) -> None:
    folder, file = bird.folder, bird.folder / "blocker.conf"
    file.write_text("")
    config = "\n".join(FORMS["bird"].setup(Setup(True, True, HOPS, 64512, "127.0.0.2", 64513, "127.0.0.1")))
    config = config.replace("/etc/bird/blocker.conf", str(file))
    config = config.replace("local as 64512;", "local 127.0.0.1 as 64512; multihop; connect delay time 1;")
    config = config.replace("neighbor 127.0.0.2 as", "neighbor 127.0.0.2 port 1790 as")
    ours = f"router id 192.0.2.250;\nprotocol device {{ }}\n{config}\n"
    (folder / "ours.conf").write_text(ours)
    bird.start("bird", "-f", "-c", str(folder / "ours.conf"), "-s", str(folder / "ours.ctl"))
    bird.until(lambda: "blocker_out" in bird.run("birdc", "-s", str(folder / "ours.ctl"), "show", "protocols"))
    options = ("--file", str(file), "--run", f"birdc -s {folder}/ours.ctl configure")
    told(bird, "bird", "--flowspec", *options)

    before = file.read_text()
    (folder / "ours.conf").write_text(ours + "nonsense;\n")
    state(folder / "state", BOTH, serial=10)
    assert "birdc refuses" in applied(bird, "bird", *options)
    assert file.read_text() == before


def test_apply_tells_exabgp_only_the_changes(bird: Router, need_program: Callable[[str, str], str]) -> None:
    exabgp = need_program("exabgp", "exabgp")
    commands = bird.folder / "blocker.commands"
    config = setup("exabgp").replace("/run/exabgp/blocker.commands", str(commands))
    config = config.replace(
        "local-address 127.0.0.1;", "local-address 127.0.0.1;\n\trouter-id 192.0.2.250;\n\tconnect 1790;"
    )
    (bird.folder / "exabgp.conf").write_text(config)
    env = {"exabgp.daemon.user": "root", "exabgp.api.cli": "false", "exabgp.tcp.bind": ""}
    bird.start(exabgp, str(bird.folder / "exabgp.conf"), env=env)
    told(bird, "exabgp", "--flowspec", "--file", str(commands), *HOP_WORDS)
    assert commands.read_text().count("198.51.100.7") == 2
    assert commands.read_text().count("2001:db8:1::5") == 1


def gobgp(made: Router, gobgpd: str) -> None:
    """Start GoBGP with our config and the extras that it needs on one loopback."""
    extra = (
        '[neighbors.transport.config]\nremote-port = 1790\nlocal-address = "127.0.0.1"\n'
        "[neighbors.ebgp-multihop.config]\nenabled = true\n"
        "[neighbors.timers.config]\nconnect-retry = 1\nidle-hold-time-after-reset = 1\n"
    )
    config = setup("gobgp").replace("[[neighbors.afi-safis]]", extra + "[[neighbors.afi-safis]]", 1)
    config = config.replace('router-id = "192.0.2.1"', 'router-id = "192.0.2.250"\nport = -1')
    (made.folder / "gobgp.toml").write_text(config)
    made.start(gobgpd, "-f", str(made.folder / "gobgp.toml"), "--api-hosts", "127.0.0.1:50051")
    made.until(lambda: "192.0.2.250" in made.run("gobgp", "global"))


def test_apply_tells_gobgp_only_the_changes(bird: Router, need_program: Callable[[str, str], str]) -> None:
    gobgp(bird, need_program("gobgpd", "gobgpd"))
    options = ("--flowspec", "--file", str(bird.folder / "routes"), *HOP_WORDS)
    told(bird, "gobgp", *options)
    assert not (bird.folder / "routes.changes").exists()
    # A daemon that was started anew has forgotten everything: that is drift, and the next apply sets it right.
    bird.stop_last()
    gobgp(bird, shutil.which("gobgpd") or "gobgpd")
    plan = planned(bird, "gobgp", *options)
    assert plan["sets"]["blocked6"]["added"] == ["2001:db8:1::5/128"]  # type: ignore[index]
    assert "gobgp now drops 0 IPv4 and 1 IPv6" in applied(bird, "gobgp", *options)
    bird.until(lambda: "2001:db8:1::5" in bird.routes())


def test_apply_tells_frr_only_the_changes_and_it_announces_them(
    need_program: Callable[[str, str], str], bird: Router
) -> None:
    need_program("vtysh", "frr")
    # Its daemons give up their rights, and the folders of the tests belong to root.
    folder = Path(tempfile.mkdtemp(prefix="blkfrr"))
    shutil.chown(folder, "frr", "frr")
    try:
        for daemon, more in (("zebra", ()), ("staticd", ()), ("bgpd", ("-p", "0"))):
            places = ("-i", f"{folder}/{daemon}.pid", "-z", f"{folder}/zebra.sock", "--vty_socket", str(folder))
            bird.start(f"/usr/lib/frr/{daemon}", *places, "-A", "127.0.0.1", "-P", "0", "-f", "/dev/null", *more)
            bird.until((folder / f"{daemon}.vty").exists)
        # FRR takes no address of 127.0.0.0/8 for a neighbour that can be reached.
        for address in ("10.99.0.1/24", "10.99.0.2/24", "fd99::1/64"):
            bird.run("ip", "addr", "add", address, "dev", "lo")
        conf = bird.folder / "router.conf"
        conf.write_text(conf.read_text().replace("127.0.0.", "10.99.0."))
        bird.birdc("configure")
        config = setup("frr").replace("127.0.0.2", "10.99.0.2")
        extra = ("port 1790", "ebgp-multihop", "update-source 10.99.0.1", "timers connect 1")
        config = config.replace(
            " neighbor 10.99.0.2 remote-as 64513",
            "\n".join(
                (
                    " bgp router-id 192.0.2.250",
                    " neighbor 10.99.0.2 remote-as 64513",
                    *(f" neighbor 10.99.0.2 {each}" for each in extra),
                )
            ),
        )
        (bird.folder / "frr.conf").write_text(config)
        said = bird.run("vtysh", "--vty_socket", str(folder), "-f", str(bird.folder / "frr.conf"))
        assert "%" not in said, said
        command = f"vtysh --vty_socket {folder} -f {{changes}}"
        show = f"vtysh --vty_socket {folder} -c 'show running-config'"
        options = ("--file", str(bird.folder / "routes"), "--run", command, "--read", show)
        told(bird, "frr", *options)
        # Routes of somebody else are not ours to take back, and what somebody took from us is put in again.
        for line in ("ip route 192.0.2.99/32 Null0", "no ipv6 route 2001:db8:1::5/128 Null0 tag 666"):
            bird.run("vtysh", "--vty_socket", str(folder), "-c", "configure terminal", "-c", line)
        plan = planned(bird, "frr", *options)
        assert plan["sets"]["blocked6"]["added"] == ["2001:db8:1::5/128"]  # type: ignore[index]
        assert "blocked4" not in plan["sets"]  # type: ignore[operator]
    finally:
        bird.stop()
        shutil.rmtree(folder)


def test_what_the_tests_announce_is_two_families_whole_and_limited() -> None:
    filter_ = wanted(BOTH).filter
    assert all((filter_.blocked4, filter_.blocked6, filter_.tcp4, filter_.udp6)), json.dumps(len(RULES))
