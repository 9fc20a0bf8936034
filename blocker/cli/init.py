"""`blocker register init`: everything a register begins with, asked for or given."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from blocker.cli.ask import Secrets, ask, ask_text, ask_yes, command_text, interactive, require
from blocker.cli.desk import file_of, now, register_option, secret_options, url_of
from blocker.cli.officer import accept_passphrase, check_free, make_key, read_id, read_public
from feeds.errors import Rejected, Unavailable
from feeds.language import _
from feeds.manifest import Contact
from feeds.officers import Officer
from feeds.rule import check_authority
from feeds.terminal import answer, hint, json_option, table

if TYPE_CHECKING:
    from blocker.cli.founding import Places
    from blocker.keys import Key

MIN_OFFICERS = 2


@click.command(help=_("Set up a register, its officers, its root keys and its feed. Done once."))
@click.option(
    "--authority", metavar="ID", help=_("Short id of the authority: small letters, digits, hyphens (tn-stttt).")
)
@click.option("--name", metavar="TEXT", help=_("Full name of the authority."))
@click.option("--contact-email", metavar="EMAIL", help=_("Where to object; it stands in every blocked answer."))
@click.option(
    "--contact-name", metavar="TEXT", help=_("The office that takes objections; default: the authority's name.")
)
@click.option("--contact-url", metavar="URL", help=_("A page that tells how to object."))
@click.option("--contact-phone", metavar="TEXT", help=_("A telephone number for objections."))
@click.option("--training", is_flag=True, help=_("For exercises: only names under .example and .test are taken."))
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help=_("Where root keys, officers' keys, the feed and its keys are made."),
)
@click.option("--root-keys", type=click.Path(path_type=Path, file_okay=False), help=_("Default: DIRECTORY/root-keys."))
@click.option(
    "--officer-keys", type=click.Path(path_type=Path, file_okay=False), help=_("Default: DIRECTORY/officer-keys.")
)
@click.option("--feed", type=click.Path(path_type=Path, file_okay=False), help=_("Default: DIRECTORY/feed."))
@click.option("--feed-keys", type=click.Path(path_type=Path, file_okay=False), help=_("Default: DIRECTORY/feed-keys."))
@click.option("--officer", "officers", multiple=True, metavar="ID", help=_("An officer; at least two (repeat it)."))
@click.option("--officer-name", "names", multiple=True, metavar="ID=NAME", help=_("An officer's name (repeat it)."))
@click.option(
    "--officer-public-key",
    "public_keys",
    multiple=True,
    metavar="ID=HEX|FILE",
    help=_("An officer's own public key; without it a key is made here (repeat it)."),
)
@register_option
@secret_options
@json_option
def init(
    authority: str | None,
    name: str | None,
    contact_email: str | None,
    contact_name: str | None,
    contact_url: str | None,
    contact_phone: str | None,
    training: bool,
    directory: Path | None,
    root_keys: Path | None,
    officer_keys: Path | None,
    feed: Path | None,
    feed_keys: Path | None,
    officers: tuple[str, ...],
    names: tuple[str, ...],
    public_keys: tuple[str, ...],
    register_url: str | None,
    passphrase_fd: int | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Ask, make keys, certify officers, make the register and the feed."""
    from blocker.cli.founding import Authority, Places, found

    require(
        ("--authority", authority),
        ("--name", name),
        ("--contact-email", contact_email),
        ("--directory", directory),
        ("--officer", officers),
    )
    asking = interactive() and authority is None
    secrets = Secrets(passphrase_fd, passphrase_file)
    if asking:
        hint(_("This sets up a register. Enter takes the value in brackets; Ctrl-C stops and changes nothing."))
    who = ask(
        authority,
        "--authority",
        _("Short id of the authority"),
        check_authority,
        explain=_("small letters without accents, digits and hyphens, such as tn-stttt; it can never be changed"),
    )
    full = ask_text(name, "--name", _("Full name of the authority"))
    contact = _contact(contact_email, contact_name, contact_url, contact_phone, full, asking)
    if asking and not training:
        training = ask_yes(_("Is it for training only (names under .example and .test)?"))
    base = (
        Path(
            ask_text(
                None if directory is None else str(directory),
                "--directory",
                _("Directory for keys and feed"),
                default=str(Path.cwd() / who) if asking else None,
            )
        )
        .expanduser()
        .absolute()
    )
    url = url_of(register_url)
    places = Places(
        register=file_of(url),
        url=url,
        root_keys=root_keys or base / "root-keys",
        feed=feed or base / "feed",
        feed_keys=feed_keys or base / "feed-keys",
    )
    places.check_free()
    own_names, own_keys = _pairs(names, "--officer-name"), _pairs(public_keys, "--officer-public-key")
    ids = _officer_ids(officers, own_names, own_keys)
    keys_made = officer_keys or base / "officer-keys"
    here = [i for i in ids if not own_keys.get(i)]
    for i in here:
        check_free(keys_made / f"{i}.pem")
    # All keys that others made and all passphrases before the first file: stopping halfway leaves nothing behind.
    handed = {i: read_public(own_keys[i]) for i in ids if own_keys.get(i)}
    root_secrets = _root_secrets(secrets)
    own_secrets = {i: secrets.new(_("the key of officer {id}").format(id=i), accept_passphrase) for i in here}
    roots = _make_root_keys(places.root_keys, root_secrets)
    certified = tuple(
        Officer(i, handed[i] if i in handed else _make_officer_key(keys_made, i, own_secrets[i])) for i in ids
    )
    made = found(Authority(who, full, training, contact, certified, own_names), places, roots, now())
    made.close()
    _report(places, who, training, certified, own_keys, keys_made, as_json)


