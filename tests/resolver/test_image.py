"""What an image promises: whole or refused, the same for all, small, and quick to build, open and swap."""

import mmap
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from struct import pack_into

import pytest

from feeds.errors import Unavailable, Untrusted
from feeds.message.building import encode_name
from feeds.name import DomainName
from feeds.rule import Action, Category, NameTarget, Rule, Scope
from resolver.image import (
    KEPT_NAME,
    Image,
    build,
    fetch,
    freshness,
    keep,
    new_memory,
    random_prime,
    seal,
)
from resolver.image.form import HEAD_BYTES, PRIME_BITS
from resolver.loading import FEED, Compiled, Origin
from resolver.policy import Ground, Source, numbered
from tests.resolver.image_of import image_memory
from tests.resolver.live import accept, plain_list
from tests.resolver.play import HOUR, SOURCE, rule

RULES = (
    rule("bad.example", number=5),
    rule("page.example", Action.LOCAL, data="notice.tpa.example", number=999_999_999_999),
    rule("192.0.2.0/24", number=7),
)


def content(memory: int) -> bytes:
    return os.pread(memory, os.fstat(memory).st_size, 0)


def opened(data: bytes) -> Image:
    memory = new_memory()
    try:
        os.pwrite(memory, data, 0)
        return Image.of_descriptor(memory, verify=True)
    finally:
        os.close(memory)


@pytest.fixture
def memory() -> Iterator[int]:
    made = new_memory()
    yield made
    os.close(made)


def loaded(origin: Origin) -> tuple[Compiled, Image]:
    memory = new_memory()
    try:
        compiled = origin.load({FEED: memory})
        return compiled, Image.of_descriptor(memory)
    finally:
        os.close(memory)


def test_every_cut_and_every_changed_octet_is_refused_by_one_error():
    whole = content(image_memory(*RULES))
    assert opened(whole).by_name(encode_name("bad.example"), HOUR)
    for size in [0, 1, 8, 100, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 1, len(whole) - 1]:
        with pytest.raises(Untrusted, match="the image cannot be used: it is cut off"):
            opened(whole[:size])
    with pytest.raises(Untrusted, match="the image cannot be used: it is cut off"):
        opened(whole + b"\0")
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        with pytest.raises(Untrusted, match="the image cannot be used") as caught:
            opened(bytes(changed))
        assert (caught.value.kept, caught.value.exit_code) == ("the release in force stays", 4)


def test_other_files_other_versions_and_other_machines_are_refused():
    whole = content(image_memory(*RULES))
    with pytest.raises(Untrusted, match="this is no image"):
        opened(b"\x7fELF" + bytes(5000))
    for at in (8, 12):
        changed = bytearray(whole)
        pack_into(">I", changed, at, 0x01020304)
        with pytest.raises(Untrusted, match="another version of the program made it, or another machine"):
            opened(bytes(changed))


def test_sealed_memory_cannot_be_changed_by_anybody():
    memory = image_memory(*RULES)
    image = Image.of_descriptor(memory)
    seal(memory)
    for attack in (lambda: os.ftruncate(memory, 0), lambda: os.pwrite(memory, b"x", 600), lambda: mmap.mmap(memory, 0)):
        with pytest.raises(PermissionError):
            attack()
    os.close(memory)
    assert image.by_name(encode_name("www.bad.example"), HOUR).entry == "tpa:5"


def test_the_largest_entry_number_and_an_alias_survive():
    hit = opened(content(image_memory(*RULES))).by_name(encode_name("www.page.example"), HOUR)
    assert hit is not None
    assert (hit.entry, hit.ground.cname) == ("tpa:999999999999", encode_name("notice.tpa.example"))
    assert hit.ground.source == SOURCE


def test_an_empty_release_makes_an_image_that_finds_nothing():
    image = opened(content(image_memory()))
    assert (len(image), image.has_names, image.has_prefixes) == (0, False, False)
    assert image.by_name(encode_name("bad.example"), HOUR) is None
    assert image.by_addresses([(4, 1), (6, 1)], HOUR) is None


