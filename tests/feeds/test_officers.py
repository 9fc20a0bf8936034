"""The certified officer list: root-signed start, each change signed by two others, nothing left out or moved."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from feeds.errors import Rejected, Untrusted
from feeds.officers import (
    Genesis,
    Kind,
    Officer,
    OfficerChange,
    OfficerList,
    SignedChange,
    SignedGenesis,
    Step,
    sign,
    signed_by,
    verify,
    verify_genesis,
)

NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)


class Key:
    """A key that is the same in every run."""

    def __init__(self, seed: int) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.public_hex = self._private.public_key().public_bytes_raw().hex()

    def sign(self, data: bytes) -> bytes:
        return self._private.sign(data)


ROOTS = [Key(200), Key(201), Key(202)]
ROOT_KEYS = [root.public_hex for root in ROOTS]
KEYS = {"an": Key(1), "binh": Key(2), "chi": Key(3), "dung": Key(4)}


def genesis(*signers: Key, document: bytes | None = None) -> SignedGenesis:
    officers = tuple(Officer(id, KEYS[id].public_hex) for id in ("an", "binh", "chi"))
    document = document or Genesis("so", False, NOW, officers).to_bytes()
    return SignedGenesis(document, tuple((k.public_hex, sign(Kind.GENESIS, document, k)) for k in signers))


def change(after: OfficerList, step: Step, id: str, *by: str, key: str = "", **other: object) -> SignedChange:
    said = OfficerChange("so", after.length + 1, after.head, step, Officer(id, key or KEYS[id].public_hex), NOW)
    document = replace(said, **other).to_bytes()  # type: ignore[arg-type]
    return SignedChange(document, tuple((who, sign(Kind.CHANGE, document, KEYS[who])) for who in by))


@pytest.fixture
def listed() -> OfficerList:
    return verify_genesis(genesis(*ROOTS[:2]), ROOT_KEYS, 2)


def test_two_of_three_root_keys_certify_the_first_officers(listed: OfficerList) -> None:
    assert [o.id for o in listed.active()] == ["an", "binh", "chi"]
    assert (listed.authority, listed.training, listed.length) == ("so", False, 0)


@pytest.mark.parametrize("signers", [(), (ROOTS[0],), (ROOTS[0], ROOTS[0]), (ROOTS[0], Key(9))])
def test_fewer_root_keys_certify_nobody(signers: tuple[Key, ...]) -> None:
    with pytest.raises(Untrusted, match="root signatures"):
        verify_genesis(genesis(*signers), ROOT_KEYS, 2)
    with pytest.raises(Untrusted):
        verify_genesis(genesis(*ROOTS), ROOT_KEYS, 0)


def test_any_byte_changed_in_the_first_list_breaks_it() -> None:
    signed = genesis(*ROOTS)
    for place in range(0, len(signed.document), 7):
        data = bytearray(signed.document)
        data[place] ^= 1
        with pytest.raises(Untrusted):
            verify_genesis(replace(signed, document=bytes(data)), ROOT_KEYS, 2)


def test_the_history_tells_who_could_sign_at_each_change(listed: OfficerList) -> None:
    changes = [change(listed, Step.ADD, "dung", "an", "binh")]
    second = listed.after(changes[0])
    changes.append(change(second, Step.DISABLE, "an", "dung", "chi"))
    third = second.after(changes[1])
    fresh = Key(11).public_hex
    changes.append(change(third, Step.ROTATE, "binh", "dung", "chi", key=fresh))
    last = verify(genesis(*ROOTS), ROOT_KEYS, 2, changes)
    assert [last.key_of("an", n) is not None for n in range(4)] == [True, True, False, False]
    assert [last.key_of("dung", n) is not None for n in range(4)] == [False, True, True, True]
    assert (last.key_of("binh", 2), last.key_of("binh")) == (KEYS["binh"].public_hex, fresh)
    again = last.after(change(last, Step.ENABLE, "an", "dung", "chi"))
    assert again.key_of("an") == KEYS["an"].public_hex


@pytest.mark.parametrize("by", [(), ("an",), ("an", "an"), ("an", "dung"), ("chi", "an")])
def test_a_change_needs_two_others_active_before_it(listed: OfficerList, by: tuple[str, ...]) -> None:
    with pytest.raises(Untrusted, match="two other officers"):
        listed.after(change(listed, Step.ROTATE, "chi", *by, key=Key(11).public_hex))


@pytest.mark.parametrize(
    ("step", "id", "key", "match"),
    [
        (Step.ADD, "an", Key(11).public_hex, "already on the list"),
        (Step.ADD, "dung", KEYS["chi"].public_hex, "used before"),
        (Step.ROTATE, "chi", KEYS["an"].public_hex, "used before"),
        (Step.ROTATE, "dung", Key(11).public_hex, "not on the list"),
        (Step.DISABLE, "dung", "", "not on the list"),
        (Step.ENABLE, "chi", "", "active already"),
        (Step.DISABLE, "chi", Key(11).public_hex, "not the key on the list"),
    ],
)
def test_a_change_that_does_not_fit_is_refused(listed: OfficerList, step: Step, id: str, key: str, match: str) -> None:
    with pytest.raises(Untrusted, match=match):
        listed.after(change(listed, step, id, "an", "binh", key=key))


def test_two_officers_always_remain(listed: OfficerList) -> None:
    two = listed.after(change(listed, Step.DISABLE, "chi", "an", "binh"))
    with pytest.raises(Untrusted, match="two officers must remain"):
        two.after(change(two, Step.DISABLE, "binh", "an", "an"))


def test_changes_cannot_be_left_out_repeated_or_reordered(listed: OfficerList) -> None:
    first = change(listed, Step.ADD, "dung", "an", "binh")
    second = change(listed.after(first), Step.DISABLE, "chi", "an", "binh")
    for order in ([second], [first, first], [second, first], [first, second, second]):
        with pytest.raises(Untrusted, match="has changed since"):
            verify(genesis(*ROOTS), ROOT_KEYS, 2, order)


def test_a_change_of_another_authority_does_not_fit(listed: OfficerList) -> None:
    with pytest.raises(Untrusted):
        listed.after(change(listed, Step.ADD, "dung", "an", "binh", authority="other"))


def test_a_signature_is_for_one_kind_of_document_only() -> None:
    document = b"the same bytes\n"
    for made in Kind:
        signature = sign(made, document, KEYS["an"])
        assert [kind for kind in Kind if signed_by(kind, document, KEYS["an"].public_hex, signature)] == [made]


def test_what_is_signed_is_never_what_tuf_signs() -> None:
    seen: list[bytes] = []

    class Watched(Key):
        def sign(self, data: bytes) -> bytes:
            seen.append(data)
            return super().sign(data)

    sign(Kind.REVIEW, b'{"_type":"targets"}', Watched(1))
    assert seen[0].startswith(b"blocker signature 1\nreview\n")


def test_malformed_keys_and_signatures_are_simply_not_good() -> None:
    good = sign(Kind.REVIEW, b"x", KEYS["an"])
    for key, signature in (
        ("", good),
        ("zz", good),
        (KEYS["an"].public_hex, ""),
        (KEYS["an"].public_hex, good.upper()),
    ):
        assert not signed_by(Kind.REVIEW, b"x", key, signature)


def test_officers_are_ids_and_keys_never_names() -> None:
    for id in ("Nguyễn Văn An", "an.nguyen", "AN", "", "a" * 33, "an\tx"):
        with pytest.raises(Rejected, match="officer's id"):
            Officer(id, Key(1).public_hex)
    with pytest.raises(Rejected, match="at least two"):
        Genesis("so", False, NOW, (Officer("an", Key(1).public_hex),))


def test_only_canonical_bytes_are_read(listed: OfficerList) -> None:
    data = change(listed, Step.ADD, "dung", "an", "binh").document
    assert OfficerChange.of_bytes(data).to_bytes() == data
    for bad in (data + b"x\n", data[:-1], data.replace(b"number\t1", b"number\t01"), b"\xff", b"", data.upper()):
        with pytest.raises(Untrusted):
            OfficerChange.of_bytes(bad)
    first = genesis().document
    lines = first.split(b"\n")
    lines[-4:-1] = reversed(lines[-4:-1])
    with pytest.raises(Untrusted, match="canonical"):
        Genesis.of_bytes(b"\n".join(lines))
