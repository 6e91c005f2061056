"""The order in which the shapes of an attack come."""

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def endless(kinds: Sequence[T], rng: random.Random) -> Iterator[T]:
    """One of each, in their order; then any, for ever.

    >>> shapes = endless("abc", random.Random(1))
    >>> "".join(next(shapes) for _ in range(3))
    'abc'
    """
    yield from kinds
    while True:
        yield rng.choice(kinds)