def test_primes_are_primes_of_the_promised_size_and_differ():
    rng = Random(4)
    drawn = [random_prime(rng) for _n in range(20)]
    assert len(set(drawn)) == 20
    for prime in drawn:
        assert prime.bit_length() == PRIME_BITS
        assert all(pow(rng.randrange(1, prime), prime - 1, prime) == 1 for _try in range(20))


def test_a_kept_image_is_used_only_for_what_it_was_made_from(tmp_path: Path, memory: int):
    made_from = freshness("1.0", "release", "0000001-aa")
    keep(tmp_path / "kept", image_memory(*RULES, made_from=made_from))
    for other in (
        freshness("1.1", "release", "0000001-aa"),
        freshness("1.0", "list", "0000001-aa"),
        freshness("1.0", "release", "0000002-aa"),
    ):
        assert fetch(tmp_path / "kept", other, memory) is None
    assert fetch(tmp_path / "missing", made_from, memory) is None
    about = fetch(tmp_path / "kept", made_from, memory)
    assert about is not None
    assert (about.rules, about.refused, about.source) == (3, 2, SOURCE)
    assert len(Image.of_descriptor(memory)) == 3


def test_the_next_start_takes_the_kept_image_and_a_new_release_is_compiled(tmp_path: Path):
    state = tmp_path / "state"
    accept(state, 1, rule("one.com", number=1))
    origin = Origin(state=state, program="1.0")
    compiled, image = loaded(origin)
    assert compiled.kept == ((state / KEPT_NAME, FEED),)
    first = image.head
    memory = image_memory()
    os.ftruncate(memory, 0)
    origin.load({FEED: memory})
    keep(state / KEPT_NAME, memory)
    compiled, image = loaded(origin)
    assert not compiled.kept, "it was not compiled"
    assert (compiled.loaded.serial, compiled.loaded.rules, compiled.loaded.authority) == (1, 1, "tpa")
    assert image.by_name(encode_name("one.com"), HOUR).entry == "tpa:1"
    assert image.head.prime != first.prime, "each image draws its own"
    accept(state, 2, rule("two.com", number=2))
    compiled, image = loaded(origin)
    assert compiled.kept == ((state / KEPT_NAME, FEED),)
    assert image.by_name(encode_name("one.com"), HOUR) is None


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:600] + b"\xff" + data[601:]])
def test_a_damaged_kept_image_is_named_and_compiled_again(tmp_path: Path, damage: Callable[[bytes], bytes]):
    state = tmp_path / "state"
    accept(state, 1, rule("one.com", number=1))
    origin = Origin(state=state, program="1.0")
    memory = new_memory()
    origin.load({FEED: memory})
    (state / KEPT_NAME).write_bytes(damage(content(memory)))
    compiled, image = loaded(origin)
    assert image.by_name(encode_name("one.com"), HOUR)
    assert compiled.kept == ((state / KEPT_NAME, FEED),)
    assert f"{state / KEPT_NAME}: the image cannot be used" in compiled.loaded.damage


def test_the_image_beside_a_list_is_used_while_the_list_is_the_same(tmp_path: Path):
    names = plain_list(tmp_path, "one.com", "com")
    origin = Origin(plain=names, program="1.0")
    beside = tmp_path / "list.txt.image"
    compiled, _image = loaded(origin)
    assert not compiled.kept, "nothing is put beside a list unasked"
    memory = new_memory()
    origin.load({FEED: memory})
    keep(beside, memory)
    compiled, _image = loaded(origin)
    assert (compiled.kept, compiled.loaded.rules, compiled.loaded.refused) == ((), 1, 1)
    plain_list(tmp_path, "two.com")
    compiled, image = loaded(origin)
    assert compiled.kept == ((beside, FEED),)
    assert image.by_name(encode_name("one.com"), HOUR) is None
    assert image.by_name(encode_name("two.com"), HOUR).ground.source.foreign


