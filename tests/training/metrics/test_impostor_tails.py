"""Tails of impostors: against order statistics by hand, and against galleries that are really drawn."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from matchka.scorers import CountedEmbeddings, DimModel, TwoCovarianceScorer
from matchka_train.errors import NoThresholdError, NoTrialsError
from matchka_train.metrics.identity_bootstrap import draw_people
from matchka_train.metrics.impostor_tails import ImpostorTails, RankedImpostors, fit_tails, gallery_thresholds
from matchka_train.metrics.scored_embeddings import ScoredEmbeddings


def quantile(share: float) -> float:
    """The x with Phi(x) = share, by bisection of the error function."""
    low, high = -12.0, 12.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 + math.erf(middle / math.sqrt(2))) / 2 < share else (low, middle)
    return low


def crowd(
    count: int, samples: int, dim: int, seed: int, spread: float = 0.3
) -> tuple[npt.NDArray[np.float32], list[str]]:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((count, dim)) + np.where(np.arange(dim) == 0, 2.0, 0.0)
    rows = np.repeat(centres, samples, axis=0) + spread * rng.standard_normal((count * samples, dim))
    return rows.astype(np.float32), [f"p{number}" for number in range(count) for _ in range(samples)]


def cosine(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    return float(np.dot(a, b) / math.sqrt(np.dot(a, a)) / math.sqrt(np.dot(b, b)))


def test_fit_tails_when_references_are_samples_lays_the_least_squares_line_through_the_upper_fifth():
    rows, subjects = crowd(30, 2, 8, 1)
    tails = fit_tails(rows, subjects, 6, templates=1, draws=4, seed=0)
    for number in (0, 17, 59):
        z = sorted(
            math.atanh(cosine(rows[number, :6], other[:6]))
            for other, name in zip(rows, subjects, strict=True)
            if name != subjects[number]
        )
        top = [(quantile((rank + 0.5) / 58), z[rank]) for rank in range(46, 58)]  # 12 of 58 are the upper fifth
        mean_x, mean_z = sum(x for x, _ in top) / 12, sum(y for _, y in top) / 12
        slope = sum((x - mean_x) * (y - mean_z) for x, y in top) / sum((x - mean_x) ** 2 for x, _ in top)
        assert tails.deviations[number] == pytest.approx(slope, rel=1e-4)
        assert tails.means[number] == pytest.approx(mean_z - slope * mean_x, abs=1e-4)


def test_fit_tails_when_references_hold_several_samples_leaves_an_impostor_s_own_out():
    """A subject of identical samples would be most similar to itself: the tail must not know it."""
    rows, subjects = crowd(40, 3, 8, 2, spread=0.0)
    tails = fit_tails(rows, subjects, 8, templates=3, draws=2, seed=0)
    single = fit_tails(rows, subjects, 8, templates=1, draws=1, seed=0)
    # references of equal samples are those samples: only their number differs, 78 against 117
    np.testing.assert_allclose(tails.means, single.means, atol=0.05)
    best = [max(cosine(a, b) for b in rows[::3] if not np.array_equal(a, b)) for a in rows[::3]]
    assert np.mean([tails.false_positive_rate(value, 1) for value in best]) > 0.001


@pytest.mark.parametrize("size", [1, 7, 1000, 1_000_000])
def test_threshold_when_inverted_gives_the_rate_asked_for(size: int):
    tails = ImpostorTails(np.array([0.1, 0.3, 0.5]), np.array([0.1, 0.2, 0.05]))
    for rate in (0.1, 0.01, 0.001):
        z = math.atanh(tails.threshold(rate, size))
        none = [
            math.pow(0.5 * math.erfc(-(z - mean) / deviation / math.sqrt(2)), size)
            for mean, deviation in ((0.1, 0.1), (0.3, 0.2), (0.5, 0.05))
        ]
        assert 1 - sum(none) / 3 == pytest.approx(rate, rel=1e-3)


def test_threshold_when_galleries_are_drawn_keeps_the_rate():
    """Thresholds of half of a crowd, on galleries and impostors of the other half; pairs alone would not keep them."""
    rows, subjects = crowd(600, 2, 12, 3)
    half = 600
    tails = fit_tails(rows[:half], subjects[:half], 12, templates=1, draws=1, seed=0)
    unit = rows[half:] / np.linalg.norm(rows[half:], axis=1, keepdims=True)
    impostors, gallery = unit[0:300], unit[300:600:2]
    passed = (impostors @ gallery.T).max(axis=1) >= tails.threshold(0.1, len(gallery))
    assert 0.05 < passed.mean() < 0.17


def test_fit_tails_when_too_few_subjects_have_such_references_refuses():
    rows, subjects = crowd(29, 3, 8, 4)
    with pytest.raises(NoTrialsError, match="30 subjects with 3 samples"):
        fit_tails(rows, subjects, 8, templates=3, draws=1, seed=0)


def test_fit_when_people_are_drawn_weighs_references_and_impostors_by_them():
    rows, subjects = crowd(32, 3, 8, 6)
    impostors = RankedImpostors(rows, subjects, 6, templates=1, draws=1, seed=0)
    drawn = np.random.default_rng(0).integers(0, 4, 32)
    tails = impostors.fit(drawn)
    numbers = [sorted(set(subjects)).index(name) for name in subjects]
    chosen = [number for number in range(len(rows)) if drawn[numbers[number]]]
    assert tails.weights is not None
    assert tails.weights.tolist() == [drawn[numbers[number]] for number in chosen]
    for place in (0, 11, len(chosen) - 1):
        number = chosen[place]
        falling = sorted(
            (
                (math.atanh(cosine(rows[number, :6], rows[other, :6])), int(drawn[numbers[other]]))
                for other in range(len(rows))
                if numbers[other] != numbers[number]
            ),
            reverse=True,
        )
        total, passed, points = sum(weight for _, weight in falling), 0.0, []
        for z, weight in falling:
            rank = (passed + weight / 2) / total
            passed += weight
            if weight and rank <= 0.2:
                points += [(quantile(1 - rank), z)] * weight
        slope, offset = np.polyfit(*zip(*points, strict=True), 1)
        assert tails.deviations[place] == pytest.approx(slope, rel=5e-3)
        assert tails.means[place] == pytest.approx(offset, abs=5e-3)


def test_gallery_thresholds_equal_the_quantile_of_thresholds_solved_one_by_one():
    rows, subjects = crowd(40, 2, 8, 7)
    impostors = RankedImpostors(rows, subjects, 8, templates=1, draws=1, seed=0)
    fpirs, sizes = (0.1, 0.01), (1, 30, 1000)
    found = gallery_thresholds(impostors, fpirs, sizes, seed=4, resamples=40)
    tails = [impostors.fit(draw) for draw in draw_people(np.arange(40), 40, 40, seed=4)]
    for row, fpir in enumerate(fpirs):
        for column, size in enumerate(sizes):
            one_by_one = np.quantile([math.atanh(tail.threshold(fpir, size)) for tail in tails], 0.95)
            assert math.atanh(found.bounds[row, column]) == pytest.approx(one_by_one, abs=0.01)
            everybody = fit_tails(rows, subjects, 8, 1, 1, 0).threshold(fpir, size)
            assert found.estimates[row, column] == pytest.approx(everybody, abs=1e-6)


def test_gallery_thresholds_with_equal_seeds_are_equal_and_rise_with_the_gallery():
    rows, subjects = crowd(35, 2, 8, 8)
    impostors = RankedImpostors(rows, subjects, 8, templates=2, draws=3, seed=0)
    tables = [gallery_thresholds(impostors, (0.1, 0.01, 0.001), (1, 10, 10_000), seed, 50).bounds for seed in (1, 1, 2)]
    np.testing.assert_array_equal(tables[0], tables[1])
    assert np.any(tables[0] != tables[2])
    for table in tables:
        assert np.all(np.diff(table, axis=0) >= 0)
        assert np.all(np.diff(table, axis=1) >= 0)


def test_gallery_thresholds_of_copies_stay_below_one():
    rows, subjects = np.ones((62, 4), np.float32), [f"p{number // 2}" for number in range(62)]
    found = gallery_thresholds(RankedImpostors(rows, subjects, 4, 1, 1, 0), (0.1, 0.01), (1, 1000), seed=0, resamples=5)
    assert np.all((found.bounds > 0.99) & (found.bounds < 1.0))


def test_gallery_thresholds_on_people_never_seen_keep_the_rate_where_plain_ones_do_not():
    """Forty people of forty families calibrate; the others are strangers and galleries of thirty, twenty times over."""
    achieved = {"bounds": [], "estimates": []}
    for seed in range(20):
        rows, subjects = relatives(40, 200 + seed)
        impostors = RankedImpostors(rows, subjects, 12, templates=1, draws=1, seed=0)
        found = gallery_thresholds(impostors, (0.05, 0.01), (30,), seed, resamples=200)
        others, _ = relatives(600, 400 + seed)
        unit = others / np.linalg.norm(others, axis=1, keepdims=True)
        best = (unit[600:] @ unit[:600:2].reshape(10, 30, 12).transpose(0, 2, 1)).max(axis=2)
        for name, rates in achieved.items():
            rates.append([float(np.mean(best >= threshold)) for threshold in getattr(found, name)[:, 0]])
    bound, plain = (np.array(rates) / (0.05, 0.01) for rates in achieved.values())
    assert np.all(bound.mean(axis=0) <= 1.0)
    assert np.all((bound <= 1.5).mean(axis=0) >= 0.9)
    assert plain.mean(axis=0)[0] > 1.0
    assert np.all((plain <= 1.5).mean(axis=0) < 0.9)


def relatives(count: int, seed: int) -> tuple[npt.NDArray[np.float32], list[str]]:
    rng = np.random.default_rng(seed)
    families = rng.standard_normal((40, 12))
    centres = families[rng.integers(0, 40, count)] + 0.8 * rng.standard_normal((count, 12))
    rows = np.repeat(centres, 2, axis=0) + 0.5 * rng.standard_normal((2 * count, 12))
    return rows.astype(np.float32), [f"p{number:04d}" for number in range(count) for _ in range(2)]


@pytest.mark.parametrize("mean", [-14.0, 14.0])
def test_threshold_when_no_similarity_keeps_the_rate_says_so(mean: float):
    tails = ImpostorTails(np.array([mean]), np.array([0.5]))
    with pytest.raises(NoThresholdError, match="1 subjects"):
        tails.threshold(0.1, 1)


def test_gallery_thresholds_when_a_scorer_knows_only_alike_and_different_says_so():
    rows, subjects = crowd(40, 3, 8, 5)
    samples = CountedEmbeddings(rows, np.full(len(rows), np.inf))
    graded = TwoCovarianceScorer({8: DimModel(np.eye(8), np.ones(8))}, row_noise=0.0, mean_inverse_rows=0.0)
    level = float(np.quantile(graded.ratios(samples, samples, 8), 0.9))
    clipped = DimModel(np.eye(8), np.ones(8), slope=1e6, offset=-1e6 * level)  # to -1 or 1, nearly everywhere
    scorer = TwoCovarianceScorer({8: clipped}, row_noise=0.0, mean_inverse_rows=0.0)
    impostors = RankedImpostors(ScoredEmbeddings(rows, samples.row_counts, scorer), subjects, 8, 1, 1, 0)
    with pytest.raises(NoThresholdError):
        gallery_thresholds(impostors, (0.1, 0.001), (1, 1_000_000), 0, resamples=5)
