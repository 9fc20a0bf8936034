"""Images for tests."""

from random import Random

from feeds.rule import Rule
from resolver.image import build, new_memory, random_prime
from resolver.policy import Ground, numbered
from tests.resolver.play import SOURCE


def image_memory(*rules: Rule, made_from: bytes = bytes(32)) -> int:
    """A descriptor of memory with the image of these rules."""
    grounds: list[Ground] = []
    memory = new_memory()
    found = numbered(rules, (), SOURCE, grounds)
    build(memory, found, grounds, source=SOURCE, refused=2, made_from=made_from, prime=random_prime(Random(1)))
    return memory
