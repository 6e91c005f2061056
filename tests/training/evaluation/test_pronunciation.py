"""Agreement with people's marks, beside a slow recount of pairs."""

import numpy as np
import pytest

from matchka_train.errors import NoTrialsError
from matchka_train.evaluation.pronunciation import agreement, text_scores


def test_agreement_counts_pairs_of_a_low_and_a_higher_mark_that_the_score_orders() -> None:
    generator = np.random.default_rng(0)
    marks = generator.integers(7, 11, 40).astype(float)
    scores = marks + generator.normal(0, 2, 40)
    low = marks < 8
    ordered = [float(high > below) for high in scores[~low] for below in scores[low]]
    found = agreement(scores, marks, low, [str(number // 4) for number in range(40)])
    assert found.auc == pytest.approx(np.mean(ordered), abs=1e-6)
    centred = (scores - scores.mean()) @ (marks - marks.mean())
    assert found.pearson == pytest.approx(centred / (40 * scores.std() * marks.std()))
    assert (found.clips, found.speakers) == (40, 10)


def test_agreement_with_a_score_that_is_no_number_raises() -> None:
    with pytest.raises(NoTrialsError):
        agreement(np.array([-np.inf, 1.0]), np.array([7.0, 9.0]), np.array([True, False]), ["a", "b"])


def test_text_scores_of_a_clip_that_says_its_phones_lie_above_those_of_one_that_does_not() -> None:
    logits = np.zeros((7, 5), np.float32)
    logits[range(7), [0, 1, 0, 2, 0, 3, 0]] = 6.0
    clip = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    said, other = text_scores([clip, clip], [(1, 2, 3), (4, 2, 3)])
    assert said > -0.1 > other
