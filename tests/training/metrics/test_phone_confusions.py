"""Confusions along the best alignment."""

import numpy as np

from matchka_train.metrics.phone_confusions import NOTHING, confusions
from matchka_train.metrics.phone_errors import edit_distance


def test_confusions_count_substitutions_insertions_and_deletions_by_name() -> None:
    found = confusions([(1, 2, 4), (5, 6)], [(1, 3, 4), (6,)])
    assert found == {(1, 1): 1, (3, 2): 1, (4, 4): 1, (NOTHING, 5): 1, (6, 6): 1}


def test_confusions_of_many_clips_hold_as_many_errors_as_the_edit_distance() -> None:
    generator = np.random.default_rng(0)
    clips = [tuple(generator.integers(1, 6, generator.integers(0, 12)).tolist()) for _ in range(60)]
    decoded, read = clips[:30], clips[30:]
    found = confusions(decoded, read)
    wrong = sum(count for (one, other), count in found.items() if one != other)
    assert wrong == sum(edit_distance(one, other) for one, other in zip(decoded, read, strict=True))
    assert sum(count for (one, _), count in found.items() if one != NOTHING) == sum(map(len, read))
