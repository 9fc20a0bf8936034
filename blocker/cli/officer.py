"""`blocker officer`: who may propose and approve; every change is signed by two others."""

import re
from pathlib import Path

import click

from blocker.cli.ask import Secrets, ask, ask_text, command_text, interactive, require
from blocker.cli.desk import Acting, Signing, now, opened, register_option, secret_options, signing_options
from blocker.register import OfficerChangeView, OfficerView, Register
from feeds.errors import Rejected
from feeds.language import N_, _
from feeds.officers import Step
from feeds.terminal import answer, hint, json_option, moment_text, table

STEP_WORDS = {
    Step.ADD: N_("add"),
    Step.DISABLE: N_("disable"),
    Step.ENABLE: N_("enable again"),
    Step.ROTATE: N_("new key"),
}
_HEX_KEY = re.compile(r"[0-9a-f]{64}\Z")
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")


@click.group(help=_("The officers who may propose and approve."))
def officer() -> None:
    """The group."""


def read_id(text: str) -> str:
    """An officer's id; raises Rejected."""
    if _ID.match(text) is None:
        raise Rejected(
            _("«{text}»: an officer's id is 1 to 32 small letters without accents, digits and hyphens").format(
                text=text
            ),
            rule="officer.id",
        )
    return text


def read_public(text: str) -> str:
    """A public key: 64 hexadecimal digits, or the `.pub` file that holds them."""
    low = text.strip().lower()
    if _HEX_KEY.match(low):
        return low
    try:
        with Path(text).expanduser().open("rb") as file:
            held = file.read(4096).decode("ascii", "replace").split()
    except OSError as error:
        raise Rejected(
            _("«{text}» is neither a public key (64 hexadecimal digits) nor a file that can be read: {why}").format(
                text=text, why=error.strerror or error
            ),
            rule="officer.key",
        ) from None
    if not held or _HEX_KEY.match(held[0].lower()) is None:
        raise Rejected(_("{path} holds no public key of an officer").format(path=text), rule="officer.key")
    return held[0].lower()


@officer.group(help=_("Your own key."))
def key() -> None:
    """The group."""


@key.command(help=_("Make your own key in FILE. The private half never leaves your machine; hand over FILE.pub."))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@secret_options
@json_option
def new(file: Path | None, passphrase_fd: int | None, passphrase_file: Path | None, as_json: bool) -> None:
    """An encrypted private key and its public half beside it."""
    require(("FILE", file))
    path = Path(
        ask_text(
            None if file is None else str(file),
            "FILE",
            _("Write the key to"),
            explain=_("a file on your own machine or token; it will be encrypted with your passphrase"),
        )
    ).expanduser()
    check_free(path)
    secret = Secrets(passphrase_fd, passphrase_file).new(str(path), accept_passphrase)
    public = make_key(path, secret)
    beside = path.with_name(path.name + ".pub")
    answer(
        as_json,
        {"private": str(path), "public": public, "public_file": str(beside)},
        _("Your key is in {path}.\nIts public half: {public}").format(path=path, public=public),
    )
    hint(
        _("Keep {path} and its passphrase to yourself; hand {public} to the officer who adds you.").format(
            path=path, public=beside
        )
    )


def check_free(path: Path) -> None:
    """Raises Rejected if a file stands there, before anybody thinks of a passphrase."""
    if path.exists():
        raise Rejected(
            _("there is already a file {path}").format(path=path),
            kept=_("the file that was there"),
            then=_("choose another name"),
        )


def make_key(path: Path, passphrase: bytes) -> str:
    """A new key file, encrypted, with its public half beside it; the public key."""
    from blocker import keys

    made = keys.create(path, passphrase)
    path.with_name(path.name + ".pub").write_text(made.public_hex + "\n", encoding="ascii")
    return made.public_hex


def accept_passphrase(secret: bytes) -> None:
    """Raises Rejected for one that is guessed at once."""
    if len(secret.decode(errors="replace")) < 8:
        raise Rejected(_("a passphrase has at least 8 characters; several words are best"))


@officer.command("list", help=_("List the officers, and the changes that wait for a second signature."))
@register_option
@json_option
def list_(register_url: str | None, as_json: bool) -> None:
    """One line an officer."""
    with opened(register_url) as register:
        found = register.officers.list()
        pending = register.officers.pending()
    text = table(
        (_("Id"), _("Name"), _("State"), _("Public key")),
        [(o.id, o.name, _("active") if o.active else _("disabled"), o.key) for o in found],
    )
    if pending:
        rows = [(p.sha256[:12], _(STEP_WORDS[Step(p.step)]), p.officer.id, p.by, moment_text(p.made)) for p in pending]
        columns = (_("Change"), _("What"), _("Officer"), _("Signed by"), _("When"))
        text += "\n" + table(columns, rows, _("Waiting for a second signature:"))
    answer(
        as_json,
        {"officers": [_officer_data(o) for o in found], "pending": [_change_data(p) for p in pending]},
        text,
    )
    for change in pending:
        hint(_countersign_hint(change.sha256))


