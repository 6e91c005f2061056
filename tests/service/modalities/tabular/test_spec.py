"""What a graph for named numbers takes: ranges, units and scales that make sense, and examples within them."""

from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from matchka.modalities import AnyInputSpec
from matchka.modalities.tabular.spec import TabularField, TabularInputSpec
from tests.factories.named_numbers import FREQUENCY, GAIN, spec_of


def test_spec_is_told_by_its_kind_and_states_the_graphs_columns():
    given = {"kind": "tabular", "fields": [GAIN, FREQUENCY]}
    spec: Any = TypeAdapter(AnyInputSpec).validate_python(given)
    assert isinstance(spec, TabularInputSpec)
    assert [field.name for field in spec.fields] == ["gain", "frequency"]
    expected = spec.graph_input()
    assert (expected.name, expected.shape, expected.dtype) == ("values", (2,), "float32")
    assert spec.auxiliary_graphs() == {}
    assert spec.content() == {"fields": ({**GAIN, "scale": "linear"}, FREQUENCY)}


@pytest.mark.parametrize(
    "changed",
    [
        {"low": 12},
        {"low": 13},
        {"low": 11.9999999999},  # one number as float32
        {"low": float("nan")},
        {"high": float("inf")},
        {"high": 1.1e38},
        {"low": -1.1e38},
        {"scale": "log"},
        {"scale": "log", "low": 0},
        {"scale": "log", "low": 1e-39},
        {"scale": "decibel"},
        {"name": ""},
        {"name": "a b"},
        {"name": "x" * 65},
        {"unit": "x" * 33},
        {"default": 0},
    ],
)
def test_field_that_is_no_range_is_refused(changed: dict[str, Any]):
    with pytest.raises(ValidationError):
        TabularField.model_validate({**GAIN, **changed})


@pytest.mark.parametrize("fields", [(), (GAIN, FREQUENCY, GAIN), tuple({**GAIN, "name": str(n)} for n in range(257))])
def test_spec_of_no_or_repeated_or_too_many_fields_is_refused(fields: tuple[dict[str, Any], ...]):
    with pytest.raises(ValidationError):
        spec_of(*fields)


def test_example_is_even_over_each_range_by_its_scale_and_follows_its_seed():
    spec = spec_of(GAIN, FREQUENCY, {"name": "wide", "unit": "", "low": -1e38, "high": 1e38})
    rows = spec.example(4000, seed=3)
    assert (rows.shape, rows.dtype) == ((4000, 3), np.float32)
    # where a tenth of the values lies below: a tenth of the way, in dB and in decades
    for share in (0.1, 0.5, 0.9):
        expected = [-12 + 24 * share, 20 * 10 ** (3 * share), 1e38 * (2 * share - 1)]
        found = np.quantile(rows, share, axis=0)
        np.testing.assert_allclose(found[0], expected[0], atol=0.7)
        np.testing.assert_allclose(np.log10(found[1]), np.log10(expected[1]), atol=0.09)
        np.testing.assert_allclose(found[2], expected[2], atol=0.07e38)
    assert np.all((rows >= np.float32([-12, 20, -1e38])) & (rows <= np.float32([12, 20_000, 1e38])))
    assert np.array_equal(rows, spec.example(4000, seed=3))
    assert not np.array_equal(rows, spec.example(4000, seed=4))


def test_content_that_versions_follow_leaves_out_where_ranges_come_from():
    stated = spec_of({**GAIN, "source": "a data sheet"})
    assert stated.content() == spec_of(GAIN).content()
    assert stated.model_dump()["fields"][0]["source"] == "a data sheet"
    assert "source" not in spec_of(GAIN).model_dump()["fields"][0]
