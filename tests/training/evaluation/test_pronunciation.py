"""Agreement with people's marks, beside a slow recount of pairs."""

import numpy as np
import pytest

from matchka_train.errors import NoTrialsError
from matchka_train.evaluation.pronunciation import agreement, agreement_intervals, fit_line, text_scores


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


def test_agreement_intervals_of_independent_clips_are_those_of_fisher() -> None:
    generator = np.random.default_rng(3)
    marks = generator.normal(0, 1, 400)
    scores = 0.6 * marks + 0.8 * generator.normal(0, 1, 400)
    speakers = [str(number) for number in range(400)]  # a clip each
    found = agreement_intervals(scores, marks, marks < 0, speakers, seed=0)
    z, half = np.arctanh(np.corrcoef(scores, marks)[0, 1]), 1.96 / np.sqrt(397)
    assert found.pearson == pytest.approx((np.tanh(z - half), np.tanh(z + half)), abs=0.03)
    auc = agreement(scores, marks, marks < 0, speakers).auc
    assert found.auc[0] < auc < found.auc[1]


def test_agreement_intervals_of_clips_that_come_in_speakers_are_wider() -> None:
    generator = np.random.default_rng(4)
    level = np.repeat(generator.normal(0, 1, 20), 20)  # of a speaker
    marks = level + 0.2 * generator.normal(0, 1, 400)
    scores = level + generator.normal(0, 1, 20).repeat(20)
    whole = agreement_intervals(scores, marks, marks < 0, [str(number // 20) for number in range(400)], seed=0)
    apart = agreement_intervals(scores, marks, marks < 0, [str(number) for number in range(400)], seed=0)
    assert whole.pearson[1] - whole.pearson[0] > 2 * (apart.pearson[1] - apart.pearson[0])


def test_agreement_intervals_without_a_low_mark_raise() -> None:
    with pytest.raises(NoTrialsError, match="draw"):
        agreement_intervals(np.arange(4.0), np.arange(4.0), np.zeros(4, bool), list("aabb"), seed=0)


def test_fit_line_of_marks_on_a_line_finds_it_without_error() -> None:
    scores, folds = np.linspace(-4.0, 0.0, 12), np.arange(12) % 3
    found = fit_line(scores, 10.0 + 0.5 * scores, folds)
    assert (found.slope, found.offset) == (pytest.approx(0.5), pytest.approx(10.0))
    assert (found.low, found.high) == (8.0, 10.0)
    assert found.error == pytest.approx(0.0, abs=1e-9)


def test_fit_line_error_is_that_of_clips_whose_fold_had_no_part_in_the_line() -> None:
    generator = np.random.default_rng(1)
    scores, folds = generator.normal(-2, 1, 60), np.repeat(np.arange(4), 15)
    marks = np.clip(np.round(9 + 0.8 * (scores + 2) + generator.normal(0, 0.7, 60)), 7, 10)
    off, constant = [], []
    for number in range(60):
        others = [other for other in range(60) if folds[other] != folds[number]]
        x, y = scores[others], marks[others]
        slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
        line = y.mean() + slope * (scores[number] - x.mean())
        off.append(abs(min(max(line, 7.0), 10.0) - marks[number]))
        constant.append(abs(y.mean() - marks[number]))
    found = fit_line(scores, marks, folds)
    assert found.error == pytest.approx(np.mean(off))
    assert found.constant_error == pytest.approx(np.mean(constant))
    assert found.error < found.constant_error


def test_text_scores_of_a_clip_that_says_its_phones_lie_above_those_of_one_that_does_not() -> None:
    logits = np.zeros((7, 5), np.float32)
    logits[range(7), [0, 1, 0, 2, 0, 3, 0]] = 6.0
    clip = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    said, other = text_scores([clip, clip], [(1, 2, 3), (4, 2, 3)])
    assert said > -0.1 > other
