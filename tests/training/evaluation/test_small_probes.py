"""Small probes against references of full size, beside slow loops over all pairs."""

import numpy as np
import pytest

from matchka_train.errors import NoTrialsError
from matchka_train.evaluation.small_probes import FIXED_THRESHOLD, full_size_threshold, judge_probes, probe_pairs
from matchka_train.metrics.error_rates import equal_error_rate

SUBJECTS = ["b", "a", "a", "c", "b", "a"]


def made(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((6, 4)).astype(np.float32)


def slow_pairs(references: np.ndarray, probes: np.ndarray, dim: int) -> tuple[list[float], list[float]]:
    """Every probe with every reference of another sample."""
    mated, non_mated = [], []
    for row, probe in enumerate(probes[:, :dim]):
        for other, reference in enumerate(references[:, :dim]):
            cosine = float(probe @ reference / np.linalg.norm(probe) / np.linalg.norm(reference))
            if SUBJECTS[row] != SUBJECTS[other]:
                non_mated.append(cosine)
            elif row != other:
                mated.append(cosine)
    return mated, non_mated


@pytest.mark.parametrize("dim", [2, 4])
def test_probe_pairs_are_those_of_different_samples(dim: int) -> None:
    pairs = probe_pairs(made(0), made(1), SUBJECTS, dim)
    mated, non_mated = slow_pairs(made(0), made(1), dim)
    np.testing.assert_allclose(np.sort(pairs.mated), np.sort(mated), atol=1e-6)
    np.testing.assert_allclose(np.sort(pairs.non_mated), np.sort(non_mated), atol=1e-6)
    assert pairs.mated_subjects.tolist().count(0) == 6  # `a` has three samples


def test_probe_pairs_of_references_of_several_templates_are_never_with_their_own_samples() -> None:
    references, probes = made(0), made(1)
    pairs = probe_pairs(references, probes, SUBJECTS, 4, templates=2, seed=3)
    assert pairs.mated.size == 4  # only `a` has a third sample, for each of the four references drawn
    unit = references / np.linalg.norm(references, axis=1, keepdims=True)
    rows = [row for row, subject in enumerate(SUBJECTS) if subject == "a"]
    possible = []
    for left in rows:
        mean = sum(unit[row] for row in rows if row != left)
        possible.append(float(probes[left] @ mean / np.linalg.norm(probes[left]) / np.linalg.norm(mean)))
    assert all(min(abs(one - other) for other in possible) < 1e-6 for one in pairs.mated)


def test_judge_probes_states_what_counts_beside_what_misleads() -> None:
    references, probes = made(0), made(1)
    mated, non_mated = slow_pairs(references, probes, 4)
    found = judge_probes(references, probes, SUBJECTS, 4, full_threshold=0.1)
    own = [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in zip(references, probes, strict=True)]
    assert found.paired == pytest.approx(np.mean(own), abs=1e-6)
    hits, misses = np.mean(np.array(mated) >= FIXED_THRESHOLD), np.mean(np.array(non_mated) < FIXED_THRESHOLD)
    assert found.fixed == pytest.approx((hits + misses) / 2)
    assert found.fmr_at_full == pytest.approx(np.mean(np.array(non_mated) >= 0.1))
    assert found.accuracy.eer == pytest.approx(equal_error_rate(np.array(mated), np.array(non_mated)))


def test_full_size_threshold_lets_through_the_rate_that_was_asked_for() -> None:
    rows = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    subjects = [str(number // 2) for number in range(60)]
    threshold = full_size_threshold(rows, subjects, 4, fmr=0.1)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    others = (unit @ unit.T)[np.array(subjects)[:, None] != np.array(subjects)]
    assert np.mean(others >= threshold) == pytest.approx(0.1, abs=2e-3)


@pytest.mark.parametrize("subjects", [["a"] * 6, list("abcdef")])
def test_probe_pairs_without_a_pair_of_one_kind_refuses(subjects: list[str]) -> None:
    with pytest.raises(NoTrialsError):
        probe_pairs(made(0), made(1), subjects, 4)
