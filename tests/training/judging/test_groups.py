"""Groups of people: which there are, and rates among their own pairs."""

from pathlib import Path

import numpy as np
import pytest

from matchka_train.datasets.recipe import DatasetRecipe
from matchka_train.errors import DatasetError
from matchka_train.judging.groups import group_rates, read_groups
from matchka_train.metrics.pairs import all_pairs


def dataset(folder: Path, *rows: str, where: dict[str, str] | None = None) -> DatasetRecipe:
    (folder / "people.csv").write_text("\n".join(["path,speaker,sex,age", *rows]))
    entry = {"corpus": "c", "domain": "d", "layout": "csv", "path": folder / "people.csv", "where": where or {}}
    return DatasetRecipe.model_validate(entry)


def test_read_groups_takes_words_as_they_are_and_leaves_out_whom_nothing_is_said_of(tmp_path):
    data = dataset(tmp_path, "1,ann,f,7", "2,ann,f,7", "3,bob,m,8", "4,cem,,9", "5,dan,m,9", where={"age": "7"})
    assert read_groups([data], "sex") == {"c/ann": "f"}
    data = dataset(tmp_path, "1,ann,f,7", "3,bob,m,8", "4,cem,,9")
    assert read_groups([data], "sex") == {"c/ann": "f", "c/bob": "m"}
    assert read_groups([data], "age") == {"c/ann": "7", "c/bob": "8", "c/cem": "9"}  # few values stay as they are


def test_read_groups_of_many_numbers_makes_ranges_of_about_as_many_people(tmp_path):
    ages = [6, 6, 6, 7, 9, 12, 13, 20, 30, 31, 40, 43]
    found = read_groups([dataset(tmp_path, *(f"{n},s{n:02d},f,{age}" for n, age in enumerate(ages)))], "age")
    assert [found[f"c/s{n:02d}"] for n in range(12)] == [
        name for name in ("6", "7-12", "13-30", "31-43") for _ in range(3)
    ]


def test_read_groups_without_the_column_refuses(tmp_path):
    with pytest.raises(DatasetError, match="No data set has such a column"):
        read_groups([dataset(tmp_path, "1,ann,f,7")], "height")


@pytest.mark.parametrize(
    ("changed", "absent"), [({"subject_column": "who"}, "who"), ({"where": {"hair": "x"}}, "hair")]
)
def test_read_groups_without_the_columns_of_the_data_set_refuses(tmp_path, changed: dict[str, object], absent: str):
    data = dataset(tmp_path, "1,ann,f,7").model_copy(update=changed)
    with pytest.raises(DatasetError, match="has no such column") as caught:
        read_groups([data], "sex")
    assert caught.value.value == absent


def test_group_rates_count_pairs_within_a_group_only():
    rows = np.array([[1, 0], [1, 0.1], [0, 1], [1, 1], [0.1, 1], [-1, 0]], np.float32)
    subjects = ["b", "b", "a", "a", "c", "lonely"]
    groups = {"a": "x", "b": "x", "c": "y"}
    found = group_rates("d", 2, all_pairs(rows, subjects), subjects, groups, [(0.1, 0.75)])
    assert [(entry.group, entry.subjects, entry.mated_pairs, entry.non_mated_pairs) for entry in found] == [
        ("x", 2, 2, 4),
        ("y", 1, 0, 0),
    ]
    # mated: b-b .995, a-a .707; non-mated: a with b 0, .0995, .707, .774
    assert found[0].rates[0].measured_fmr == pytest.approx(1 / 4)
    assert found[0].rates[0].measured_fnmr == pytest.approx(1 / 2)
    assert (found[1].eer, found[1].rates[0].measured_fmr, found[1].rates[0].measured_fnmr) == (None, None, None)
