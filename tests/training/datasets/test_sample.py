"""Parts of clips: equal ones as ever, unequal ones by their shares."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from matchka_train.datasets.sample import Parts, Sample, count_parts

SHARES = (0.16, 0.22, 0.28, 0.34)


def parts_of(parts: Parts) -> list[Sample]:
    return [Sample(Path("clip.wav"), "who", "here", part, parts) for part in range(count_parts(parts))]


@pytest.mark.parametrize("parts", [1, 2, 3, 7, SHARES, (0.4, 0.3, 0.2, 0.1), (1 / 3, 1 / 3, 1 / 3)])
def test_parts_when_put_together_are_the_whole_clip(parts: Parts) -> None:
    for length in (1, 10, 4_097, 160_000, 159_999):
        clip = np.arange(length)
        pieces = [clip[sample.within(length)] for sample in parts_of(parts)]
        assert np.array_equal(np.concatenate(pieces), clip)
    spans = [sample.span for sample in parts_of(parts)]
    assert (spans[0][0], spans[-1][1]) == (0, 1)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))


def test_parts_when_shares_are_given_have_these_lengths() -> None:
    lengths = [len(range(160_000)[sample.within(160_000)]) for sample in parts_of(SHARES)]
    assert lengths == pytest.approx([25_600, 35_200, 44_800, 54_400], abs=1)


@pytest.mark.parametrize("length", [7, 160_000, 99_991])
def test_parts_when_equal_are_cut_where_they_always_were(length: int) -> None:
    """The feature cache knows them by their number alone."""
    for count in range(1, 17):
        edges = [int(number * (length / count)) for number in range(count)] + [length]
        found = [sample.within(length) for sample in parts_of(count)]
        assert [(part.start, part.stop) for part in found] == list(itertools.pairwise(edges))
