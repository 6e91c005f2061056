"""What a manifest says of pictures: with nothing said of small faces, all is as it was before there was anything."""

from typing import Any

import pytest
from pydantic import ValidationError

from matchka.modalities.face.spec import EnhancerSpec, ImageInputSpec

PLAIN: dict[str, Any] = {
    "kind": "image",
    "chip_px": 150,
    "template_points": ((46.0, 45.0), (102.0, 45.0), (74.0, 77.0), (50.0, 106.0), (98.0, 106.0)),
    "template_weights": (1.0, 1.0, 1.0, 1.0, 1.0),
}


def test_input_that_says_nothing_of_small_faces_is_written_and_hashed_as_before():
    spec = ImageInputSpec.model_validate(PLAIN)
    assert spec.model_dump() == PLAIN
    assert spec.content().keys() == {"chip_px", "template"}


def test_input_that_enhances_small_faces_has_another_content_and_survives_its_json():
    spec = ImageInputSpec.model_validate({**PLAIN, "enhancer": {"sizes": [[14.5, 20], [28, 40]]}})
    assert ImageInputSpec.model_validate_json(spec.model_dump_json()) == spec
    assert spec.content()["enhancer"] == {"sizes": ((14.5, 20.0), (28.0, 40.0))}
    assert spec.content() != spec.model_copy(update={"enhancer": EnhancerSpec(sizes=((14.5, 20),))}).content()


NO_RANGES = [[[20, 20]], [[30, 20]], [[-1, 20]], [[10, 30], [20, 40]], [[20, 30], [10, 15]]]
OF_FULL_SIZE = [[[20, 40.1]], [[0, float("inf")]], [[12, 20], [60, 80]]]


@pytest.mark.parametrize("sizes", [*NO_RANGES, *OF_FULL_SIZE])
def test_enhancer_spec_of_sizes_that_are_no_rising_ranges_of_small_faces_is_refused(sizes: list[list[float]]):
    with pytest.raises(ValidationError, match="sizes must be ranges"):
        EnhancerSpec.model_validate({"sizes": sizes})
