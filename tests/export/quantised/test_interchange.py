"""The interchange test, against rates that slow loops count."""

import numpy as np
import pytest

from matchka.bundles.variant import Interchange, InterchangeRates
from matchka.vectors import FloatArray
from matchka_export.errors import GateError, UndecidableError
from matchka_export.quantised.interchange import BothGraphs, interchange_of, require_interchangeable
from matchka_train.metrics.error_rates import equal_error_rate
from matchka_train.metrics.scored_embeddings import scored

PEOPLE, EACH, DIM = 60, 4, 6
SUBJECTS = [f"p{person:02}" for person in range(PEOPLE) for _ in range(EACH)]
THRESHOLDS = {4: [0.2, 0.6], DIM: [0.2, 0.6]}
PASSED = InterchangeRates(
    eer=0.05, mixed_eer=0.051, mixed_upper=0.0015, variant_eer=0.05, variant_upper=0.01, fmr_ratio=1.1
)


def embeddings(noise: float, seed: int = 0) -> FloatArray:
    """Samples of people around their middles, moved by noise."""
    generator = np.random.default_rng(5)
    middles = np.repeat(generator.standard_normal((PEOPLE, DIM)), EACH, axis=0)
    samples = middles + 0.5 * generator.standard_normal((PEOPLE * EACH, DIM))
    moved = samples + noise * np.random.default_rng(seed).standard_normal(samples.shape)
    return moved.astype(np.float32)


def found_of(own: FloatArray, variant: FloatArray) -> Interchange:
    return interchange_of(BothGraphs(scored(own), scored(variant), SUBJECTS), THRESHOLDS, seed=1)


def slow_similarities(one: FloatArray, other: FloatArray, dim: int) -> tuple[list[float], list[float]]:
    """Cosines of every two samples, mated and non-mated: the earlier one of the first, the later one of the other."""
    mated, non_mated = [], []
    for first in range(len(one)):
        for second in range(first + 1, len(one)):
            a, b = one[first, :dim], other[second, :dim]
            cosine = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
            (mated if SUBJECTS[first] == SUBJECTS[second] else non_mated).append(cosine)
    return mated, non_mated


def test_interchange_of_two_graphs_is_what_slow_loops_count() -> None:
    own, variant = embeddings(0.0), embeddings(0.3)
    found = found_of(own, variant)
    assert (found.subjects, found.mated_pairs) == (PEOPLE, PEOPLE * 6)
    for dim in THRESHOLDS:
        of_own, of_variant = slow_similarities(own, own, dim), slow_similarities(variant, variant, dim)
        ways = slow_similarities(own, variant, dim), slow_similarities(variant, own, dim)
        mixed = [ways[0][kind] + ways[1][kind] for kind in (0, 1)]
        rates = found.per_dim[str(dim)]
        for rate, (mated, non_mated) in (
            (rates.eer, of_own),
            (rates.variant_eer, of_variant),
            (rates.mixed_eer, mixed),
        ):
            assert rate == pytest.approx(equal_error_rate(np.array(mated), np.array(non_mated)), abs=1e-6)
        ratios = [
            np.mean(np.array(other) >= at) / np.mean(np.array(of_own[1]) >= at)
            for at in THRESHOLDS[dim]
            for other in (of_variant[1], mixed[1])
        ]
        assert rates.fmr_ratio == pytest.approx(max(ratios), abs=1e-6)
        assert rates.mixed_upper >= rates.mixed_eer - rates.eer
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(own, variant, strict=True)]
    assert found.least_cosine == pytest.approx(min(cosines), abs=1e-6)


def test_interchange_of_a_graph_with_itself_passes_with_nothing_changed() -> None:
    own = embeddings(0.0)
    found = found_of(own, own)
    for rates in found.per_dim.values():
        assert (rates.mixed_eer, rates.variant_eer, rates.mixed_upper, rates.fmr_ratio) == (rates.eer, rates.eer, 0, 1)
    require_interchangeable({"made-up": found}, 0.999)


def test_interchange_at_thresholds_with_few_false_matches_states_no_ratio() -> None:
    own = embeddings(0.0)
    found = interchange_of(BothGraphs(scored(own), scored(own), SUBJECTS), {DIM: [0.999]}, seed=1)
    assert found.per_dim[str(DIM)].fmr_ratio is None


def test_require_interchangeable_of_a_graph_of_other_embeddings_names_rates_and_cosine() -> None:
    found = found_of(embeddings(0.0), embeddings(2.0))
    with pytest.raises(GateError, match=r"made-up: a sample's cosine .*; made-up at dim 4: EER .* points higher"):
        require_interchangeable({"made-up": found}, 0.996)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mixed_upper": 0.002}, r"dim 8: EER 5\.10 % against 5\.00 %, up to 0\.20 points higher \(< 0\.2\)"),
        ({"fmr_ratio": 1.31}, r"dim 8: 1\.31 times the FMR at a threshold \(<= 1\.3\)"),
    ],
)
def test_require_interchangeable_of_one_rate_too_many_is_refused(change: dict[str, float], message: str) -> None:
    rates = PASSED.model_copy(update=change)
    found = Interchange(subjects=60, mated_pairs=300, least_cosine=0.999, per_dim={"8": rates})
    with pytest.raises(GateError, match=message):
        require_interchangeable({"made-up": found}, 0.996)


@pytest.mark.parametrize(("subjects", "mated_pairs"), [(49, 300), (60, 299)])
def test_require_interchangeable_of_too_little_is_undecidable(subjects: int, mated_pairs: int) -> None:
    found = Interchange(subjects=subjects, mated_pairs=mated_pairs, least_cosine=0.999, per_dim={"8": PASSED})
    with pytest.raises(UndecidableError, match="Too little was measured"):
        require_interchangeable({"made-up": found}, 0.996)
    require_interchangeable({"made-up": found.model_copy(update={"subjects": 60, "mated_pairs": 300})}, 0.996)
