"""Adoptions count their people before anything is fetched or computed."""

import csv
from itertools import combinations
from pathlib import Path

import pytest

from matchka_export.adopt.people import LEAST_MATED_PAIRS, LEAST_PEOPLE, divide, require_enough
from matchka_export.errors import TooLittleDataError
from matchka_train.datasets.reader import read_dataset
from matchka_train.datasets.recipe import DatasetRecipe


def listed(folder: Path, people: int, samples: int, clip_parts: int = 1) -> DatasetRecipe:
    """A data set that lists files; nobody opens them to count."""
    path = folder / "people.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = [(f"{person}-{number}.wav", f"p{person}") for person in range(people) for number in range(samples)]
        csv.writer(file).writerows([("path", "speaker"), *rows])
    return DatasetRecipe(corpus="p", domain="p", layout="csv", path=path, clip_parts=clip_parts)


@pytest.mark.parametrize("people", [100, 149, 150, 260])
def test_divide_holds_out_enough_people_that_nobody_trains_on(people: int, tmp_path: Path) -> None:
    found = divide(listed(tmp_path, people, 4), seed=3)
    held_out = read_dataset(found.validation)
    trained = [sample for part in found.train for sample in read_dataset(part)]
    assert not {sample.subject for sample in held_out} & {sample.subject for sample in trained}
    assert len(held_out) + len(trained) == 4 * people
    pairs = [pair for pair in combinations([sample.subject for sample in held_out], 2) if pair[0] == pair[1]]
    assert (found.held_out.samples, found.held_out.mated_pairs) == (len(held_out), len(pairs))
    assert found.held_out.people == len({sample.subject for sample in held_out}) >= LEAST_PEOPLE
    assert found.trained.people == people - found.held_out.people >= LEAST_PEOPLE
    require_enough([found])


def test_divide_with_another_seed_holds_out_others(tmp_path: Path) -> None:
    dataset = listed(tmp_path, 120, 4)
    one, same, other = (divide(dataset, seed) for seed in (1, 1, 2))
    people = [{sample.subject for sample in read_dataset(found.validation)} for found in (one, same, other)]
    assert people[0] == people[1] != people[2]


@pytest.mark.parametrize(
    ("people", "samples", "has"),
    [(98, 4, "49 people, 294 mated pairs"), (100, 3, "50 people, 150 mated pairs"), (40, 9, "20 people")],
)
def test_require_enough_when_too_few_says_what_is_there_and_what_to_bring(
    people: int, samples: int, has: str, tmp_path: Path
) -> None:
    found = divide(listed(tmp_path, people, samples), seed=0)
    assert not found.is_enough
    with pytest.raises(TooLittleDataError) as caught:
        require_enough([found])
    assert has in str(caught.value.value)
    assert str(LEAST_MATED_PAIRS) in caught.value.detail
    assert "100 people" in caught.value.remedy


def test_divide_when_clips_are_cut_counts_the_parts(tmp_path: Path) -> None:
    assert divide(listed(tmp_path, 100, 1, clip_parts=4), seed=0).is_enough


@pytest.mark.parametrize(("people", "samples"), [(1, 8), (3, 2), (100, 1)])
def test_divide_when_nothing_can_be_held_out_says_how_many_are_needed(
    people: int, samples: int, tmp_path: Path
) -> None:
    with pytest.raises(TooLittleDataError, match="100 people"):
        divide(listed(tmp_path, people, samples), seed=0)