def test_a_name_that_a_list_has_many_times_is_one_rule(tmp_path: Path):
    names = plain_list(tmp_path, *(f"n{i % 40}.com" for i in range(2000)), "192.0.3.1", "192.0.3.1")
    _compiled, image = loaded(Origin(plain=names))
    assert len(image) == 41
    assert all(image.by_name(encode_name(f"n{i}.com"), HOUR) for i in range(40))


def test_where_no_copy_can_be_kept_the_release_is_enforced_all_the_same(tmp_path: Path):
    keep(tmp_path / "not-there" / KEPT_NAME, image_memory(*RULES))
    (tmp_path / KEPT_NAME).mkdir()
    keep(tmp_path / KEPT_NAME, image_memory(*RULES))
    assert [path.name for path in tmp_path.iterdir()] == [KEPT_NAME]


@pytest.mark.data
@pytest.mark.slow
def test_a_million_names_take_40_octets_each_seconds_to_build_and_no_time_to_open(real_list, memory):
    names = real_list("malware.domains.txt.gz")
    source = Source("tpa", 1)

    def rules() -> Iterator[Rule]:
        for number, name in enumerate(names, 1):
            target = NameTarget(DomainName(name), Scope.SUBTREE)
            yield Rule(target, Action.NXDOMAIN, f"tpa:{number}", Category.MALWARE, "1/QĐ", HOUR + 1 + number % 500)

    grounds: list[Ground] = []
    found = numbered(rules(), (), source, grounds)
    start = time.process_time()
    build(memory, found, grounds, source=source, refused=0, made_from=bytes(32), prime=random_prime(Random(1)))
    took = time.process_time() - start
    size = os.fstat(memory).st_size
    opening = time.perf_counter()
    image = Image.of_descriptor(memory)
    opening = time.perf_counter() - opening
    print(f"{took:.1f} s, {size / len(names):.1f} octets a name, opened in {opening * 1e3:.2f} ms")
    assert len(image) == len(names) == 1_109_721
    assert size < 40 * len(names)
    assert took < 20
    assert opening < 0.02
    for number, name in enumerate(names, 1):
        if number % 97 == 0:
            hit = image.by_name(encode_name(name), HOUR)
            assert hit is not None
            assert (hit.entry, hit.target) == (f"tpa:{number}", name)
            assert image.by_name(encode_name(f"free-{name}-free"), HOUR) is None


def test_building_holds_a_few_octets_a_name_in_memory(memory):
    """The names go to the file as they come: a hundred bytes of each, as in a dict, would show."""
    grounds: list[Ground] = []
    found = numbered((rule(f"n{i}.example", number=i + 1) for i in range(20_000)), (), SOURCE, grounds)
    tracemalloc.start()
    build(memory, found, grounds, source=SOURCE, refused=0, made_from=bytes(32), prime=random_prime(Random(1)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000 * 40 + (1 << 20)


def test_memory_that_runs_out_is_said_as_such(tmp_path: Path):
    memory = new_memory()
    seal(memory)
    accept(tmp_path / "state", 1, rule("one.com", number=1))
    for origin in (Origin(state=tmp_path / "state"), Origin(plain=plain_list(tmp_path, "one.com"))):
        with pytest.raises(Unavailable, match="the image cannot be written"):
            origin.load({FEED: memory})
    os.close(memory)


def test_what_has_not_changed_since_the_last_load_is_neither_made_nor_copied_again(tmp_path):
    accept(tmp_path / "state", 1, rule("one.com", number=1))
    held, fresh = new_memory(), new_memory()
    for origin in (Origin(state=tmp_path / "state"), Origin(plain=plain_list(tmp_path, "one.com"))):
        os.ftruncate(held, 0)
        assert origin.load({FEED: held}).layers == ((FEED, True),)
        compiled = origin.load({FEED: fresh}, {FEED: held})
        assert compiled.layers == ((FEED, False),)
        assert (compiled.loaded.rules, os.fstat(fresh).st_size) == (1, 0)
    os.close(held)
    os.close(fresh)
