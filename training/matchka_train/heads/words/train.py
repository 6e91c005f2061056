"""One run: table, axis, decoders, curves of words, and what all of it is worth to people who were left out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from pydantic import TypeAdapter

from matchka.runtime.atomic_file import write_atomically
from matchka_train.heads.words.curves import mean_curve, solve_word
from matchka_train.heads.words.evaluation import WordMeasures, measure_words
from matchka_train.heads.words.fit import fit_words
from matchka_train.heads.words.network import WordsModel
from matchka_train.heads.words.recipe import WordsRecipe
from matchka_train.heads.words.storage import Fitted, Word, save_words
from matchka_train.heads.words.table import Presets, read_presets, split_by_contributor

MODEL_NAME: Final = "words.safetensors"
REPORT_NAME: Final = "words.json"


@dataclass(frozen=True)
class Split:
    """Rows. Attributes: train: what everything is fitted on; held: those of other people."""

    train: Presets
    held: Presets


def split_of(recipe: WordsRecipe) -> Split:
    """A recipe's rows, divided by contributor.

    Raises: DatasetError: see read_presets.
    """
    return Split(*split_by_contributor(read_presets(recipe), recipe.table.folds, recipe.table.fold))


def train_words(recipe: WordsRecipe) -> tuple[Fitted, WordMeasures]:
    """Fit on one part of the contributors, measure on the other, and keep both in the recipe's folder.

    Raises: DatasetError: see read_presets. NoTrialsError: too few rows of the two words.
    """
    split = split_of(recipe)
    model = fit_words(recipe, split.train)
    fitted = Fitted(recipe, model, _words(recipe, model, split.train))
    settings = {word: found.settings for word, found in fitted.words.items()}
    measures = measure_words(recipe, model, split.train, split.held, settings)
    folder: Path = recipe.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    save_words(folder / MODEL_NAME, fitted)
    write_atomically(folder / REPORT_NAME, TypeAdapter(WordMeasures).dump_json(measures, indent=1))
    return fitted, measures


def _words(recipe: WordsRecipe, model: WordsModel, presets: Presets) -> dict[str, Word]:
    """Every word that enough contributors gave, of all that the table has."""
    found = {}
    for word in dict.fromkeys([*recipe.words, *sorted(set(presets.words.tolist()))]):
        spoken = presets.of_words([word])
        contributors = len(set(spoken.contributors.tolist()))
        if contributors >= recipe.least_contributors:
            with torch.enable_grad():
                settings = solve_word(recipe, model.features, mean_curve(model.features, spoken, recipe.cap))
            found[word] = Word(contributors, settings)
    return found
