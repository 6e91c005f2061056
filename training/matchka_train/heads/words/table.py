"""Settings with the words that people gave them, out of a CSV file."""

import csv
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from matchka_train.errors import DatasetError
from matchka_train.heads.words.recipe import WordsRecipe

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Presets:
    """Settings, row by row.

    Attributes:
        values: (rows, fields), in the fields' units.
        words: (rows,), in lower case.
        contributors: (rows,).
    """

    values: Values
    words: npt.NDArray[np.str_]
    contributors: npt.NDArray[np.str_]

    def rows(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> "Presets":
        """Some of them."""
        return Presets(self.values[chosen], self.words[chosen], self.contributors[chosen])

    def of_words(self, words: Collection[str]) -> "Presets":
        """Those that were given one of these words."""
        return self.rows(np.isin(self.words, list(words)))

    def weights(self, cap: int) -> Values:
        """(rows,): 1, or less where one person gave one word to more than `cap` rows, so that they sum to `cap`."""
        keys = list(zip(self.contributors, self.words, strict=True))
        counts = Counter(keys)
        return np.array([min(1.0, cap / counts[key]) for key in keys])

    def at_most(self, most: int, seed: int) -> "Presets":
        """No more than so many rows of each person, drawn."""
        generator = np.random.default_rng(seed)
        kept = [
            generator.permutation(np.flatnonzero(self.contributors == person))[:most]
            for person in np.unique(self.contributors)
        ]
        return self.rows(np.sort(np.concatenate(kept)))


def read_presets(recipe: WordsRecipe) -> Presets:
    """Read a recipe's table.

    Raises: DatasetError: no such file or column, or a row with a value that is no number or out of its field's range.
    """
    table = recipe.table
    try:
        with table.path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"The table {table.path} cannot be read.", value=error, remedy="Check its path in the recipe."
        ) from error
    needed = [table.contributor_column, table.word_column, *recipe.names]
    if not rows or not set(needed) <= rows[0].keys():
        raise DatasetError(
            f"The table {table.path} needs rows, and columns for {', '.join(needed)}.",
            value=", ".join(rows[0]) if rows else "no row",
            remedy="Name its columns in the recipe.",
        )
    values = [[_number(row[name], number, name) for name in recipe.names] for number, row in enumerate(rows, 2)]
    presets = Presets(
        np.array(values),
        np.array([row[table.word_column].strip().lower() for row in rows]),
        np.array([row[table.contributor_column] for row in rows]),
    )
    for column, field in zip(presets.values.T, recipe.fields, strict=True):
        # a range's end that was kept in 32 bits is that end
        outside = (column.astype(np.float32) < np.float32(field.low)) | (
            column.astype(np.float32) > np.float32(field.high)
        )
        if outside.any():
            raise DatasetError(
                f"{field.name} must be within {field.range} in every row of {table.path}.",
                value=float(column[outside][0]),
                remedy="Correct the range in the recipe, or leave the row out.",
            )
    return presets


def split_by_contributor(presets: Presets, folds: int, fold: int) -> tuple[Presets, Presets]:
    """Rows to train on, and rows of other people to judge on: people dealt by falling number of rows."""
    counts = Counter(presets.contributors.tolist())
    people = sorted(counts, key=lambda person: (-counts[person], person))
    judging = np.isin(presets.contributors, people[fold::folds])
    return presets.rows(~judging), presets.rows(judging)


def _number(text: str | None, line: int, name: str) -> float:
    try:
        return float(text or "")
    except ValueError as error:
        raise DatasetError(
            f"Line {line} of the table has no number in the column {name}.", value=text, remedy="Correct the row."
        ) from error
