"""What counts as a sample that is enrolled already: copies but for rounding, and nothing less alike."""

import numpy as np
import pytest

from matchka.errors import DuplicateSampleError
from matchka.store.duplicates import require_no_duplicates
from tests.factories.unit_vectors import unit_vectors

DIM = 256


def unit(seed: int) -> np.ndarray:
    return unit_vectors(1, seed, dim=DIM)[0]


def turned(row: np.ndarray, one_minus_cosine: float) -> np.ndarray:
    """A unit vector whose cosine with `row` is known."""
    across = unit(999).astype(np.float64)
    across -= (across @ row) * row
    cosine = 1.0 - one_minus_cosine
    mixed = cosine * row + np.sqrt(1.0 - cosine**2) * across / np.linalg.norm(across)
    return mixed.astype(np.float32)


@pytest.mark.parametrize("difference", [0.0, 1e-7, 1e-6, 8e-6])
def test_new_template_that_differs_by_rounding_is_refused(difference: float):
    templates = {"old": unit(1), "new": turned(unit(1), difference)}
    with pytest.raises(DuplicateSampleError, match="File 1 of 1") as refused:
        require_no_duplicates(templates, ["new"], "ada")
    assert refused.value.value == "ada"


@pytest.mark.parametrize("difference", [1.3e-5, 1e-4, 1e-3, 0.5])
def test_new_template_that_differs_by_more_is_let_in(difference: float):
    require_no_duplicates({"old": unit(1), "new": turned(unit(1), difference)}, ["new"], "ada")


@pytest.mark.parametrize("length", [0.2, 1.0, 30.0])
def test_length_of_a_template_does_not_matter(length: float):
    with pytest.raises(DuplicateSampleError):
        require_no_duplicates({"old": unit(1), "new": length * unit(1)}, ["new"], "ada")


def test_files_are_named_by_their_place_in_the_call_whatever_their_place_among_the_templates():
    templates = {"z": unit(3), "held": unit(2), "a": unit(1), "m": unit(2)}
    with pytest.raises(DuplicateSampleError, match="File 2 of 3"):
        require_no_duplicates(templates, ["z", "m", "a"], "ada")


def test_of_two_equal_files_in_one_call_the_second_is_named():
    templates = {"c": unit(1), "b": unit(2), "a": unit(1)}
    with pytest.raises(DuplicateSampleError, match="File 3 of 3"):
        require_no_duplicates(templates, ["c", "b", "a"], "ada")


def test_equal_templates_that_were_there_before_are_left_alone():
    require_no_duplicates({"a": unit(1), "b": unit(1), "new": unit(2)}, ["new"], "ada")
    require_no_duplicates({"a": unit(1), "b": unit(1)}, [], "ada")
