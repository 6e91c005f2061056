"""Where an enhancer ships, and the operating points of small samples."""

import numpy as np
import pytest

from matchka.bundles.outputs.measurements import Metrics
from matchka_export.enhancer.evidence import ProbeMeasures, SizeMeasures
from matchka_export.enhancer.measure import (
    DECIDING_WAYS,
    REPORTED_WAYS,
    ProbedSamples,
    band_report,
    judge_size,
    shipped_ranges,
)
from matchka_train.errors import NoTrialsError

METRICS = Metrics(eer=0.1, min_dcf=0.5, tar_at_fmr={}, subjects=60, mated_pairs=400, non_mated_pairs=900)
PROBES = ProbeMeasures(metrics={"4": METRICS}, paired=0.9, fixed=0.5, fmr_at_full=1e-3)


def ways(upper: float = -0.01, subjects: int = 60, **of: float) -> dict[str, SizeMeasures]:
    return {
        way: SizeMeasures(
            found=1.0, plain=PROBES, enhanced=PROBES, upper=of.get(way, upper), subjects=subjects, mated_pairs=400
        )
        for way in REPORTED_WAYS
    }


def test_judge_size_ships_only_where_the_bound_lies_below_zero_in_every_way_that_decides() -> None:
    assert judge_size(16.0, ways()).verdict == "ships"
    assert judge_size(16.0, ways(**{REPORTED_WAYS[0]: 0.3})).verdict == "ships"  # better aligned than a face can be
    for way in DECIDING_WAYS:
        assert judge_size(16.0, ways(**{way: 0.0})).verdict == "refused"
        assert judge_size(16.0, ways(**{way: float("nan")})).verdict == "refused"
    assert judge_size(16.0, ways(subjects=49)).verdict == "undecidable"


def test_shipped_ranges_leave_out_sizes_that_stay_as_they_are() -> None:
    verdicts = [judge_size(16.0, ways()), judge_size(24.0, ways(upper=0.01)), judge_size(32.0, ways())]
    assert shipped_ranges(verdicts) == ((12.0, 20.0), (28.0, 40.0))


def probed(people: int, noise: float, each: int = 2) -> ProbedSamples:
    """Samples, and what is left of them where they are small."""
    rng = np.random.default_rng(5)
    centres = np.repeat(rng.standard_normal((people, 6)), each, axis=0)
    references = centres + 0.3 * rng.standard_normal(centres.shape)
    probes = references + noise * rng.standard_normal(centres.shape)
    names = [f"s{row // each}" for row in range(len(centres))]
    return ProbedSamples(references.astype(np.float32), probes.astype(np.float32), names)


@pytest.mark.slow
def test_band_report_keeps_the_rate_among_probes_and_references() -> None:
    samples = probed(60, noise=1.0)
    report = band_report(dict.fromkeys(DECIDING_WAYS, samples), 6, seed=0)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (samples.probes, samples.references)]
    names = np.array(samples.subjects)
    others = (unit[0] @ unit[1].T)[names[:, None] != names]
    for point in report.operating_points["1"]:
        if point.measured:
            assert np.mean(others >= point.threshold) <= point.fmr * 1.5
    assert set(report.operating_points) == {"1"}  # nobody has a third sample
    assert report.identification["1"].thresholds[0][0] < report.identification["1"].thresholds[-1][-1]


def test_probed_samples_of_few_owners_have_no_references_of_several() -> None:
    with pytest.raises(NoTrialsError, match="Too few"):
        probed(5, 1.0, each=4).pairs(6, 3, 0)
