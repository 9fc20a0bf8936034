"""The certified officer list as the feed carries it: target `officers.json`, genesis and changes with their signatures.

    {"format": 1, "genesis": {"document": TEXT, "signatures": [[ROOT KEY, SIGNATURE], ...]},
     "changes": [{"document": TEXT, "signatures": [[OFFICER, SIGNATURE], ...]}, ...]}

Each TEXT is a document's canonical bytes, which are UTF-8. Nothing here is trusted until `feeds.officers` verified it.
"""

import json
from collections.abc import Iterable

from feeds.errors import Untrusted
from feeds.language import _
from feeds.officers import SignedChange, SignedGenesis

MAX_CHANGES = 10_000


def officer_file(genesis: SignedGenesis, changes: Iterable[SignedChange]) -> bytes:
    """The bytes of the target."""
    value = {"format": 1, "genesis": _item(genesis), "changes": [_item(change) for change in changes]}
    return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n"


def read_officer_file(data: bytes) -> tuple[SignedGenesis, tuple[SignedChange, ...]]:
    """The reverse; raises Untrusted."""
    try:
        value = json.loads(data)
        if value["format"] != 1 or len(value["changes"]) > MAX_CHANGES:
            raise ValueError(_("it needs a newer program"))
        genesis = SignedGenesis(*_parts(value["genesis"]))
        return genesis, tuple(SignedChange(*_parts(change)) for change in value["changes"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Untrusted(_("the officer list is malformed: {why}").format(why=error)) from None


def _item(signed: SignedGenesis | SignedChange) -> dict[str, object]:
    return {"document": signed.document.decode(), "signatures": [list(pair) for pair in signed.signatures]}


def _parts(item: dict[str, object]) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    document, pairs = item["document"], item["signatures"]
    if not isinstance(document, str) or not isinstance(pairs, list):
        raise TypeError(_("a part has the wrong form"))
    return document.encode(), tuple((str(who), str(signature)) for who, signature in pairs)
