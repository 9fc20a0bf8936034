"""BIND learns from the catalog zone which zones there are, and transfers them by itself."""

import base64
import json
import subprocess
from pathlib import Path

import pytest

from feeds.store import Store
from tests.interop.rpz_sets import APEX, free_port, running
from tests.interop.test_transfer_bind import NeedProgram, accept, listed, serving, until

pytestmark = pytest.mark.interop

CATALOG = "catalog.blocker"
BIND = """
key "bind-key" {{ algorithm hmac-sha256; secret "{secret}"; }};
options {{
    directory "{here}"; pid-file none; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
    recursion no; session-keyfile none; allow-new-zones yes; notify no;
    catalog-zones {{
        zone "{catalog}" default-primaries {{ 127.0.0.1 port {primary} key "bind-key"; }} in-memory yes
            min-update-interval 1;
    }};
}};
controls {{ }};
zone "{catalog}" {{ type secondary; primaries {{ 127.0.0.1 port {primary} key "bind-key"; }}; file "catalog.db"; }};
zone "{apex}" {{ type primary; file "{here}/upstream.zone"; check-names ignore; }};
"""


def test_bind_takes_the_zones_that_the_catalog_lists_and_drops_those_that_it_lists_no_more(
    tmp_path: Path, need_program: NeedProgram
) -> None:
    named, dig = need_program("named", "bind9"), need_program("dig", "bind9-dnsutils")
    store = Store.create(tmp_path / "state", url="https://feed.example/", root=b"{}", training=True)
    accept(store, 1, listed(range(1, 11)))
    primary, port = free_port(), free_port()
    secret = base64.b64encode(b"k" * 32).decode()
    (tmp_path / "secret").write_text(secret)
    (tmp_path / "upstream.zone").write_text("@ 60 SOA a. b. 1 60 60 60 60\n@ 60 NS a.\nprobe 60 A 198.51.100.1\n")
    config = BIND.format(here=tmp_path, port=port, primary=primary, secret=secret, catalog=CATALOG, apex=APEX)
    (tmp_path / "named.conf").write_text(config)

    def settings(*zones: str) -> Path:
        path = tmp_path / "zones.toml"
        text = "".join(f'[zone."{zone}"]\n' for zone in ("rpz.blocker", *zones))
        path.write_text(
            f'catalog = "{CATALOG}"\n{text}[secondary.bind]\nkey = "bind-key"\nsecret_file = "secret"\n'
            f'notify = ["127.0.0.1:{port}"]\n'
        )
        return path

    def serial(zone: str) -> int:
        asked = [dig, "@127.0.0.1", "-p", str(port), zone, "SOA", "+short", "+time=1", "+tries=1"]
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=10).stdout.split()
        return int(answer[2]) if len(answer) > 2 and answer[2].isdigit() else 0

    log = tmp_path / "named.log"
    with serving(settings("more.blocker"), store, primary, tmp_path / "serve.log"):
        command = [named, "-f", "-g", "-n", "1", "-c", str(tmp_path / "named.conf")]
        with running(command, port, f"probe.{APEX}", log):
            assert until(lambda: serial("rpz.blocker") == serial("more.blocker") == 1000, 15) < 15, log.read_text()
            accept(store, 2, listed(range(1, 12)))
            assert until(lambda: serial("more.blocker") == 2000, 10) < 10, log.read_text()
    with (
        serving(settings(), store, primary, tmp_path / "serve.log"),
        running([named, "-f", "-g", "-n", "1", "-c", str(tmp_path / "named.conf")], port, f"probe.{APEX}", log),
    ):
        assert until(lambda: serial("rpz.blocker") == 2000 and not serial("more.blocker"), 15) < 15, log.read_text()
    assert json.loads((store.path / "zone.json").read_text())["zones"].keys() >= {"rpz.blocker"}
