"""`blocker dns query`: what a resolver does with a name, and why."""

import re
import socket
from dataclasses import dataclass
from secrets import randbits

import click
import dns.exception
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from feeds.errors import Failure, Rejected, Unavailable, Untrusted
from feeds.language import _
from feeds.message import Malformed, Record, Response, read_response, response_matches
from feeds.message.building import encode_opt, encode_option, encode_query, encode_question, name_text
from feeds.message.words import OPTION_EDE
from feeds.name import DomainName
from feeds.terminal import answer, json_option, printable, table
from resolver.asked import OPTION_ORIGIN
from resolver.command.addresses import AddressPort, label
from resolver.upstream import Address

ATTEMPTS = 3
BLOCKING_ERRORS = frozenset({15, 16, 17})  # RFC 8914 sections 4.16 to 4.18
_MOST_BYTES = 65_535


@dataclass(frozen=True, slots=True)
class Finding:
    """What a reply says. `origin` is known only from a resolver of ours that listens on this machine."""

    name: str
    rtype: str
    server: str
    rcode: str
    verdict: str
    records: tuple[str, ...]
    authentic: bool
    errors: tuple[tuple[int, str], ...]
    entry: str = ""
    decision: str = ""
    objections: str = ""
    list: str = ""
    origin: str = ""
    rule: str = ""
    serial: int = 0
    upstream: str = ""


@click.command(help=_("Ask a resolver for a name and say what it did with it, and why."))
@click.argument("name")
@click.argument("rtype", metavar="[TYPE]", default="A")
@click.option("--server", type=AddressPort(), default="127.0.0.1:53", show_default=True, help=_("The resolver to ask."))
@click.option("--tcp", is_flag=True, help=_("Ask over TCP."))
@click.option("--timeout", type=click.FloatRange(0.1, 60), default=3.0, show_default=True, help=_("Seconds per try."))
@json_option
def query(name: str, rtype: str, server: Address, tcp: bool, timeout: float, as_json: bool) -> None:
    wanted = DomainName.parse(name).name
    try:
        number = int(dns.rdatatype.from_text(rtype))
    except (dns.exception.DNSException, ValueError):
        raise Rejected(
            _("«{text}» is not a record type").format(text=rtype), rule="query.type", then=_("try A, AAAA or HTTPS")
        ) from None
    question = encode_question(wanted.wire, number)
    found = finding(_ask(question, server, tcp, timeout), wanted.text, rtype.upper(), label(server))
    answer(as_json, _as_json(found), _as_text(found))


def finding(response: Response, name: str, rtype: str, server: str) -> Finding:
    """Read a verdict from a reply: the Extended DNS Error says whether and why the name is blocked."""
    options = response.edns.options if response.edns is not None else ()
    errors = tuple(
        (int.from_bytes(data[:2], "big"), printable(data[2:].decode("utf-8", "replace")))
        for code, data in options
        if code == OPTION_EDE and len(data) >= 2
    )
    origin = next((data.decode("utf-8", "replace") for code, data in options if code == OPTION_ORIGIN), "")
    kind, _space, rest = printable(origin).partition(" ")
    reason = next((text for code, text in errors if code in BLOCKING_ERRORS), None)
    blocked = reason is not None or kind == "policy"
    rcode = dns.rcode.to_text(dns.rcode.Rcode(response.rcode))
    answered = "truncated" if response.truncated else "answered" if response.rcode in (0, 3) else "failed"
    words = rest.split(" ") if kind == "policy" else []
    return Finding(
        name,
        rtype,
        server,
        rcode,
        "blocked" if blocked else answered,
        tuple(map(_record_text, response.answers)),
        bool(response.flags & 0x20),
        errors,
        **_reasons(reason or ""),
        origin=kind,
        rule=words[-1] if len(words) >= 3 else "",
        serial=int(words[-2]) if len(words) >= 3 and words[-2].isdigit() else 0,
        upstream=rest if kind in ("upstream", "cache", "stale") else "",
    )


def _reasons(text: str) -> dict[str, str]:
    """The parts of our EXTRA-TEXT (`resolver.answer.explanation`): entry, decision, list, objections."""
    found = re.fullmatch(
        r"(?:entry (?P<entry>\S+)(?:; |$))?(?:decision (?P<decision>.*?)(?:(?=; objections )|$))?"
        r"(?:list (?P<list>.*?)(?:(?=; objections )|$))?(?:; )?(?:objections (?P<objections>.*))?",
        text,
    )
    return {key: value or "" for key, value in found.groupdict().items()} if found else {}


