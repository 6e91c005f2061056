"""A model of settings that no data shaped: its axis is the tilt of the response curve, all else is fitted on draws."""

from typing import Final

import numpy as np
import torch

from matchka_train.backbones.tabular.equalizer import DB_PER_UNIT
from matchka_train.heads.words.axis import LEAST_SLOPE
from matchka_train.heads.words.fit import Axis, backbone_of, fit_settings
from matchka_train.heads.words.recipe import WordsRecipe
from matchka_train.heads.words.storage import Fitted
from matchka_train.heads.words.table import Presets

DRAWN: Final = 2000  # settings
DB_OF_ONE: Final = 3.0  # of tilt, between the halves of the spectrum, that is 1 on the axis


def fit_without_words(recipe: WordsRecipe) -> Fitted:
    """Fit rotation and decoders on settings drawn evenly from all ranges; there are no words.

    The axis rises with what the upper half of the spectrum (by octaves) has more than the lower one.
    """
    drawn = recipe.input.example(DRAWN, recipe.seed).astype(np.float64)
    nobody = np.arange(DRAWN).astype(str)
    features = backbone_of(recipe).module()
    points = len(features.response.grid)
    tilt = np.where(np.arange(points) < points // 2, -1.0, 1.0) / (points // 2) * DB_PER_UNIT / DB_OF_ONE
    weight = np.concatenate([np.zeros(len(recipe.fields)), tilt])
    weight[features.aside] = LEAST_SLOPE
    model = fit_settings(recipe, Presets(drawn, nobody, nobody), Axis(weight, 0.0, has_words=False))
    return Fitted(recipe, model, {})


def drawn_copies(recipe: WordsRecipe, settings: int, copies: int, moved: float) -> tuple[torch.Tensor, list[str]]:
    """Settings that are copies of each other but for a little: what a model without words can be judged on.

    Args:
        recipe: ranges.
        settings: drawn evenly from all ranges.
        copies: of each.
        moved: how far each number is moved at most, in shares of its range.

    Returns: (settings * copies, fields) and which setting each is a copy of.
    """
    generator = np.random.default_rng(recipe.seed + 1)
    features = backbone_of(recipe).module()
    centres = generator.uniform(-1, 1, (settings, 1, len(recipe.fields)))
    places = centres + generator.uniform(-2 * moved, 2 * moved, (settings, copies, len(recipe.fields)))
    values = features.values(torch.tensor(places.reshape(settings * copies, -1), dtype=torch.float32))
    return values, [str(number) for number in np.repeat(np.arange(settings), copies)]
