"""`blocker register renew-root`: two holders of root keys let the feed's root live another year."""

from pathlib import Path

import click

from blocker.cli.ask import Secrets, command_text, require
from blocker.cli.desk import now, open_key, secret_options
from blocker.cli.publish import here, repository_option
from feeds.errors import Rejected
from feeds.language import _
from feeds.terminal import answer, hint, json_option, moment_text, table


@click.command(
    "renew-root",
    help=_(
        "Sign the feed's root for another year, by two of its three root keys; on request with new online keys."
        " The root keys themselves stay: other root keys would need the officers' genesis certified anew, and that is a"
        " new feed with a new trust anchor."
    ),
)
@click.option(
    "--root-key",
    "root_keys",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help=_("A file with a root key; at least two of the three (repeat it)."),
)
@click.option(
    "--new-feed-keys",
    "new_keys",
    type=click.Path(path_type=Path, file_okay=False),
    help=_("Exchange the feed's three online keys, too: the new ones are made in this directory."),
)
@repository_option
@click.option(
    "--keys",
    "--feed-keys",
    "old_keys",
    envvar="BLOCKER_FEED_KEYS",
    type=click.Path(path_type=Path, file_okay=False),
    help=_("Directory with the feed's three keys so far; needed with --new-feed-keys [BLOCKER_FEED_KEYS]."),
)
@click.option(
    "--root",
    type=click.Path(path_type=Path, dir_okay=False),
    help=_("A trusted copy of the trust anchor; default: root.json in the feed's directory."),
)
@secret_options
@json_option
def renew_root(
    root_keys: tuple[Path, ...],
    new_keys: Path | None,
    repository: Path | None,
    old_keys: Path | None,
    root: Path | None,
    passphrase_fd: int | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Write the next root metadata."""
    from blocker.publishing import renew
    from blocker.publishing.layout import ANCHOR, Disk

    require(("--root-key", root_keys), ("--repository", repository))
    feed = here(repository)
    exchange = None
    if new_keys is not None:
        if old_keys is None:
            raise click.UsageError(_("missing: {options}").format(options="--keys"))
        exchange = renew.Exchange(old_keys.expanduser(), new_keys.expanduser().absolute())
    renew.check_number(len(set(root_keys)))
    anchor = _read(root.expanduser() if root else feed / ANCHOR)
    secrets = Secrets(passphrase_fd, passphrase_file)
    signers = [open_key(path.expanduser(), secrets) for path in dict.fromkeys(root_keys)]
    done = renew.renew_root(Disk(feed), anchor, signers, now(), exchange)
    data = {
        "root_version": done.version,
        "expires": done.expires,
        "changed": done.changed,
        "exchanged": done.exchanged,
        "signed_by": [key.public_hex for key in signers] if done.changed else [],
        "feed_keys": str(exchange.new) if exchange else None,
    }
    title = _("The feed's root is signed anew.") if done.changed else _("The feed's root had just been signed anew.")
    rows = [
        (_("Version"), done.version),
        (_("Valid until"), moment_text(done.expires)),
        *([(_("Feed's new keys (on the publishing host)"), str(exchange.new))] if exchange else []),
        (_("Trust anchor"), _("as before; the ISPs need do nothing")),
    ]
    answer(as_json, data, table((title, ""), rows))
    if exchange:
        hint(
            _(
                "In a few minutes, when readers have the new root, publish with the new keys and from then on, also by"
                " the timer: {command}; then destroy the old keys."
            ).format(command=command_text("publish", "--repository", feed, "--keys", exchange.new))
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Rejected(
            _("{path} is no trust anchor: {why}").format(path=path, why=error.strerror or error),
            then=_("it is the file root.json in the feed's directory"),
        ) from None
