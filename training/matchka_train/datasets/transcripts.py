"""What is read in each clip: a column of text and one of phones, beside the paths of the csv layout."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matchka_train.datasets.layouts.csv import read_columns
from matchka_train.datasets.phones import phone_numbers
from matchka_train.datasets.recipe import DatasetRecipe
from matchka_train.datasets.sample import Sample


class ReadSpeech(DatasetRecipe):
    """A data set of clips of which it is known what is said.

    Attributes:
        layout: the one that has columns.
        clip_parts: what is said in a part of a clip is not known.
        text_column: the column that holds the words.
        phones_column: the column that holds their phones, in ARPABET.
    """

    layout: Literal["csv"] = "csv"
    clip_parts: Literal[1] = 1
    text_column: str = "text"
    phones_column: str = "phones"


@dataclass(frozen=True)
class Transcript:
    """What is read in a clip.

    Attributes:
        text: its words.
        phones: numbers of its phones, as matchka_train.datasets.phones.CLASSES.
    """

    text: str
    phones: tuple[int, ...]


def read_transcripts(recipe: ReadSpeech, samples: Sequence[Sample]) -> list[Transcript]:
    """The transcript of each sample of a data set.

    Raises: DatasetError: no such file or column, or what is no phone.
    """
    columns = (recipe.text_column, recipe.phones_column)
    written: dict[Path, tuple[str, ...]] = read_columns(recipe.path, recipe.path_column, columns, recipe.where)
    return [Transcript(text, phone_numbers(phones)) for text, phones in (written[sample.path] for sample in samples)]
