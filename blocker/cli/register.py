"""`blocker register`: set up a register, see how it stands, check all its signatures."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from blocker.cli.ask import ask_text, command_text, require
from blocker.cli.desk import check_file, now, opened, register_option, url_of
from blocker.cli.init import init
from blocker.cli.renew import renew_root
from blocker.workflow import ProposalState
from feeds.errors import Rejected
from feeds.language import _
from feeds.terminal import answer, hint, json_option, moment_text, table

if TYPE_CHECKING:
    from blocker.register import Verified
    from feeds.manifest import ChainHead


@click.group(help=_("Set up a register and look after it."))
def register() -> None:
    """The group."""


register.add_command(init)
register.add_command(renew_root)


@register.command(help=_("How the register stands: officers, proposals waiting, the last publication."))
@register_option
@json_option
def status(register_url: str | None, as_json: bool) -> None:
    """One page."""
    with opened(register_url) as found:
        head = found.head()
        officers = [o for o in found.officers.list() if o.active]
        changes = found.officers.pending()
        drafts = found.proposals.list(ProposalState.DRAFT)
        signed = found.proposals.list(ProposalState.SIGNED)
        urgent = found.proposals.list(ProposalState.EMERGENCY)
        last = found.publications.last()
        data = {
            "authority": found.authority,
            "name": found.authority_name,
            "training": found.training,
            "officers": [o.id for o in officers],
            "officer_changes_waiting": len(changes),
            "drafts": [p.number for p in drafts],
            "waiting_for_review": [p.number for p in signed],
            "emergencies": [p.number for p in urgent],
            "last_serial": last.serial if last else None,
            "last_published": last.published if last else None,
            "events": head.length,
            "head": head.hash,
        }
        title = f"{found.authority_name} ({found.authority})"
        if found.training:
            title += " - " + _("TRAINING")
    none = _("none")
    rows = [
        (_("Officers"), ", ".join(f"{o.id} ({o.name})" if o.name else o.id for o in officers)),
        (_("Officer changes waiting"), len(changes) or none),
        (_("Drafts"), ", ".join(str(p.number) for p in drafts) or none),
        (_("Waiting for review"), ", ".join(str(p.number) for p in signed) or none),
        (_("Emergencies to confirm"), ", ".join(str(p.number) for p in urgent) or none),
        (
            _("Last publication"),
            _("serial {n}, {when}").format(n=last.serial, when=moment_text(last.published))
            if last and last.published
            else none,
        ),
        (_("Events"), head.length),
        (_("Head of the chain"), head.hash),
    ]
    answer(as_json, data, table((title, ""), rows))
    if urgent:
        hint(
            _("A second officer must confirm: {command}").format(
                command=command_text("review", "show", urgent[0].number)
            )
        )
    elif signed:
        hint(
            _("Next, another officer reviews: {command}").format(
                command=command_text("review", "show", signed[0].number)
            )
        )


@register.command(help=_("Check every signature, row and event of the register against the root keys."))
@click.option(
    "--root",
    type=click.Path(path_type=Path, dir_okay=False),
    help=_("The trust anchor (root.json) that «register init» made."),
)
@click.option(
    "--feed",
    type=click.Path(path_type=Path, file_okay=False),
    help=_("The feed's directory, instead of --root; then the published chain is compared, too."),
)
@register_option
@json_option
def verify(root: Path | None, feed: Path | None, register_url: str | None, as_json: bool) -> None:
    """Replay everything."""
    if root is None and feed is None:
        require(("--root / --feed", None))
        root = Path(ask_text(None, "--root", _("The trust anchor (root.json)"))).expanduser()
    keys, threshold, published = _trusted(root, feed)
    with opened(register_url) as found:
        verified = found.verified(now(), keys, threshold, published, admit=lambda _emergency: True)
    answer(as_json, _verified_data(verified), _verified_text(verified))


@register.command(help=_("Bring the database up to this version of the program. Make a backup first."))
@register_option
@json_option
def upgrade(register_url: str | None, as_json: bool) -> None:
    """Run the migrations; the append-only guards are put in place again."""
    from blocker.register.database import Database

    url = url_of(register_url)
    check_file(url)
    database = Database(url)
    try:
        before = database.revision()
        if before is None:
            raise Rejected(
                _("there is no register at {path}").format(path=database.shown),
                then=_("make one: blocker register init"),
            )
        database.upgrade()
        after = database.revision()
    finally:
        database.close()
    said = _("The register is up to date.") if before == after else _("The register is now at {version}.")
    answer(as_json, {"before": before, "after": after}, said.format(version=after))
    hint(_("Next, check it: {command}").format(command=command_text("register", "verify")))


def _trusted(root: Path | None, feed: Path | None) -> "tuple[list[str], int, ChainHead | None]":
    """Root keys, their threshold, and the event chain's head that was published last."""
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata, Root
    from tuf.api.serialization import DeserializationError

    from blocker.publishing.standing import read_standing

    published = None
    if feed is not None:
        standing = read_standing(feed)
        trusted = standing.root
        published = standing.manifest.chain if standing.manifest else None
    if root is not None:
        try:
            anchor: Metadata[Root] = Metadata.from_bytes(root.read_bytes())
            anchor.verify_delegate(Root.type, anchor)
            trusted = anchor.signed
        except (OSError, DeserializationError, RepositoryError) as error:
            raise Rejected(
                _("{path} is no trust anchor: {why}").format(path=root, why=error),
                then=_("it is the file root.json in the feed's directory"),
            ) from None
    role = trusted.roles[Root.type]
    return [trusted.keys[k].keyval["public"] for k in role.keyids], role.threshold, published


def _verified_data(verified: "Verified") -> dict[str, object]:
    return {
        "rules": len(verified.rules),
        "decisions": len(verified.decisions),
        "events": verified.head.length,
        "head": verified.head.hash,
        "officers": [o.id for o in verified.officers.active()],
        "problems": [{"place": p.place, "rule": p.rule, "message": p.message} for p in verified.problems],
        "emergencies": [
            {"proposal": e.proposal, "officer": e.officer, "reason": e.reason, "entries": len(e.entries)}
            for e in verified.emergencies
        ],
    }


def _verified_text(verified: "Verified") -> str:
    lines = [
        _("Everything holds: {rules} rules in force under {decisions} decisions, {events} events in the chain.").format(
            rules=len(verified.rules), decisions=len(verified.decisions), events=verified.head.length
        ),
        _("Officers: {list}").format(list=", ".join(o.id for o in verified.officers.active())),
        _("Head of the chain: {hash}").format(hash=verified.head.hash),
    ]
    if verified.problems:
        lines.append(_("Left out:"))
        lines += [f"  - {problem}" for problem in verified.problems]
    lines += [
        _("Emergency of proposal {n} by {officer}, not yet confirmed: {reason}").format(
            n=e.proposal, officer=e.officer, reason=e.reason
        )
        for e in verified.emergencies
    ]
    return "\n".join(lines)
