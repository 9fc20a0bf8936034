"""Bulk statements: two officers say that a large change is meant.

Whoever holds the feed's targets key could delegate the role `officers` to keys of his own. So TUF's verification is
not enough: both signatures must be by officers on the list that the root keys certify (`feeds.officers`), and that
list may only grow from pull to pull.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tuf.api.metadata import Root

from feeds.brake import Allowance
from feeds.errors import Failure, Untrusted
from feeds.language import _
from feeds.manifest import BulkStatement, Manifest, bulk_path
from feeds.officers import verify_genesis
from feeds.repository import MAX_BULK_BYTES, MAX_OFFICERS_BYTES, OFFICERS_PATH, OfficersRole, Repository
from feeds.roster import roster_of_bytes
from feeds.store import Store

THRESHOLD = 2
MEMORY = "officers.json"


def allowances(
    store: Store, repository: Repository, manifest: Manifest, since: int
) -> tuple[tuple[Allowance, ...], tuple[str, ...]]:
    """The statements for changes from serial `since` on that may count, and a sentence for each that may not."""
    good: list[Allowance] = []
    doubts: list[str] = []
    wanted = [path for path in manifest.bulk if _within(path, since, manifest.serial)]
    keys: frozenset[str] = frozenset()
    if wanted:
        try:
            keys = certified_keys(store, repository, manifest)
        except Failure as error:
            return (), (_("bulk statements do not count: {why}").format(why=error.what),)
    for path in wanted:
        try:
            statement = _statement(repository, path, keys)
        except Failure as error:
            doubts.append(_("the statement {path} does not count: {why}").format(path=path, why=error.what))
            continue
        if statement.authority != manifest.authority or path != bulk_path(statement.from_serial, statement.to_serial):
            doubts.append(_("the statement {path} is for another change").format(path=path))
            continue
        good.append(Allowance(statement.from_serial, statement.to_serial, statement.removed, statement.added))
    return tuple(good), tuple(doubts)


def certified_keys(store: Store, repository: Repository, manifest: Manifest) -> frozenset[str]:
    """Public keys of the officers active now; raises Untrusted where the list does not hold or lost something.

    Genesis must be signed by as many root keys as the feed's root metadata itself needs.
    """
    raw = repository.read(OFFICERS_PATH, MAX_OFFICERS_BYTES)
    if raw is None:
        raise Untrusted(_("the feed carries no officer list"))
    genesis, changes = roster_of_bytes(raw)
    root = repository.root
    role = root.roles[Root.type]
    keys = {str(root.keys[keyid].keyval.get("public", "")) for keyid in role.keyids}
    officers = verify_genesis(genesis, keys, role.threshold)
    if (officers.authority, officers.training) != (manifest.authority, manifest.training):
        raise Untrusted(_("the officer list is another authority's"))
    heads = [officers.head]
    for change in changes:
        officers = officers.after(change)
        heads.append(officers.head)
    known = store.remembered(MEMORY).get("head")
    if known is not None and known not in heads:
        raise Untrusted(_("the officer list lost changes that were in it before"))
    store.remember(MEMORY, {"head": officers.head})
    return frozenset(officer.key for officer in officers.active())


def remember_officers(store: Store, repository: Repository, manifest: Manifest) -> str:
    """Take note of the newest officer list, so that no older one can come back; a sentence where it does not hold.

    No reason to refuse a release: no statement counts before the list holds again.
    """
    try:
        certified_keys(store, repository, manifest)
    except Failure as error:
        return _("no bulk statement will count: {why}").format(why=error.what)
    return ""


def signers(role: OfficersRole, certified: frozenset[str]) -> frozenset[str]:
    """The certified keys that signed the role's document."""
    return frozenset(
        key
        for key, signature in role.signatures.values()
        if key in certified and _signed(role.document, key, signature)
    )


def _within(path: str, since: int, until: int) -> bool:
    numbers = path.removeprefix("bulk/").removesuffix(".json").split("-")
    return (
        len(numbers) == 2
        and all(n.isascii() and n.isdigit() and len(n) <= 7 for n in numbers)
        and since <= int(numbers[0]) < int(numbers[1]) <= until
    )


def _statement(repository: Repository, path: str, certified: frozenset[str]) -> BulkStatement:
    role = repository.officers_role(path)
    if role is None:
        raise Untrusted(_("it is not signed in the role of the officers"))
    found = len(signers(role, certified))
    if found < THRESHOLD:
        raise Untrusted(_("{n} certified officers signed it and two must").format(n=found))
    raw = repository.fetch(role.targets[path], repository.scratch / "bulk", MAX_BULK_BYTES).read_bytes()
    statement: BulkStatement = BulkStatement.of_bytes(raw)
    return statement


def _signed(document: bytes, key: str, signature: str) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), document)
    except (InvalidSignature, ValueError):
        return False
    return True
