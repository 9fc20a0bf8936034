"""`blocker zone config`: what an engineer pastes, and what he is told where it cannot work."""

import base64
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from feeds.command.zone_config import PROGRAMS, config
from feeds.errors import Rejected
from tests.interop.test_transfer_unbound import certificate

SECRET = base64.b64encode(b"k" * 32).decode()


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text(SECRET)
    path = tmp_path / "zone.toml"
    path.write_text(
        '[zone."rpz.blocker"]\n[secondary.signed]\nkey = "k1"\nsecret_file = "secret"\n'
        '[secondary.plain]\naddress = ["192.0.2.53"]\n'
    )
    return path


def run(*words: object) -> Result:
    return CliRunner().invoke(config, [str(word) for word in words])


def stanza(*words: object) -> str:
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    return str(json.loads(done.stdout)["stanza"])


def asked(settings: Path, program: str, secondary: str, primary: str = "192.0.2.10:5300") -> tuple[object, ...]:
    return settings, "--for", program, "--secondary", secondary, "--primary", primary


def test_every_program_gets_a_stanza_without_the_default_zone_being_named(settings: Path) -> None:
    for program in PROGRAMS:
        made = stanza(*asked(settings, program, "plain"), "--tls-name", "zone.example")
        assert "{" not in made or program in ("bind", "powerdns")
        assert "rpz.blocker" in made or program in ("knot", "dnsmasq")


def test_only_the_programs_that_sign_get_the_secret(settings: Path) -> None:
    for program in ("bind", "powerdns"):
        assert SECRET in stanza(*asked(settings, program, "signed"))
        assert SECRET not in stanza(*asked(settings, program, "plain"))


def test_unbound_is_never_given_a_secondary_whose_key_it_cannot_use(settings: Path) -> None:
    done = run(*asked(settings, "unbound", "signed"), "--tls-name", "zone.example")
    assert isinstance(done.exception, Rejected)
    assert "no key" in done.exception.then


@pytest.mark.parametrize(
    ("primary", "listen"),
    [
        ("192.0.2.10:853", "--listen 192.0.2.10:53 --tls 192.0.2.10:853"),
        ("192.0.2.10:5853", "... --tls 192.0.2.10:5853"),
        ("[2001:db8::1]:853", "--listen [2001:db8::1]:53 --tls [2001:db8::1]:853"),
    ],
)
def test_unbound_says_where_it_asks_for_the_serial(settings: Path, primary: str, listen: str) -> None:
    made = stanza(*asked(settings, "unbound", "plain", primary), "--tls-name", "zone.example")
    assert listen in made
    assert "#zone.example" in made


def test_no_stanza_lets_a_client_s_address_into_a_log(settings: Path) -> None:
    assert " log no;" in stanza(*asked(settings, "bind", "plain"))
    assert "rpz-log: no" in stanza(*asked(settings, "unbound", "plain"), "--tls-name", "zone.example")
    for program in ("knot", "dnsmasq"):
        assert "log" not in stanza("--for", program)


def test_programs_that_read_a_file_get_the_line_that_keeps_it(tmp_path: Path) -> None:
    file = tmp_path / "a list"
    knot = stanza("--for", "knot", "--file", file, "--state", "/srv/state")
    line = f"blocker feed follow --state /srv/state --render rpz-names --to '{file}' --run "
    assert knot.count(line) == 2
    assert f"'{file}', true))" in knot
    dnsmasq = stanza("--for", "dnsmasq", "--file", file)
    assert "--render dnsmasq" in dnsmasq
    assert f"\nconf-file={file}\n" in dnsmasq


def test_what_is_missing_is_asked_for(settings: Path) -> None:
    for words, needed in (
        (("--for", "bind"), "--secondary"),
        (asked(settings, "unbound", "plain"), "--tls-name"),
        (asked(settings, "nsd", "plain"), "nsd"),
    ):
        done = run(*words)
        assert (done.exit_code, needed in done.output) == (2, True), done.output


def test_an_unknown_secondary_is_refused(settings: Path) -> None:
    done = run(*asked(settings, "bind", "nobody"))
    assert isinstance(done.exception, Rejected)
    assert "nobody" in done.exception.what


def test_a_secondary_that_must_show_a_certificate_gets_no_stanza_that_shows_none(
    settings: Path, tmp_path: Path
) -> None:
    chain, _key = certificate(tmp_path / "pem", "resolver.example")
    settings.write_text(settings.read_text() + f'[secondary.shown]\ncertificate = "{chain}"\n')
    done = run(*asked(settings, "bind", "shown"))
    assert isinstance(done.exception, Rejected)
    assert "certificate" in done.exception.what
