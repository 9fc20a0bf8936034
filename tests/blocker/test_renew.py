"""What the renewal of a feed's root promises: readers pinned to the first root follow, at every instant."""

import shutil
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import Signature, SSlibKey
from tuf.api.exceptions import DownloadHTTPError, ExpiredMetadataError, UnsignedMetadataError
from tuf.api.metadata import Metadata, Root

from blocker.publishing.layout import Disk, locked
from blocker.publishing.renew import Exchange, Renewal, renew_root
from blocker.publishing.sign import ROOT_LIFE, FeedKeys, KeySigner
from blocker.publishing.standing import newest_root
from feeds.client import pull
from feeds.client.verifying import verify
from feeds.errors import Failure, Refused, Rejected, Unavailable, Untrusted
from feeds.fetching import Fetcher
from feeds.store import Store
from tests.blocker.publishing_case import Authority
from tests.blocker.tuf_client import DirectoryFetcher, Reader
from tests.feeds.feed_factory import FeedFactory, new_key
from tests.rules import rule

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
LATER = NOW + timedelta(days=300)
RULES = [rule("evil1.test", 1), rule("evil2.test", 2)]


@pytest.fixture
def feed(tmp_path: Path) -> FeedFactory:
    return FeedFactory(tmp_path / "feed", now=NOW)


@pytest.fixture
def exchange(feed: FeedFactory, tmp_path: Path) -> Exchange:
    """The same feed with its online keys in files, and a place for new ones."""
    old = tmp_path / "old-keys"
    feed.keys = FeedKeys.create(old)
    shutil.rmtree(feed.path)
    feed.create(NOW)
    return Exchange(old, tmp_path / "new-keys")


def renewed(feed: FeedFactory, now: datetime, exchange: Exchange | None = None, signers: str = "01") -> Renewal:
    """Renewed by those of the three root keys."""
    return renew_root(feed.disk, feed.anchor, [feed.roots[int(n)] for n in signers], now, exchange)


def root_version(reader: Reader, now: datetime) -> int:
    return reader.updater(now)._trusted_set.root.version