def _contact(
    email: str | None, name: str | None, url: str | None, phone: str | None, authority: str, asking: bool
) -> Contact:
    """How to object; name, page and telephone may be left out."""

    def read_email(text: str) -> str:
        try:
            return Contact(email=text).email
        except ValueError:
            raise Rejected(_("«{text}» is not an e-mail address").format(text=text)) from None

    def more(value: str | None, option: str, question: str, default: str) -> str:
        return ask_text(value, option, question, default=default) if asking or value else default

    return Contact(
        email=ask(
            email,
            "--contact-email",
            _("E-mail address for objections"),
            read_email,
            explain=_("it stands in every blocked answer, so that anybody can object"),
        ),
        name=more(name, "--contact-name", _("Office that takes objections"), authority),
        url=more(url, "--contact-url", _("Page that tells how to object (Enter: none)"), ""),
        phone=more(phone, "--contact-phone", _("Telephone for objections (Enter: none)"), ""),
    )


def _pairs(given: tuple[str, ...], option: str) -> dict[str, str]:
    """`ID=VALUE` options."""
    out = {}
    for text in given:
        who, equals, value = text.partition("=")
        if not equals or not value:
            raise click.BadParameter(_("write it as ID=VALUE"), param_hint=option)
        out[who.strip()] = value.strip()
    return out


def _officer_ids(given: tuple[str, ...], names: dict[str, str], keys: dict[str, str]) -> list[str]:
    """The officers' ids, asked for (with names and keys, which are filled in) where none were given."""
    ids = [ask(i, "--officer", "", read_id) for i in given]
    if not ids:
        hint(_("At least two officers, since nobody approves what they proposed."))
        while True:
            number = len(ids) + 1
            question = _("Id of officer {n}").format(n=number)
            if len(ids) < MIN_OFFICERS:
                who = ask(None, "--officer", question, read_id)
            else:
                who = ask(None, "--officer", question + _(" (Enter: no more)"), _id_or_none, default="")
            if not who:
                break
            if who in ids:
                hint("  " + _("{id} is named already").format(id=who))
                continue
            ids.append(who)
            names[who] = ask_text(None, "--officer-name", _("Full name of {id}").format(id=who))
            keys[who] = ask(
                None,
                "--officer-public-key",
                _("Public key of {id}, or its .pub file (Enter: make a key now)").format(id=who),
                lambda text: read_public(text) if text else "",
                default="",
            )
    for option, named in (("--officer-name", names), ("--officer-public-key", keys)):
        unknown = [who for who in named if who not in ids]
        if unknown:
            raise click.BadParameter(_("no such officer: {ids}").format(ids=", ".join(unknown)), param_hint=option)
    if len(set(ids)) < MIN_OFFICERS or len(set(ids)) != len(ids):
        raise click.BadParameter(_("name at least two different officers"), param_hint="--officer")
    return ids


def _id_or_none(text: str) -> str:
    return read_id(text) if text else ""


def _root_secrets(secrets: Secrets) -> list[bytes]:
    from blocker.publishing.sign import ROOT_KEYS

    if not secrets.given:
        hint(_("Now the three root keys. Two of them together certify officers; give each to another person."))
    return [secrets.new(_("root key {n}").format(n=n), accept_passphrase) for n in range(1, ROOT_KEYS + 1)]


def _make_root_keys(directory: Path, secrets: list[bytes]) -> "list[Key]":
    from blocker import keys

    _make_directory(directory)
    return [keys.create(directory / f"root-{n}.pem", secret) for n, secret in enumerate(secrets, 1)]


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(_("{path} cannot be written: {why}").format(path=directory, why=error.strerror)) from None


def _make_officer_key(directory: Path, who: str, secret: bytes) -> str:
    _make_directory(directory)
    return make_key(directory / f"{who}.pem", secret)


def _report(
    places: "Places",
    who: str,
    training: bool,
    officers: tuple[Officer, ...],
    own_keys: dict[str, str],
    keys_made: Path,
    as_json: bool,
) -> None:
    here = {o.id: str(keys_made / f"{o.id}.pem") for o in officers if not own_keys.get(o.id)}
    data = {
        "authority": who,
        "training": training,
        "register": str(places.register or places.url),
        "root_keys": [str(p) for p in sorted(places.root_keys.glob("*.pem"))],
        "officers": [{"id": o.id, "key": o.key, "file": here.get(o.id)} for o in officers],
        "feed": str(places.feed),
        "feed_keys": str(places.feed_keys),
        "anchor": str(places.anchor),
    }
    rows = [
        (_("Register"), data["register"]),
        (_("Root keys (offline, in three hands)"), str(places.root_keys)),
        (_("Officers"), ", ".join(o.id for o in officers)),
        *((_("Key of officer {id} (hand it over)").format(id=i), path) for i, path in here.items()),
        (_("Feed (to the web server)"), str(places.feed)),
        (_("Feed's keys (on the publishing host)"), str(places.feed_keys)),
        (_("Trust anchor (to the ISPs)"), str(places.anchor)),
    ]
    answer(as_json, data, table((_("The register is set up."), ""), rows))
    hint(
        _("Next, record the decision that entries will rest on: {command}").format(
            command=command_text("decision", "add")
        )
    )
