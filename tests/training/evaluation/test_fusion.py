"""Fusion on made people whose best weights are known, and the pairing that makes them."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from matchka_train.errors import NoTrialsError
from matchka_train.evaluation.fusion import Line, Modality, draw_chimeras, fit_fusion, learn_fusion, ratio_thresholds


def gaussian_ratios(count: int, separations: tuple[float, float], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """True log-likelihood ratios of two independent normal scores: N(+d/2, d) against N(-d/2, d)."""
    generator = np.random.default_rng(seed)
    d = np.array(separations)
    mated, non_mated = (sign * d / 2 + np.sqrt(d) * generator.standard_normal((count, 2)) for sign in (1.0, -1.0))
    return mated, non_mated


def test_fit_fusion_when_ratios_are_true_and_independent_adds_them() -> None:
    fit = fit_fusion(*gaussian_ratios(100_000, (2.0, 5.0), 0))
    assert fit.weights == pytest.approx((1.0, 1.0), abs=0.03)
    assert fit.offset == pytest.approx(0.0, abs=0.03)


def test_fit_fusion_when_one_ratio_is_stretched_undoes_it() -> None:
    mated, non_mated = gaussian_ratios(100_000, (3.0, 3.0), 1)
    stretch, shift = np.array([4.0, 1.0]), np.array([2.0, 0.0])
    fit = fit_fusion(mated * stretch + shift, non_mated * stretch + shift)
    assert fit.weights == pytest.approx((0.25, 1.0), abs=0.03)
    assert fit.offset == pytest.approx(-0.5, abs=0.05)


def test_fit_fusion_when_minimised_by_another_method_is_the_same() -> None:
    mated, non_mated = gaussian_ratios(300, (1.0, 2.0), 2)

    def cost(line: np.ndarray) -> float:
        losses = [
            np.logaddexp(0, -sign * (rows @ line[:2] + line[2])).mean() for sign, rows in ((1, mated), (-1, non_mated))
        ]
        return float(sum(losses))

    expected = minimize(
        cost, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-12, "maxiter": 5000}
    )
    fit = fit_fusion(mated, non_mated)
    np.testing.assert_allclose([*fit.weights, fit.offset], expected.x, atol=1e-3)


def modality(sizes: list[int], spread: float, seed: int) -> Modality:
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(len(sizes), 12))
    numbers = np.repeat(np.arange(len(sizes)), sizes)
    rows = centres[numbers] + generator.normal(0, spread, (len(numbers), 12))
    return Modality(rows.astype(np.float32), [f"{seed}-{number:03d}" for number in numbers])


def test_draw_chimeras_when_drawn_pairs_each_person_with_one_other_and_repeats_no_sample() -> None:
    first, second = modality([5] * 10, 0.5, 0), modality([1, 3, 2, 12] * 6, 0.5, 1)
    draws = draw_chimeras(first, second, seed=3, draws=4)
    assert len({tuple(draw.rows[1]) for draw in draws}) == 4
    for draw in draws:
        people = {}
        for person, one, other in zip(draw.people, *draw.rows, strict=True):
            people.setdefault(person, set()).add((first.subjects[one], second.subjects[other]))
        assert all(len(pairs) == 1 for pairs in people.values())
        assert len({next(iter(pairs)) for pairs in people.values()}) == len(people) == 10
        assert len(set(draw.rows[0])) == len(draw.rows[0])
        assert len(set(draw.rows[1])) == len(draw.rows[1])
        counts = [second.subjects.count(second.subjects[row]) for row in draw.rows[1]]
        assert min(counts) >= 2


def test_learn_fusion_when_both_say_something_beats_each_alone() -> None:
    first, second = modality([4] * 40, 0.9, 0), modality([4] * 60, 0.7, 1)
    draws = draw_chimeras(first, second, seed=0, draws=5)
    found = learn_fusion(first, second, (12, 12), (Line(10.0, -4.0), Line(10.0, -4.0)), draws, seed=0)
    assert found.eers[2] < 0.6 * min(found.eers[:2])
    assert [point.measured for point in found.points] == [True, False, False, False]
    assert np.all(np.diff([point.threshold for point in found.points]) > 0)


def test_learn_fusion_when_people_are_drawn_anew_bounds_the_thresholds_and_repeats_itself() -> None:
    first, second = modality([4] * 40, 0.9, 0), modality([4] * 60, 0.7, 1)
    draws = draw_chimeras(first, second, seed=0, draws=5)
    lines = (Line(10.0, -4.0), Line(10.0, -4.0))
    one, again, other = (
        learn_fusion(first, second, (12, 12), lines, draws, seed, resamples=60).points for seed in (0, 0, 1)
    )
    assert one == again
    assert one != other
    assert [point.estimate for point in one] == [point.estimate for point in other]
    assert all(point.threshold > point.estimate for point in one)


def test_learn_fusion_when_one_modality_is_noise_leaves_it_out() -> None:
    first = modality([4] * 40, 0.9, 0)
    noise = Modality(np.random.default_rng(5).normal(size=(160, 12)).astype(np.float32), first.subjects)
    draws = draw_chimeras(first, noise, seed=0, draws=5)
    found = learn_fusion(first, noise, (12, 12), (Line(10.0, -4.0), Line(10.0, -4.0)), draws, seed=0)
    assert abs(found.fit.weights[1]) < 0.1 * found.fit.weights[0]
    assert found.eers[2] == pytest.approx(found.eers[0], abs=0.02)


def test_ratio_thresholds_when_ratios_are_normal_follow_their_tail() -> None:
    ratios = np.random.default_rng(0).normal(-6.0, 2.0, 400_000)
    people = np.arange(400_000)[:, None] % np.array([60, 61, 62, 63]) + np.array([0, 60, 121, 183])
    draws = np.random.default_rng(1).integers(0, 3, (40, 246))
    points = ratio_thresholds(ratios, people, 2_000, draws)
    assert [point.measured for point in points] == [True, False, False, False]
    for point in points:
        assert point.estimate == pytest.approx(-6.0 + 2.0 * norm.isf(point.fmr), abs=0.1)
        assert point.estimate <= point.threshold < point.estimate + 0.3


def test_draw_chimeras_when_too_few_people_have_two_samples_refuses() -> None:
    with pytest.raises(NoTrialsError, match="four subjects"):
        draw_chimeras(modality([5] * 3, 0.5, 0), modality([5] * 9, 0.5, 1), seed=0)
