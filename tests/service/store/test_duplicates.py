"""What counts as a sample that is enrolled already: copies but for rounding, and nothing less alike."""

import numpy as np
import pytest

from matchka.store.duplicates import copies_among, duplicate_of
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
def test_new_template_that_differs_by_rounding_is_a_copy(difference: float):
    assert copies_among({"old": unit(1), "new": turned(unit(1), difference)}, ["new"]) == [0]


@pytest.mark.parametrize("difference", [1.3e-5, 1e-4, 1e-3, 0.5])
def test_new_template_that_differs_by_more_is_none(difference: float):
    assert copies_among({"old": unit(1), "new": turned(unit(1), difference)}, ["new"]) == []


@pytest.mark.parametrize("length", [0.2, 1.0, 30.0])
def test_length_of_a_template_does_not_matter(length: float):
    assert copies_among({"old": unit(1), "new": length * unit(1)}, ["new"]) == [0]


def test_copies_are_known_by_their_place_in_the_call_whatever_their_place_among_the_templates():
    assert copies_among({"z": unit(3), "held": unit(2), "a": unit(1), "m": unit(2)}, ["z", "m", "a"]) == [1]


def test_of_two_equal_files_in_one_call_the_second_is_the_copy():
    assert copies_among({"c": unit(1), "b": unit(2), "a": unit(1)}, ["c", "b", "a"]) == [2]


def test_equal_templates_that_were_there_before_are_left_alone():
    assert copies_among({"a": unit(1), "b": unit(1), "new": unit(2)}, ["new"]) == []
    assert copies_among({"a": unit(1), "b": unit(1)}, []) == []


def test_refusal_names_the_file_and_the_subject():
    error = duplicate_of("File 2 of 3", "ada")
    assert error.detail.startswith("File 2 of 3 is enrolled for this subject already")
    assert error.value == "ada"
