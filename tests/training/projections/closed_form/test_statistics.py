"""Moments of a domain are those of their definitions, whatever the size of the blocks they are summed in."""

import numpy as np
import pytest

from matchka_train.features.features import Features
from matchka_train.projections.closed_form import statistics
from matchka_train.projections.closed_form.statistics import domain_statistics

DIM = 5


@pytest.fixture
def features() -> Features:
    """Two domains with 1 to 6 samples of each identity, their samples mixed."""
    generator = np.random.default_rng(3)
    subjects = [f"{domain}/{who}" for domain in "ab" for who in range(8) for _ in range(1 + generator.integers(6))]
    order = generator.permutation(len(subjects))
    centres = {one: generator.standard_normal(DIM) for one in sorted(set(subjects))}
    rows = np.stack([centres[subjects[n]] + 0.3 * generator.standard_normal(DIM) for n in order]).astype(np.float32)
    named = [subjects[n] for n in order]
    count = len(rows)
    return Features(
        rows,
        np.ones(count, np.int64),
        tuple(named),
        tuple(one[0] for one in named),
        tuple(f"{n}" for n in range(count)),
        np.tile(np.array([[0.0, 1.0]], np.float32), (count, 1)),
    )


@pytest.mark.parametrize("rows", [1, 4, 1000])
def test_moments_are_unbiased_and_each_identity_weighs_the_same(
    features: Features, rows: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(statistics, "BLOCK_ROWS", rows)
    for domain, found in domain_statistics(features).items():
        of_each = [
            np.float64(features.pooled()[[who == one for who in features.subjects]])
            for one in sorted(set(features.subjects))
            if one[0] == domain
        ]
        means = np.stack([samples.mean(axis=0) for samples in of_each])
        within = np.mean([np.cov(samples.T) for samples in of_each if len(samples) > 1], axis=0)
        assert np.allclose(found.mean, means.mean(axis=0), atol=1e-12)
        assert np.allclose(found.within, within, atol=1e-12)
        assert np.allclose(found.between, np.cov(means.T), atol=1e-12)
