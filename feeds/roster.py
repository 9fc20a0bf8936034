"""The certified officer list as the feed carries it: target `officers.json`.

Signed documents as they are, so that an ISP can verify them from the root keys (`feeds.officers.verify`); TUF's
signature over this target adds nothing to that and is not relied on.
"""

import json
from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from feeds.errors import Untrusted
from feeds.language import _
from feeds.officers import SignedChange, SignedGenesis

MAX_ROSTER_BYTES = 4 << 20
MAX_CHANGES = 10_000

_Text = Annotated[str, Field(max_length=100_000)]
_Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


class _Signed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    document: _Text
    signatures: Annotated[dict[Annotated[str, Field(max_length=64)], _Hex], Field(max_length=64)]


class _Roster(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Annotated[int, Field(ge=1, le=1)]
    genesis: _Signed
    changes: Annotated[list[_Signed], Field(max_length=MAX_CHANGES)]


def roster_bytes(genesis: SignedGenesis, changes: Iterable[SignedChange]) -> bytes:
    """The bytes of `officers.json`."""

    def plain(signed: SignedGenesis | SignedChange) -> dict[str, object]:
        return {"document": signed.document.decode(), "signatures": dict(sorted(signed.signatures))}

    value = {"format": 1, "genesis": plain(genesis), "changes": [plain(change) for change in changes]}
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def roster_of_bytes(data: bytes) -> tuple[SignedGenesis, tuple[SignedChange, ...]]:
    """Read `officers.json`; raises Untrusted for another form. What it says is not verified here."""
    try:
        if len(data) > MAX_ROSTER_BYTES:
            raise ValueError
        read = _Roster.model_validate_json(data)
    except (ValidationError, ValueError):
        raise Untrusted(_("the officer list of the feed is malformed")) from None
    genesis = SignedGenesis(read.genesis.document.encode(), tuple(sorted(read.genesis.signatures.items())))
    changes = (SignedChange(c.document.encode(), tuple(sorted(c.signatures.items()))) for c in read.changes)
    return genesis, tuple(changes)
