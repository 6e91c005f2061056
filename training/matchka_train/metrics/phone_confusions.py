"""Which phones are taken for which: counts along the best alignment of what was decoded and what was to be read."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

Phones = tuple[int, ...]
NOTHING: Final = 0  # no phone: on the left an insertion, on the right a deletion


def confusions(decoded: Sequence[Phones], read: Sequence[Phones]) -> Counter[tuple[int, int]]:
    """Count pairs of (read, decoded); one of the two is 0 where a phone was inserted or left out.

    Args:
        decoded: phones of each clip.
        read: phones of each clip's text.

    >>> sorted(confusions([(1, 3)], [(1, 2, 3)]).items())
    [((1, 1), 1), ((2, 0), 1), ((3, 3), 1)]
    """
    found: Counter[tuple[int, int]] = Counter()
    for said, wanted in zip(decoded, read, strict=True):
        found.update(_alignment(wanted, said))
    return found


def _alignment(wanted: Phones, said: Phones) -> list[tuple[int, int]]:
    """The cheapest way from one to the other, by Wagner and Fischer; equal costs prefer a substitution."""
    costs = np.zeros((len(wanted) + 1, len(said) + 1), np.int64)
    costs[:, 0], costs[0] = np.arange(len(wanted) + 1), np.arange(len(said) + 1)
    for i, phone in enumerate(wanted, start=1):
        for j, other in enumerate(said, start=1):
            costs[i, j] = min(costs[i - 1, j - 1] + (phone != other), costs[i - 1, j] + 1, costs[i, j - 1] + 1)
    pairs = []
    i, j = len(wanted), len(said)
    while i or j:
        if i and j and costs[i, j] == costs[i - 1, j - 1] + (wanted[i - 1] != said[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((wanted[i], said[j]))
        elif i and costs[i, j] == costs[i - 1, j] + 1:
            i -= 1
            pairs.append((wanted[i], NOTHING))
        else:
            j -= 1
            pairs.append((NOTHING, said[j]))
    return pairs
