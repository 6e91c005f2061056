"""One run: table, axis, decoders, curves of words, and what all of it is worth to people who were left out."""

from typing import Final

import torch
from pydantic import TypeAdapter

from matchka.runtime.atomic_file import write_atomically
from matchka_train.heads.words.curves import mean_curve, solve_word
from matchka_train.heads.words.fit import fit_words
from matchka_train.heads.words.judging.figures import WordMeasures, measures_of
from matchka_train.heads.words.judging.folds import Judged, joined, judge_fold
from matchka_train.heads.words.network import WordsModel
from matchka_train.heads.words.recipe import WordsRecipe
from matchka_train.heads.words.storage import Fitted, Word, save_words
from matchka_train.heads.words.table import Presets, read_presets, split_by_contributor

MODEL_NAME: Final = "words.safetensors"
REPORT_NAME: Final = "words.json"


def train_words(recipe: WordsRecipe) -> tuple[Fitted, WordMeasures]:
    """Fit on all contributors, measure what such a fit is worth to others, and keep both in the recipe's folder.

    Raises: DatasetError: see read_presets. NoTrialsError: too few rows of the two words.
    """
    presets = read_presets(recipe)
    fitted = fit_all(recipe, presets)
    measures = measures_of(recipe, cross_fit(recipe, presets))
    recipe.output_dir.mkdir(parents=True, exist_ok=True)
    save_words(recipe.output_dir / MODEL_NAME, fitted)
    write_atomically(recipe.output_dir / REPORT_NAME, TypeAdapter(WordMeasures).dump_json(measures, indent=1))
    return fitted, measures


def fit_all(recipe: WordsRecipe, presets: Presets) -> Fitted:
    """A model, and the settings of its words, of all these rows."""
    model = fit_words(recipe, presets)
    return Fitted(recipe, model, _words(recipe, model, presets))


def cross_fit(recipe: WordsRecipe, presets: Presets) -> Judged:
    """Judge each fold of the contributors by a model of the others.

    There are too few people who gave the two words to fit on some and judge on others alone: by folds, each is judged,
    and none by a model that knows them.
    """
    folds = []
    for fold in range(recipe.table.folds):
        train, held = split_by_contributor(presets, recipe.table.folds, fold)
        fitted = fit_all(recipe, train)
        settings = {word: found.settings for word, found in fitted.words.items()}
        folds.append(judge_fold(recipe, fitted.model, train, held, settings))
    return joined(folds)


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