class BeforeTheNewRoot(DirectoryFetcher):
    """A reader who had walked the roots just before the second one appeared."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        if url.endswith("/2.root.json"):
            raise DownloadHTTPError("not found", 404)
        return super()._fetch(url)


def pulled_by_everybody(feed: FeedFactory, now: datetime) -> None:
    """A newcomer with the first root, and one in the middle of a pull, both get the whole release."""
    assert len(Reader(feed.path, feed.anchor).pull(now)[1].rules) == len(RULES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.blocker.tuf_client.DirectoryFetcher", BeforeTheNewRoot)
        assert len(Reader(feed.path, feed.anchor).pull(now)[1].rules) == len(RULES)


class Faulty(Disk):
    """Fails at its write number `fails_at`; everybody pulls after each write before that."""

    def __init__(self, feed: FeedFactory, fails_at: int, now: datetime) -> None:
        super().__init__(feed.path)
        self.feed, self.left, self.now = feed, fails_at, now

    def write(self, path: Path, data: bytes) -> None:
        if self.left == 0:
            raise Failure("disk full")
        self.left -= 1
        super().write(path, data)
        pulled_by_everybody(self.feed, self.now)


@pytest.mark.parametrize("signers", ["01", "12", "02", "012"])
def test_any_two_root_keys_give_another_year(feed: FeedFactory, signers: str) -> None:
    feed.publish(RULES, LATER)
    reader = Reader(feed.path, feed.anchor)
    assert root_version(reader, LATER) == 1
    done = renewed(feed, LATER, signers=signers)
    assert (done.version, done.expires, done.changed, done.exchanged) == (2, LATER + ROOT_LIFE, True, False)
    assert root_version(reader, LATER) == 2
    beyond = NOW + ROOT_LIFE + HOUR
    feed.publish(RULES, beyond)
    assert len(reader.pull(beyond)[1].rules) == 2


def test_readers_follow_root_after_root_from_the_first(feed: FeedFactory) -> None:
    moment = NOW
    for version, signers in enumerate(["01", "12", "02"], 2):
        moment += timedelta(days=200)
        assert renewed(feed, moment, signers=signers).version == version
    feed.publish(RULES, moment)
    assert root_version(Reader(feed.path, feed.anchor), moment) == 4


def test_an_expired_root_can_still_be_renewed(feed: FeedFactory) -> None:
    reader = Reader(feed.path, feed.anchor)
    late = NOW + ROOT_LIFE + timedelta(days=30)
    feed.publish(RULES, late)
    with pytest.raises(ExpiredMetadataError):
        reader.pull(late)
    renewed(feed, late)
    assert len(reader.pull(late)[1].rules) == 2


def test_new_online_keys_take_over_and_the_old_ones_are_refused(feed: FeedFactory, exchange: Exchange) -> None:
    feed.publish(RULES, LATER)
    reader = Reader(feed.path, feed.anchor)
    reader.pull(LATER)
    done = renewed(feed, LATER + HOUR, exchange)
    assert (done.version, done.exchanged) == (2, True)
    pulled_by_everybody(feed, LATER + HOUR)
    assert root_version(reader, LATER + HOUR) == 2
    with pytest.raises(Rejected, match="not the one that this feed's root names"):
        feed.publish(RULES, LATER + 2 * HOUR)
    feed.keys = FeedKeys.read(exchange.new)
    feed.publish(RULES[:1], LATER + 2 * HOUR)
    assert len(reader.pull(LATER + 2 * HOUR)[1].rules) == 1
    timestamp = Metadata.from_file(str(feed.path / "metadata" / "timestamp.json"))
    assert list(timestamp.signatures) == [feed.keys.timestamp.public_key.keyid]
    # A thief of the old key signs a timestamp of his own.
    timestamp.signed.version += 10
    timestamp.sign(FeedKeys.read(exchange.old).timestamp)
    timestamp.to_file(str(feed.path / "metadata" / "timestamp.json"))
    with pytest.raises(UnsignedMetadataError):
        reader.pull(LATER + 2 * HOUR)


def test_new_keys_are_private_files_and_not_in_the_feed(feed: FeedFactory, exchange: Exchange) -> None:
    with pytest.raises(Rejected, match="web server"):
        renewed(feed, LATER, Exchange(exchange.old, feed.path / "keys"))
    assert newest_root(feed.path).version == 1
    renewed(feed, LATER, exchange)
    files = sorted(exchange.new.iterdir())
    assert [f.name for f in files] == ["snapshot.pem", "targets.pem", "timestamp.pem"]
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}
    assert stat.S_IMODE(exchange.new.stat().st_mode) == 0o700


def test_every_reader_gets_the_release_at_every_instant_and_after_every_fault(
    feed: FeedFactory, exchange: Exchange
) -> None:
    feed.publish(RULES, LATER)
    keys = set()
    for fails_at in range(4):
        with pytest.raises(Failure, match="disk full"):
            renew_root(Faulty(feed, fails_at, LATER), feed.anchor, feed.roots[:2], LATER, exchange)
        pulled_by_everybody(feed, LATER)
        assert newest_root(feed.path).version == 1
        feed.publish_due(LATER)  # by the old keys, which still hold
        keys.add(FeedKeys.read(exchange.new).timestamp.public_key.keyid)
    done = renew_root(Faulty(feed, 4, LATER), feed.anchor, feed.roots[:2], LATER, exchange)
    assert (done.version, done.changed) == (2, True)
    assert len(keys) == 1, "the keys made at the first attempt are used at the next"


def test_online_keys_of_another_feed_change_nothing(feed: FeedFactory, exchange: Exchange, tmp_path: Path) -> None:
    FeedKeys.create(tmp_path / "foreign")
    with pytest.raises(Rejected, match="not the one that this feed's root names"):
        renewed(feed, LATER, Exchange(tmp_path / "foreign", exchange.new))
    assert not exchange.new.exists()
    assert newest_root(feed.path).version == 1


def test_given_again_at_once_it_finds_its_work_done(feed: FeedFactory, exchange: Exchange) -> None:
    renewed(feed, LATER, exchange)
    shutil.rmtree(exchange.old)
    again = renewed(feed, LATER + HOUR, exchange)
    assert (again.version, again.changed) == (2, False)
    assert again.expires == LATER + ROOT_LIFE
    assert newest_root(feed.path).version == 2


def test_keys_half_made_by_an_attempt_that_was_cut_off_do_no_harm(feed: FeedFactory, exchange: Exchange) -> None:
    left = exchange.new.with_name(".new-new-keys")
    left.mkdir()
    (left / "targets.pem").write_text("-----BEGIN")
    assert renewed(feed, LATER, exchange).exchanged is True
    assert not left.exists()


def test_an_isp_follows_with_and_without_new_online_keys(feed: FeedFactory, exchange: Exchange, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "state", url=feed.path.as_uri() + "/", root=feed.anchor, training=True)
    feed.publish(RULES, LATER)
    pull(store, Fetcher(), LATER)
    renewed(feed, LATER + HOUR)
    assert pull(store, Fetcher(), LATER + HOUR).changed is False
    feed.publish(RULES[:1], LATER + 2 * HOUR)
    pull(store, Fetcher(), LATER + 2 * HOUR)
    assert verify(store).root_version == 2
    moment = LATER + timedelta(days=40)
    feed.publish(RULES[:1], moment)
    assert renewed(feed, moment, exchange).version == 3
    pull(store, Fetcher(), moment)
    feed.keys = FeedKeys.read(exchange.new)
    feed.publish(RULES, moment + HOUR)
    assert len(pull(store, Fetcher(), moment + HOUR).accepted.release().rules) == 2
    assert verify(store).root_version == 3


def test_one_root_key_is_refused_however_often_it_is_given(feed: FeedFactory, exchange: Exchange) -> None:
    for signers in ("0", "00"):
        with pytest.raises(Refused) as refused:
            renewed(feed, LATER, exchange, signers=signers)
        assert refused.value.kept
        assert refused.value.then
    assert newest_root(feed.path).version == 1
    assert not exchange.new.exists()


def test_another_root_key_is_refused_and_told_what_it_would_need(feed: FeedFactory) -> None:
    with pytest.raises(Refused) as refused:
        renew_root(feed.disk, feed.anchor, [*feed.roots[:2], new_key()], LATER)
    assert "genesis" in refused.value.then
    assert newest_root(feed.path).version == 1


def forge(feed: FeedFactory, change: Callable[[Root, KeySigner], None]) -> bytes:
    """The whole feed replaced on the host, under a root that a thief without any root key signed for himself."""
    thief = KeySigner(new_key())
    path = feed.path / "metadata" / "1.root.json"
    forged = Metadata[Root].from_bytes(path.read_bytes())
    forged.signatures.clear()
    change(forged.signed, thief)
    payload = forged.signed_bytes
    for keyid in forged.signed.roles["root"].keyids:
        if forged.signed.keys[keyid].keyval == thief.public_key.keyval:
            forged.signatures[keyid] = Signature(keyid, thief.sign(payload).signature)
    forged.to_file(str(path))
    return path.read_bytes()


def easier(root: Root, thief: KeySigner) -> None:
    root.revoke_key(root.roles["root"].keyids[2], "root")
    root.add_key(thief.public_key, "root")
    root.roles["root"].threshold = 1


def masked(root: Root, thief: KeySigner) -> None:
    for keyid in root.roles["root"].keyids[:2]:
        root.keys[keyid] = SSlibKey(keyid, "ed25519", "ed25519", dict(thief.public_key.keyval))


@pytest.mark.parametrize(
    ("change", "family"), [(easier, Untrusted), (masked, Refused)], ids=["one key suffices", "other keys, same ids"]
)
def test_officers_never_sign_onwards_a_root_that_was_forged_on_the_host(
    feed: FeedFactory, change: Callable[[Root, KeySigner], None], family: type[Failure]
) -> None:
    forged = forge(feed, change)
    with pytest.raises(Untrusted, match="does not follow"):
        renewed(feed, LATER)
    with pytest.raises(family):
        renew_root(feed.disk, forged, feed.roots, LATER)
    assert newest_root(feed.path).version == 1


def test_it_waits_for_a_publication_at_work(feed: FeedFactory) -> None:
    with locked(feed.path), pytest.raises(Unavailable, match="another publication"):
        renewed(feed, LATER)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def root_key(authority: Authority, number: int) -> list[str]:
    return ["--root-key", str(authority.path / "root-keys" / f"root-{number}.pem")]


def test_the_command_renews_and_exchanges_and_the_next_publication_goes_on(authority: Authority) -> None:
    authority.approve("evil.test")
    authority.done("publish")
    reader = Reader(authority.feed, (authority.feed / "root.json").read_bytes())
    words = ["register", "renew-root", *root_key(authority, 2), *root_key(authority, 3), *authority.secret]
    done = authority.done(*words)
    assert (done["root_version"], done["exchanged"]) == (2, False)
    new = str(authority.path / "keys-2027")
    done = authority.done(*words, "--new-feed-keys", new)
    assert (done["root_version"], done["exchanged"], done["feed_keys"]) == (3, True, new)
    assert root_version(reader, datetime.now(UTC)) == 3
    assert isinstance(authority.fails("publish"), Rejected)
    assert authority.done("publish", "--keys", new)["serial"] == 1
    assert len(reader.pull(datetime.now(UTC))[1].rules) == 1
    assert authority.done("register", "verify", "--feed", str(authority.feed))["rules"] == 1


def test_the_command_refuses_one_key_and_a_wrong_passphrase(authority: Authority, tmp_path: Path) -> None:
    one = authority.fails("register", "renew-root", *root_key(authority, 1), *authority.secret)
    assert one.exit_code == 6
    assert one.kept
    assert one.then
    wrong = tmp_path / "wrong"
    wrong.write_text("not the passphrase\n")
    wrong.chmod(0o600)
    both = [*root_key(authority, 1), *root_key(authority, 2), "--passphrase-file", str(wrong)]
    failed = authority.fails("register", "renew-root", *both)
    assert isinstance(failed, Rejected)
    assert "passphrase does not open" in failed.what
    assert newest_root(authority.feed).version == 1


def test_the_command_says_that_root_keys_stay_and_asks_for_nothing_in_a_script(authority: Authority) -> None:
    told = authority.run("register", "renew-root", "--help")
    assert "new trust anchor" in " ".join(told.output.split())
    missing = authority.run("register", "renew-root")
    assert missing.exit_code == 2
    assert "--root-key" in missing.output