def _record_text(record: Record) -> str:
    rdclass, rtype = dns.rdataclass.RdataClass.make(record.rclass), dns.rdatatype.RdataType.make(record.rtype)
    try:
        rdata = dns.rdata.from_wire(rdclass, rtype, record.rdata, 0, len(record.rdata)).to_text()
    except dns.exception.DNSException:
        rdata = f"\\# {len(record.rdata)} {record.rdata.hex()}"
    return printable(f"{name_text(record.owner)} {record.ttl} {dns.rdatatype.to_text(rtype)} {rdata}")


def _as_json(found: Finding) -> dict[str, object]:
    return {
        "name": found.name,
        "type": found.rtype,
        "server": found.server,
        "verdict": found.verdict,
        "rcode": found.rcode,
        "rule": found.rule,
        "entry": found.entry,
        "decision": found.decision,
        "list": found.list,
        "objections": found.objections,
        "serial": found.serial,
        "origin": found.origin,
        "upstream": found.upstream,
        "authentic": found.authentic,
        "errors": [{"code": code, "text": text} for code, text in found.errors],
        "answer": list(found.records),
    }


def _as_text(found: Finding) -> str:
    verdicts = {
        "blocked": _("blocked"),
        "answered": _("answered"),
        "failed": _("failed"),
        "truncated": _("truncated: ask again with --tcp"),
    }
    origins = {"cache": _("{upstream}, from the cache"), "stale": _("{upstream}, some time ago")}
    rows = [
        (_("Question"), f"{found.name} {found.rtype}"),
        (_("Verdict"), f"{verdicts[found.verdict]} ({found.rcode})"),
        (_("Rule"), found.rule),
        (_("Entry"), found.entry),
        (_("Decision"), found.decision),
        (_("List"), found.list),
        (_("Objections"), found.objections),
        (_("Release"), str(found.serial) if found.serial else ""),
        (_("Upstream"), origins.get(found.origin, "{upstream}").format(upstream=found.upstream)),
        *((_("Error"), f"{code} {text}".strip()) for code, text in found.errors if code not in BLOCKING_ERRORS),
        *((_("Answer"), record) for record in found.records),
    ]
    return table(rows[0], [row for row in rows[1:] if row[1].strip(" ,")])


def _ask(question: bytes, server: Address, tcp: bool, timeout: float) -> Response:
    """The reply, over UDP and, where that is too small, TCP; raises a Failure."""
    message_id = randbits(16)
    opt = encode_opt(options=encode_option(OPTION_ORIGIN, b""))
    data = encode_query(message_id, question, ad=True, opt=opt)
    try:
        if not tcp:
            heard = _over_udp(data, message_id, question, server, timeout)
            response = read_response(heard, question)
            if not response.truncated:
                return response
        return read_response(_over_tcp(data, server, timeout), question)
    except TimeoutError:
        raise Unavailable(
            _("{server} does not answer").format(server=label(server)),
            then=_("see whether it runs; a rule with action drop is silent, too"),
        ) from None
    except OSError as error:
        raise Unavailable(
            _("{server} cannot be reached: {why}").format(server=label(server), why=error.strerror),
            then=_("see whether a resolver runs there, or name another with --server"),
        ) from None
    except Malformed as error:
        raise Untrusted(
            _("{server} sent something that is no answer: {why}").format(server=label(server), why=error.reason)
        ) from None


def _over_udp(data: bytes, message_id: int, question: bytes, server: Address, timeout: float) -> bytes:
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        sock.connect(server)
        for attempt in range(ATTEMPTS):
            sock.send(data)
            try:
                for _stray in range(100):
                    heard = sock.recv(_MOST_BYTES)
                    if response_matches(heard, message_id, question):
                        return heard
            except TimeoutError:
                if attempt == ATTEMPTS - 1:
                    raise
    raise Failure(_("{server} sends nothing but strange answers").format(server=label(server)))


def _over_tcp(data: bytes, server: Address, timeout: float) -> bytes:
    with socket.create_connection(server, timeout) as sock:
        sock.settimeout(timeout)
        sock.sendall(len(data).to_bytes(2, "big") + data)
        with sock.makefile("rb") as stream:
            size = int.from_bytes(stream.read(2), "big")
            heard = stream.read(size)
        if len(heard) != size or size < 12:
            raise ConnectionResetError(0, _("it closed the connection"))
        return heard
