"""`blocker decision`: the documents that entries rest on."""

import hashlib
from pathlib import Path

import click

from blocker.cli.ask import ask, ask_text, command_text, interactive, require
from blocker.cli.desk import id_option, now, opened, register_option
from blocker.cli.when import read_day
from blocker.proposal import Decision
from blocker.register import DecisionView
from feeds.errors import Rejected
from feeds.language import _
from feeds.terminal import answer, day_text, hint, json_option, moment_text, table


@click.group(help=_("Record and show the decisions that entries rest on."))
def decision() -> None:
    """The group."""


@decision.command(help=_("Record a decision. On a terminal it asks for whatever you leave out."))
@register_option
@id_option
@click.option("--number", metavar="TEXT", help=_("Its number and sign, as printed on it (123/QĐ-STTTT)."))
@click.option("--notation", metavar="TEXT", help=_("How entries will name it; default: the number."))
@click.option("--agency", metavar="TEXT", help=_("The agency that issued it."))
@click.option("--date", "issued", metavar="DATE", help=_("The day it was issued: 24/11/2026 or 2026-11-24."))
@click.option("--subject", metavar="TEXT", help=_("What it is about (trích yếu)."))
@click.option("--legal-basis", metavar="TEXT", help=_("The law, article and clause it rests on."))
@click.option("--contact", metavar="TEXT", help=_("Where to object: an e-mail address, a telephone number."))
@click.option(
    "--file",
    "document",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help=_("The signed document; its SHA-256 is kept, not the file."),
)
@click.option("--sha256", metavar="HEX", help=_("The SHA-256 of the signed document, instead of --file."))
@click.option("--court", metavar="TEXT", help=_("For court rulings: the court."))
@click.option("--ruling", metavar="TEXT", help=_("For court rulings: the number of the ruling."))
@json_option
def add(
    register_url: str | None,
    officer: str | None,
    number: str | None,
    notation: str | None,
    agency: str | None,
    issued: str | None,
    subject: str | None,
    legal_basis: str | None,
    contact: str | None,
    document: Path | None,
    sha256: str | None,
    court: str | None,
    ruling: str | None,
    as_json: bool,
) -> None:
    """Ask, check, store, say what comes next."""
    require(
        ("--officer", officer),
        ("--number", number),
        ("--agency", agency),
        ("--date", issued),
        ("--subject", subject),
        ("--legal-basis", legal_basis),
        ("--contact", contact),
    )
    asking = interactive() and number is None
    by = ask_text(officer, "--officer", _("Your officer id"))
    sign = ask_text(number, "--number", _("Number and sign of the decision"), explain=_("for example 123/QĐ-STTTT"))
    name = ask_text(notation, "--notation", _("Name it in the register as"), default=sign) if asking else notation
    made = Decision(
        notation=name or sign,
        number=sign,
        agency=ask_text(agency, "--agency", _("Agency that issued it")),
        date=ask(issued, "--date", _("Date of issue (dd/mm/yyyy)"), read_day),
        subject=ask_text(subject, "--subject", _("Subject")),
        legal_basis=ask_text(
            legal_basis, "--legal-basis", _("Legal basis"), explain=_("law, article, clause; it is shown to the public")
        ),
        contact=ask_text(
            contact,
            "--contact",
            _("Contact for objections"),
            explain=_("e-mail address or telephone number; it is shown to the public"),
        ),
        sha256=_digest(document, sha256, asking),
        court=_optional(court, "--court", _("Court (only for a court ruling, else Enter)"), asking),
        ruling=_optional(ruling, "--ruling", _("Number of the ruling (only for a court ruling, else Enter)"), asking),
    )
    with opened(register_url) as register:
        register.decisions.add(made, by, now())
        view = register.decisions.get(made.notation)
    answer(as_json, as_data(view), _("Decision {notation} is recorded.").format(notation=made.notation))
    hint(
        _("Next, open a proposal under it: {command}").format(
            command=command_text("proposal", "new", "--decision", made.notation)
        )
    )


@decision.command("list", help=_("List decisions, newest first."))
@register_option
@click.option(
    "--search", default="", metavar="TEXT", help=_("Only those with this text; accents and case are ignored.")
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help=_("At most so many."))
@click.option("--offset", type=click.IntRange(0), default=0, help=_("Leave out so many at the start."))
@json_option
def list_(register_url: str | None, search: str, limit: int, offset: int, as_json: bool) -> None:
    """One line a decision."""
    with opened(register_url) as register:
        found = register.decisions.search(search, limit, offset)
    rows = [(d.notation, day_text(d.date), d.agency, d.subject, d.entries) for d in found]
    columns = (_("Decision"), _("Date"), _("Agency"), _("Subject"), _("Entries"))
    answer(as_json, [as_data(d) for d in found], table(columns, rows) if rows else _("No decision found."))


@decision.command(help=_("Show one decision."))
@click.argument("notation")
@register_option
@json_option
def show(notation: str, register_url: str | None, as_json: bool) -> None:
    """Everything about it."""
    with opened(register_url) as register:
        view = register.decisions.get(notation)
    rows = [
        (_("Decision"), view.notation),
        (_("Number"), view.number),
        (_("Agency"), view.agency),
        (_("Date"), day_text(view.date)),
        (_("Subject"), view.subject),
        (_("Legal basis"), view.legal_basis),
        (_("Contact for objections"), view.contact),
        (_("SHA-256 of the document"), view.sha256),
        (_("Court"), view.court),
        (_("Ruling"), view.ruling),
        (_("Recorded"), moment_text(view.recorded)),
        (_("Recorded by"), view.officer),
        (_("Entries"), view.entries),
    ]
    answer(as_json, as_data(view), table(("", ""), [row for row in rows if row[1] != ""]))


def as_data(view: DecisionView) -> dict[str, object]:
    """As `--json` prints it."""
    return {
        "notation": view.notation,
        "number": view.number,
        "agency": view.agency,
        "date": view.date.isoformat(),
        "subject": view.subject,
        "legal_basis": view.legal_basis,
        "contact": view.contact,
        "sha256": view.sha256,
        "court": view.court,
        "ruling": view.ruling,
        "recorded": view.recorded.isoformat(),
        "officer": view.officer,
        "entries": view.entries,
    }


def _optional(value: str | None, option: str, question: str, asking: bool) -> str:
    return ask_text(value, option, question, default="") if asking or value else ""


def _digest(document: Path | None, sha256: str | None, asking: bool) -> str:
    """The SHA-256 of the signed file, from the file where it is at hand."""

    def of_file(text: str) -> str:
        if not text:
            return ""
        try:
            with Path(text).expanduser().open("rb") as file:
                if not file.read(1):
                    raise Rejected(
                        _("the file {path} is empty").format(path=text),
                        kept=_("nothing was recorded"),
                        then=_("name the signed document itself"),
                    )
                file.seek(0)
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise Rejected(
                _("the file {path} cannot be read: {why}").format(path=text, why=error.strerror or error)
            ) from None

    if document is not None:
        return of_file(str(document))
    if sha256 is not None or not asking:
        return (sha256 or "").strip().lower()
    return ask(
        None,
        "--file",
        _("File of the signed document (Enter if you do not have it)"),
        of_file,
        default="",
        explain=_("only its SHA-256 is kept, so that anybody can check the document later"),
    )
