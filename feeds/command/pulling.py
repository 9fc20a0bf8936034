"""`blocker feed init`, `pull` and `accept`."""

from pathlib import Path

import click

from feeds import client
from feeds.client import Choice, Pulled
from feeds.command.state import now, refused_text, state_option
from feeds.errors import Rejected
from feeds.fetching import Fetcher, check_url
from feeds.language import _
from feeds.repository import MAX_ROOT_BYTES, check_anchor
from feeds.store import Store
from feeds.terminal import answer, hint, json_option, moment_text


@click.command(help=_("Set up a state directory that follows the feed at URL."))
@click.argument("url")
@click.option(
    "--root",
    "root_file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help=_("The authority's root file, received by another way than the feed itself."),
)
@click.option(
    "--training", is_flag=True, help=_("Follow a training feed: reserved names only, and never the real one.")
)
@state_option
@json_option
def init(url: str, root_file: Path, training: bool, state: Path, as_json: bool) -> None:
    """Check the anchor and write the settings; nothing is fetched."""
    url = check_url(url)
    try:
        with root_file.open("rb") as file:
            root = file.read(MAX_ROOT_BYTES + 1)
    except OSError as error:
        raise Rejected(
            _("{path} cannot be read: {why}").format(path=root_file, why=error.strerror),
            rule="feed.root",
            kept=_("nothing was set up"),
            then=_("give the file that the authority handed you, with --root"),
        ) from None
    version, threshold, keys = check_anchor(root)
    store = Store.create(state, url=url, root=root, training=training)
    answer(
        as_json,
        {"state": str(store.path), "url": url, "training": training, "root_version": version},
        _("{path} follows {url}. Its root is version {n}: {a} of {b} keys must sign.").format(
            path=store.path, url=url, n=version, a=threshold, b=keys
        ),
    )
    hint(_("Next: blocker feed pull --state {path}").format(path=store.path))


@click.command(help=_("Fetch, verify and accept the feed's release, once; prints what changed."))
@state_option
@json_option
def pull(state: Path, as_json: bool) -> None:
    """Exit code 0 also when there is nothing new."""
    _report(client.pull(Store(state), Fetcher(), now()), as_json)


@click.command(help=_("Accept release SERIAL with this DIGEST although the brake holds it; ask the authority first."))
@click.argument("serial", type=click.IntRange(min=1))
@click.argument("digest")
@state_option
@json_option
def accept(serial: int, digest: str, state: Path, as_json: bool) -> None:
    """Pull with the engineer's leave for this one release."""
    digest = digest.strip().lower()
    if len(digest) < client.SHORTEST_DIGEST or set(digest) - set("0123456789abcdef"):
        raise Rejected(
            _("«{digest}» is no digest: give at least {n} of its hexadecimal digits").format(
                digest=digest, n=client.SHORTEST_DIGEST
            ),
            rule="feed.digest",
            kept=_("nothing was changed"),
            then=_("copy it from `blocker feed status`"),
        )
    _report(client.pull(Store(state), Fetcher(), now(), Choice(serial, digest)), as_json)


def pulled_data(done: Pulled) -> dict[str, object]:
    """What a pull did, for programs."""
    return {
        "changed": done.changed,
        "serial": done.accepted.manifest.serial,
        "digest": done.accepted.manifest.digest,
        "way": done.way,
        "removed": done.removed,
        "added": done.added,
        "rules": done.accepted.counts.get("rules", 0),
        "refused": dict(done.accepted.refused),
        "downloaded_bytes": done.downloaded_bytes,
        "expires": done.expires.isoformat(),
        "note": done.note,
    }


def pulled_text(done: Pulled) -> str:
    """What a pull did, for people."""
    serial = done.accepted.manifest.serial
    if not done.changed:
        return _("Release {n} is in force; nothing new. The feed is valid until {until}.").format(
            n=serial, until=moment_text(done.expires)
        )
    text = _("Release {n} is in force: {rules} rules, {bytes} bytes fetched.").format(
        n=serial, rules=done.accepted.counts.get("rules", 0), bytes=done.downloaded_bytes
    )
    if done.removed or done.added:
        text += " " + _("Removed {removed}, added {added}.").format(removed=done.removed, added=done.added)
    if done.accepted.refused:
        text += " " + _("Refused: {refused}.").format(refused=refused_text(done.accepted.refused))
    if done.note:
        text += " " + _("Note: {note}.").format(note=done.note)
    return text


def _report(done: Pulled, as_json: bool) -> None:
    answer(as_json, pulled_data(done), pulled_text(done))
