"""Files of named numbers as training reads them: as the service does, and none in parts or changed."""

import json
from pathlib import Path

import numpy as np
import pytest

from matchka_train.backbones.tabular.kernel import KernelFeatures
from matchka_train.datasets.sample import Sample
from matchka_train.errors import FeatureError, RecipeError
from matchka_train.modalities import describe_reader, open_reader
from matchka_train.modalities.augmentation import AugmentationRecipe, View
from matchka_train.modalities.skipped import Skipped
from tests.factories.named_numbers import LENGTH_AND_FORCE

BACKBONE = KernelFeatures(LENGTH_AND_FORCE, 8, 1.0, 0)


def written(path: Path, numbers: object) -> Sample:
    path.write_text(json.dumps(numbers))
    return Sample(path, "ada", "made")


def test_rows_of_a_file_are_its_numbers_in_the_order_of_the_fields(tmp_path: Path) -> None:
    sample = written(tmp_path / "a.json", {"force": 3, "length": -0.5})
    rows = open_reader(BACKBONE, {}, None).rows(sample.path.read_bytes(), sample, "")
    assert isinstance(rows, np.ndarray)
    assert (rows.tolist(), rows.dtype) == ([[-0.5, 3.0]], np.float32)


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [({"force": 3, "length": 7}, "-2.0 to 6.0 m"), ({"force": 3}, "length is missing"), ([3, 7], "JSON object")],
)
def test_rows_of_a_file_that_the_service_would_refuse_are_skipped_with_the_reason(
    tmp_path: Path, numbers: object, reason: str
) -> None:
    sample = written(tmp_path / "a.json", numbers)
    skipped = open_reader(BACKBONE, {}, None).rows(sample.path.read_bytes(), sample, "")
    assert isinstance(skipped, Skipped)
    assert (skipped.path, reason in skipped.reason) == (str(tmp_path / "a.json"), True)


def test_parts_views_and_limits_of_numbers_are_refused(tmp_path: Path) -> None:
    part = Sample(tmp_path / "a.json", "ada", "made", 1, 2)
    with pytest.raises(FeatureError, match="no parts"):
        open_reader(BACKBONE, {}, None).rows(b"{}", part, "")
    with pytest.raises(FeatureError, match="no changed copies"):
        open_reader(BACKBONE, {}, View(1, 0, AugmentationRecipe(views=1)))
    with pytest.raises(RecipeError, match="max_duration_s"):
        open_reader(BACKBONE, {"max_duration_s": 3}, None)


def test_describe_reader_changes_with_the_fields() -> None:
    narrower = LENGTH_AND_FORCE.model_copy(update={"fields": LENGTH_AND_FORCE.fields[:1]})
    assert describe_reader(BACKBONE, {}) == {"input": LENGTH_AND_FORCE.content()}
    assert describe_reader(KernelFeatures(narrower, 8, 1.0, 0), {}) != describe_reader(BACKBONE, {})
