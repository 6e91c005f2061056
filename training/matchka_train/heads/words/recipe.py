"""A recipe for words of settings: the numbers, the filters that they set, and the table of who called what how."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, model_validator

from matchka.modalities.tabular.spec import TabularField, TabularInputSpec
from matchka_train.backbones.tabular.response import Band
from matchka_train.errors import RecipeError
from matchka_train.strict_model import StrictModel


class TableRecipe(StrictModel):
    """Settings with the words that people gave them: a CSV file with a column for each field.

    Attributes:
        path: the file.
        contributor_column: who set it; people are split by it, so that nobody is trained on and judged on.
        word_column: the word.
        folds: people, those with most rows first, are dealt into so many; each is judged by a model of the others.
        source: for the manifest.
        licence: for the manifest.
    """

    path: Path
    contributor_column: str = "contributor"
    word_column: str = "descriptor"
    folds: int = Field(default=2, ge=2)
    source: str = "not stated"
    licence: str = "not stated"


class DecoderRecipe(StrictModel):
    """How settings are learned from their first numbers. Attributes: hidden: units; steps: of training; rate: of it."""

    hidden: int = Field(default=64, ge=1)
    steps: int = Field(default=300, ge=0)
    rate: float = Field(default=3e-3, gt=0)


class WordsRecipe(StrictModel):
    """One model of settings and their words.

    Attributes:
        name: of the model.
        seed: fixes every random choice.
        dims: of the embedding, rising; the last is the number of fields.
        fields: the numbers of a setting, in the order of the graph's columns.
        bands: the filters that they set.
        kept_aside: a field that says least about words: the response curve is made without it, so that all fields can
            be found again from the embedding.
        aside_value: what the curve takes for it.
        words: the two ends of the axis.
        cap: a person weighs as at most so many rows of one word.
        penalty: of squared weights of the axis.
        decoder: how settings are learned from their first numbers.
        strengths: grid on which a word's settings are solved, from 0 to 1.
        least_contributors: a word that fewer people gave has no curve.
        table: the data.
        output_dir: folder of the checkpoint.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    seed: int = Field(default=0, ge=0)
    dims: tuple[int, ...]
    fields: tuple[TabularField, ...]
    bands: tuple[Band, ...] = Field(min_length=1)
    kept_aside: str
    aside_value: float
    words: tuple[str, str]
    cap: int = Field(default=10, ge=1)
    penalty: float = Field(default=0.1, gt=0)
    decoder: DecoderRecipe = DecoderRecipe()
    strengths: tuple[float, ...] = tuple(step / 10 for step in range(11))
    least_contributors: int = Field(default=8, ge=1)
    table: TableRecipe
    output_dir: Path

    @model_validator(mode="after")
    def _fits_together(self) -> "WordsRecipe":
        names = self.names
        asked = [part for band in self.bands for part in (band.gain, band.frequency, band.q) if isinstance(part, str)]
        if unknown := sorted({*asked, self.kept_aside} - set(names)):
            raise ValueError(f"bands and kept_aside name fields that there are not: {', '.join(unknown)}")
        if list(self.dims) != sorted(set(self.dims)) or self.dims[0] < 2 or self.dims[-1] != len(names):
            raise ValueError("dims must rise from 2 or more, without repeats, to the number of fields")
        if list(self.strengths) != sorted(set(self.strengths)) or (self.strengths[0], self.strengths[-1]) != (0, 1):
            raise ValueError("strengths must rise from 0 to 1, without repeats")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Of the fields."""
        return tuple(field.name for field in self.fields)

    @property
    def input(self) -> TabularInputSpec:
        """What the graph takes."""
        return TabularInputSpec(fields=self.fields)


def read_words_recipe(path: Path, changes: dict[str, Any] | None = None) -> WordsRecipe:
    """Read and validate a recipe.

    Args:
        path: the YAML file.
        changes: values of its outermost keys that take the place of the file's.

    Raises: RecipeError: unreadable, an unknown key, or a value out of range; names the key.
    """
    try:
        return WordsRecipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) | (changes or {}))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the recipe"
        raise RecipeError(
            f"The recipe {path} is not valid at {where}: {first['msg']}.",
            value=first["input"],
            remedy="See docs/equalizer.md for every key.",
        ) from error
    except (OSError, TypeError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(
            f"The recipe {path} cannot be read.", value=error, remedy="Check its path and YAML."
        ) from error
