"""The ablation's page: tables that a slower computation confirms."""

import numpy as np
import pytest
from scipy import stats

from matchka_train.experiments.radio.arms import ARMS, CLAIMS
from matchka_train.experiments.radio.figures import draw_confusion, draw_radio
from matchka_train.experiments.radio.page import band_rows, claim_rows, radio_page
from matchka_train.experiments.radio.radio import Radio, RadioRecipe, RadioRun, training_of
from matchka_train.experiments.seeds import paired_interval
from matchka_train.fitting.network.accuracy import NetworkAccuracy

SNRS = (-10.0, 0.0, 12.0)


def made(right: int) -> NetworkAccuracy:
    counts = [[[right, 100 - right], [0, 100]] for _ in SNRS]
    return NetworkAccuracy(("BPSK", "WBFM"), SNRS, counts, [1.0, 2.0, 3.0], [-1.0, -2.0, -3.0])


@pytest.fixture
def found() -> Radio:
    runs = [RadioRun(arm, seed, made(50 + 3 * place + seed)) for place, arm in enumerate(ARMS) for seed in range(3)]
    return Radio(RadioRecipe(), tuple(runs))


def test_paired_interval_when_computed_by_scipy_is_the_same():
    values = [0.3, -0.1, 0.8, 0.5]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(paired_interval(values), expected)
    assert np.isnan(paired_interval([1.0])).all()


def test_claim_rows_when_an_arm_is_always_better_by_the_same_hold(found: Radio):
    header, first, *_ = claim_rows(found)
    assert first[:3] == [CLAIMS[0][0], "-4..6", "+1.50"]
    assert first[-1] == "holds"
    assert len(header) == len(first)
    assert len(band_rows(found)) == len(ARMS) + 1


def test_radio_page_when_written_has_every_arm_and_claim(found: Radio, tmp_path):
    page = radio_page(found)
    assert all(arm in page for arm in ARMS)
    assert all(claim[0] in page for claim in CLAIMS)
    draw_radio(found, tmp_path / "a.png")
    draw_confusion(found, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "b.png").stat().st_size > 1000


def test_training_of_when_arms_are_listed_are_all_valid_and_differ():
    recipes = {arm: training_of(RadioRecipe(), arm, 1).model_dump_json() for arm in ARMS}
    assert len(set(recipes.values())) == len(ARMS)
    assert all(arm in ARMS for claim in CLAIMS for arm in claim[1:3])
