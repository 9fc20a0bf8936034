"""nginx serves a feed with our snippet: whole files, conditional requests, nothing hidden, nothing written."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import DEVNULL, Popen

import pytest

from tests.interop.rpz_sets import free_port

pytestmark = pytest.mark.interop
SNIPPET = Path(__file__).parent.parent.parent / "deploy" / "nginx" / "blocker-feed.conf"


@pytest.fixture
def served(tmp_path: Path, need_program: Callable[[str, str], str]) -> Iterator[tuple[str, Path]]:
    nginx, port, root = need_program("nginx", "nginx-light"), free_port(), tmp_path / "feed"
    (root / "metadata").mkdir(parents=True)
    (root / "targets").mkdir()
    (root / "metadata" / "timestamp.json").write_text('{"signed": 1}')
    (root / "metadata" / "1.root.json").write_text('{"signed": "root"}' * 200)
    (root / "targets" / "ab.release.zst").write_bytes(bytes(range(256)))
    (root / "metadata" / ".new-timestamp.json").write_text("half a fi")
    snippet = SNIPPET.read_text().replace("listen 80;", f"listen 127.0.0.1:{port};")
    snippet = snippet.replace("    listen [::]:80;\n", "").replace("/srv/blocker-feed", str(root))
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/log; events {{ }}\n"
        f"http {{ client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p; fastcgi_temp_path {tmp_path}/f;\n"
        f"uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;\n{snippet}}}\n"
    )
    command = [nginx, "-e", str(tmp_path / "log"), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    with Popen(command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL) as server:
        try:
            for _try in range(100):
                assert server.poll() is None, (tmp_path / "log").read_text()
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/metadata/timestamp.json", timeout=2).close()
                    break
                except urllib.error.URLError:
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}", tmp_path
        finally:
            server.terminate()
            server.wait(20)


def ask(url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(url, method=method, headers={k.replace("_", "-"): v for k, v in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:
            return reply.status, dict(reply.headers), reply.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def test_the_timestamp_is_asked_for_conditionally_and_the_rest_is_kept(served: tuple[str, Path]) -> None:
    url, _place = served
    status, headers, body = ask(f"{url}/metadata/timestamp.json")
    assert (status, body) == (200, b'{"signed": 1}')
    assert headers["Cache-Control"] == "no-cache"
    assert ask(f"{url}/metadata/timestamp.json", If_None_Match=headers["ETag"])[0] == 304
    assert "immutable" in ask(f"{url}/metadata/1.root.json")[1]["Cache-Control"]
    assert ask(f"{url}/metadata/1.root.json", Accept_Encoding="gzip")[1]["Content-Encoding"] == "gzip"
    status, headers, body = ask(f"{url}/targets/ab.release.zst", Accept_Encoding="gzip", Range="bytes=10-19")
    assert (status, body) == (206, bytes(range(10, 20)))
    assert "immutable" in headers["Cache-Control"]


def test_nothing_unfinished_is_shown_and_nothing_can_be_written(served: tuple[str, Path]) -> None:
    url, place = served
    assert ask(f"{url}/metadata/.new-timestamp.json")[0] == 404
    assert ask(f"{url}/metadata/")[0] in (403, 404)
    assert ask(f"{url}/metadata/timestamp.json", method="PUT")[0] == 405
    assert not [path for path in place.rglob("*access*") if path.is_file()]