@officer.command(help=_("Propose a new officer, who has made a key with «officer key new». Two officers must sign."))
@click.argument("new_officer", metavar="[ID]", required=False)
@click.option("--public-key", metavar="HEX|FILE", help=_("The new officer's public key: its digits, or the .pub file."))
@click.option("--name", metavar="TEXT", help=_("The new officer's name; it stays in this register."))
@register_option
@signing_options
@json_option
def add(
    new_officer: str | None,
    public_key: str | None,
    name: str | None,
    register_url: str | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """The first of two signatures."""
    require(("ID", new_officer), ("--public-key", public_key), *signing.needed())
    asking = interactive() and name is None
    who = ask(new_officer, "ID", _("Id of the new officer (small letters, digits)"), read_id)
    public = ask(public_key, "--public-key", _("Public key, or the .pub file"), read_public)
    full = ask_text(name, "--name", _("Name of the new officer"), default="") if asking else name or ""
    with opened(register_url) as register:
        me = signing.open()
        _propose(register, Step.ADD, who, me, as_json, public, full)


@officer.command(help=_("Propose a new key for an officer. The officer makes it with «officer key new»."))
@click.argument("whose", metavar="[ID]", required=False)
@click.option("--public-key", metavar="HEX|FILE", help=_("The new public key: its digits, or the .pub file."))
@register_option
@signing_options
@json_option
def rotate(
    whose: str | None,
    public_key: str | None,
    register_url: str | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """The first of two signatures."""
    require(("ID", whose), ("--public-key", public_key), *signing.needed())
    who = ask(whose, "ID", _("Id of the officer"), read_id)
    public = ask(public_key, "--public-key", _("Public key, or the .pub file"), read_public)
    with opened(register_url) as register:
        me = signing.open()
        _propose(register, Step.ROTATE, who, me, as_json, public)


@officer.command(help=_("Propose that an officer may act no longer. What was signed before stays valid."))
@click.argument("whose", metavar="[ID]", required=False)
@register_option
@signing_options
@json_option
def disable(
    whose: str | None,
    register_url: str | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """The first of two signatures."""
    _standing(Step.DISABLE, whose, register_url, signing, as_json)


@officer.command(help=_("Propose that a disabled officer may act again."))
@click.argument("whose", metavar="[ID]", required=False)
@register_option
@signing_options
@json_option
def enable(
    whose: str | None,
    register_url: str | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """The first of two signatures."""
    _standing(Step.ENABLE, whose, register_url, signing, as_json)


@officer.command(help=_("Sign a proposed change of the officers as the second; it takes effect."))
@click.argument("change", metavar="[CHANGE]", required=False)
@register_option
@signing_options
@json_option
def approve(
    change: str | None,
    register_url: str | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """The second of two signatures."""
    require(("CHANGE", change), *signing.needed())
    with opened(register_url) as register:
        pending = register.officers.pending()
        if not pending:
            raise Rejected(_("no change of the officers waits for a second signature"))
        chosen = ask(
            change,
            "CHANGE",
            _("Which change? (first characters of its digest)"),
            lambda text: _find(pending, text),
            default=pending[0].sha256[:12] if len(pending) == 1 else None,
        )
        me = signing.open()
        register.officers.countersign(chosen.sha256, me.officer, me.key, now())
        found = register.officers.list()
    answer(
        as_json,
        {"change": _change_data(chosen), "officers": [_officer_data(o) for o in found]},
        _("In force: {what} for officer {id}.").format(what=_(STEP_WORDS[Step(chosen.step)]), id=chosen.officer.id),
    )
    hint(_("The officers now: {command}").format(command=command_text("officer", "list")))


def _standing(
    step: Step,
    whose: str | None,
    register_url: str | None,
    signing: Signing,
    as_json: bool,
) -> None:
    require(("ID", whose), *signing.needed())
    who = ask(whose, "ID", _("Id of the officer"), read_id)
    with opened(register_url) as register:
        me = signing.open()
        _propose(register, step, who, me, as_json)


def _propose(
    register: Register, step: Step, who: str, me: Acting, as_json: bool, public: str = "", name: str = ""
) -> None:
    sha256 = register.officers.propose(step, who, me.officer, me.key, now(), key=public, name=name)
    answer(
        as_json,
        {"change": sha256, "step": str(step), "officer": who, "key": public, "by": me.officer},
        _("Proposed: {what} for officer {id}. It needs one more signature, by another officer.").format(
            what=_(STEP_WORDS[step]), id=who
        ),
    )
    hint(_countersign_hint(sha256))


def _countersign_hint(sha256: str) -> str:
    return _("Next, another officer signs: {command}").format(command=command_text("officer", "approve", sha256[:12]))


def _find(pending: tuple[OfficerChangeView, ...], text: str) -> OfficerChangeView:
    found = [p for p in pending if text and p.sha256.startswith(text.lower())]
    if len(found) != 1:
        waiting = ", ".join(p.sha256[:12] for p in pending)
        raise Rejected(_("«{text}» names no single change; waiting are: {list}").format(text=text, list=waiting))
    return found[0]


def _officer_data(view: OfficerView) -> dict[str, object]:
    return {"id": view.id, "name": view.name, "key": view.key, "active": view.active}


def _change_data(view: OfficerChangeView) -> dict[str, object]:
    return {
        "sha256": view.sha256,
        "step": view.step,
        "officer": view.officer.id,
        "key": view.officer.key,
        "name": view.name,
        "by": view.by,
        "made": view.made.isoformat(),
    }
