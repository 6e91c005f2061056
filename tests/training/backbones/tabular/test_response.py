"""The response curve and the places of numbers, against filters by the cookbook in float64."""

import numpy as np
import pytest
import torch

from matchka.modalities.tabular.spec import TabularField
from matchka_train.backbones.tabular.response import Band, ResponseCurve, level_removed
from matchka_train.backbones.tabular.scaling import FieldScaling
from tests.factories.biquads import biquad_db

NAMES = ("gain", "hz", "q")


@pytest.mark.parametrize("kind", ["low_shelf", "peak", "high_shelf"])
@pytest.mark.parametrize("setting", [(12.0, 22.0, 0.71), (-12.0, 10000.0, 0.1), (6.0, 700.0, 10.0), (0.0, 300.0, 1.0)])
def test_curve_of_one_filter_is_that_of_its_biquad(kind: str, setting: tuple[float, float, float]):
    curve = ResponseCurve([Band(kind=kind, gain="gain", frequency="hz", q="q")], NAMES)  # type: ignore[arg-type]
    found = curve(torch.tensor([setting]))[0].numpy()
    assert found == pytest.approx([biquad_db(kind, *setting, at) for at in curve.grid.tolist()], abs=5e-3)


def test_curve_of_several_filters_is_their_sum_and_fixed_parts_are_taken_as_they_are():
    bands = [Band(kind="low_shelf", gain="a", frequency=200.0), Band(kind="peak", gain="b", frequency=900.0, q=2.0)]
    curve = ResponseCurve(bands, ("a", "b"))
    found = curve(torch.tensor([[6.0, -3.0], [0.0, 0.0]])).numpy()
    grid = curve.grid.tolist()
    expected = [biquad_db("low_shelf", 6, 200, 0.71, at) + biquad_db("peak", -3, 900, 2, at) for at in grid]
    assert found[0] == pytest.approx(expected, abs=5e-3)
    assert found[1] == pytest.approx(np.zeros(len(grid)), abs=1e-5)


def test_level_removed_leaves_the_shape_alone():
    curves = torch.tensor([[1.0, 2.0, 6.0]])
    assert level_removed(curves).tolist() == level_removed(curves + 5).tolist() == [[-2.0, -1.0, 3.0]]


def test_places_are_even_by_ratios_on_a_log_scale_and_values_never_leave_the_ranges():
    scaling = FieldScaling(
        [
            TabularField(name="hz", unit="Hz", low=10, high=1000, scale="log"),
            TabularField(name="gain", unit="dB", low=-12, high=12),
        ]
    )
    assert scaling(torch.tensor([[100.0, -12.0], [1000.0, 6.0]])).numpy() == pytest.approx(
        np.array([[0.5, 0.0], [1.0, 0.75]]), abs=1e-6
    )
    assert scaling.values(torch.tensor([[0.5, 2.0], [-1.0, 0.25]])).numpy() == pytest.approx(
        np.array([[100.0, 12.0], [10.0, -6.0]]), rel=1e-5
    )
