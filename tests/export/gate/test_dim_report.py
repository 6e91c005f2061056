"""What the manifest says about a dim, against slow loops over synthetic people."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from matchka.bundles.outputs.measurements import DimReport
from matchka_export.gate.dim_report import report_dims, strictest
from matchka_train.evaluation.validation import Accuracy
from matchka_train.metrics.calibration import ThresholdAt
from matchka_train.metrics.impostor_tails import RankedImpostors, fit_tails, gallery_thresholds

pytestmark = pytest.mark.slow  # thresholds with bounds, of many draws of people

DIM = 6
Domain = tuple[npt.NDArray[np.float32], list[str]]


def people(count: int, clips: int, spread: float, seed: int) -> Domain:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((count, DIM)) + 1.0
    rows = np.repeat(centres, clips, axis=0) + spread * rng.standard_normal((count * clips, DIM))
    return rows.astype(np.float32), [f"p{number}" for number in range(count) for _ in range(clips)]


@pytest.fixture(scope="module")
def embedded() -> dict[str, Domain]:
    return {"hard": people(30, 4, 0.7, 1), "easy": people(40, 2, 0.2, 2)}


@pytest.fixture(scope="module")
def reports(embedded: dict[str, Domain]) -> dict[str, DimReport]:
    accuracy = {
        domain: {dim: Accuracy(eer, 0.5, {"0.01": 0.5}, 30, 100, 1000) for dim in (4, DIM)}
        for domain, eer in (("hard", 0.2), ("easy", 0.01))
    }
    done: list[int] = []
    found = report_dims(embedded, accuracy, accuracy, (4, DIM), 0, "nothing", lambda: done.append(1))
    assert len(done) == 2
    return found


def non_mated(domain: Domain, dim: int) -> list[float]:
    rows, subjects = domain
    found = []
    for (a, name_a), (b, name_b) in itertools.combinations(zip(rows[:, :dim], subjects, strict=True), 2):
        if name_a != name_b:
            found.append(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
    return found


@pytest.mark.parametrize("dim", [4, DIM])
def test_report_dims_when_fmr_is_measured_keeps_it_in_every_domain(
    dim: int, embedded: dict[str, Domain], reports: dict[str, DimReport]
) -> None:
    point = reports[str(dim)].operating_points["1"][0]
    assert point.fmr == 0.1
    assert point.measured
    rates = {
        name: np.mean([similarity >= point.threshold for similarity in non_mated(domain, dim)])
        for name, domain in embedded.items()
    }
    assert max(rates.values()) <= 0.1
    estimated = [np.mean([value >= point.estimate for value in non_mated(domain, dim)]) for domain in embedded.values()]
    assert any(rate == pytest.approx(0.1, abs=0.005) for rate in estimated)  # of the domain that needs it
    assert point.people in {30, 40}


def test_report_dims_when_domain_has_few_clips_counts_templates_where_there_are(
    reports: dict[str, DimReport],
) -> None:
    assert set(reports[str(DIM)].operating_points) == {"1", "2", "3"}  # 4 clips: at most 3 and a probe
    assert set(reports[str(DIM)].calibration) == {"1", "2", "3"}


def test_report_dims_when_references_grow_or_rates_fall_never_lowers_a_threshold(reports: dict[str, DimReport]) -> None:
    for report in reports.values():
        rows = [[point.threshold for point in points] for points in report.operating_points.values()]
        assert np.all(np.diff(rows, axis=0) >= 0)
        assert np.all(np.diff(rows, axis=1) >= 0)


def test_report_dims_when_measured_says_how_far_its_thresholds_are_kept(reports: dict[str, DimReport]) -> None:
    promise = reports[str(DIM)].promise
    assert promise is not None
    assert promise.people == {"hard": 30, "easy": 40}
    assert (promise.confidence, promise.selected_on, promise.seed) == (0.95, "nothing", 0)


def test_report_dims_when_fewer_than_thirty_have_so_many_clips_states_no_points_for_them() -> None:
    accuracy = {"some": {DIM: Accuracy(0.2, 0.5, {"0.01": 0.5}, 35, 100, 1000)}}
    rows, subjects = people(35, 4, 0.7, 1)
    kept = [number for number, name in enumerate(subjects) if number % 4 < 3 or name in {f"p{n}" for n in range(29)}]
    found = report_dims(
        {"some": (rows[kept], [subjects[number] for number in kept])}, accuracy, accuracy, (DIM,), 0, "nothing", list
    )
    assert set(found[str(DIM)].operating_points) == {"1", "2"}  # three and a probe: 29 people


def test_report_dims_when_calibrated_judges_mated_above_non_mated(
    embedded: dict[str, Domain], reports: dict[str, DimReport]
) -> None:
    line = reports[str(DIM)].calibration["1"]
    ratios = line.scale * np.array(non_mated(embedded["hard"], DIM)) + line.offset
    assert np.median(ratios) < 0 < line.scale + line.offset
    assert 0 < line.min_cllr <= line.cllr < 1


def test_strictest_when_domains_differ_takes_the_highest_threshold_of_each_rate() -> None:
    one = [ThresholdAt(0.1, 0.5, True, 0.4, 50), ThresholdAt(0.01, 0.8, False, 0.6, 50)]
    other = [ThresholdAt(0.1, 0.6, True, 0.5, 40), ThresholdAt(0.01, 0.7, True, 0.65, 40)]
    assert [tuple(point.model_dump().values()) for point in strictest([one, other])] == [
        (0.1, 0.6, True, 0.5, 40),
        (0.01, 0.8, False, 0.6, 50),
    ]


def test_report_dims_when_galleries_grow_states_thresholds_of_the_stricter_domain(
    embedded: dict[str, Domain], reports: dict[str, DimReport]
) -> None:
    table = reports["4"].identification["1"]
    assert set(reports["4"].identification) == {"1", "2", "3"}  # nobody has five clips
    tails = [fit_tails(rows, subjects, 4, 1, 1, 0) for rows, subjects in embedded.values()]
    bounds = [
        gallery_thresholds(RankedImpostors(rows, subjects, 4, 1, 1, 0), table.max_fpirs, table.gallery_sizes, 0).bounds
        for rows, subjects in embedded.values()
    ]
    np.testing.assert_allclose(table.thresholds, np.max(bounds, axis=0), atol=1.1e-6)
    for fpir, row in zip(table.max_fpirs, table.thresholds, strict=True):
        for size, threshold in zip(table.gallery_sizes, row, strict=True):
            if threshold < 0.995:  # closer to 1, six decimals are too few to say how strict a threshold is
                assert max(tail.false_positive_rate(threshold, size) for tail in tails) <= 1.0001 * fpir


def test_report_dims_when_subjects_are_few_states_no_gallery_thresholds() -> None:
    accuracy = {"few": {DIM: Accuracy(0.2, 0.5, {"0.01": 0.5}, 20, 100, 1000)}}
    found = report_dims({"few": people(20, 4, 0.7, 1)}, accuracy, accuracy, (DIM,), 0, "nothing", lambda: None)
    assert found[str(DIM)].identification == {}
