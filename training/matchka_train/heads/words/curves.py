"""What a word sounds like: the mean response curve of those who gave it, and settings that come nearest to it."""

from typing import Final

import numpy as np
import torch
from scipy.optimize import least_squares

from matchka_train.backbones.tabular.equalizer import EqualizerFeatures
from matchka_train.backbones.tabular.response import level_removed
from matchka_train.heads.words.recipe import WordsRecipe
from matchka_train.heads.words.table import Presets, Values

STARTS: Final = 8  # settings the solver begins with: the middle of all ranges, and drawn ones
KEEP_NEAR: Final = 0.05  # dB that a step of a whole range costs: words of near strengths have near settings


def curves_of(features: EqualizerFeatures, values: Values) -> Values:
    """Response curves in dB, level removed, (rows, GRID_POINTS)."""
    return level_removed(features.response(torch.tensor(values, dtype=torch.float32))).double().numpy()


def mean_curve(features: EqualizerFeatures, presets: Presets, cap: int) -> Values:
    """The mean response in dB, level removed, (GRID_POINTS,); each person weighs as at most `cap` rows."""
    weights = presets.weights(cap)
    mean: Values = weights @ curves_of(features, presets.values) / weights.sum()
    return mean


def solve_word(recipe: WordsRecipe, features: EqualizerFeatures, target: Values) -> tuple[tuple[float, ...], ...]:
    """Settings within their ranges whose curves come nearest to `strength * target`, for each strength of the recipe.

    The whole word is solved first, from several starts; each weaker one from its stronger neighbour, and at strength 0
    the gains are exactly 0.

    Args:
        recipe: ranges and strengths.
        features: gives curves.
        target: dB, level removed, (GRID_POINTS,).
    """
    generator = np.random.default_rng(recipe.seed)
    fields = len(recipe.fields)
    starts = [np.full(fields, 0.5), *generator.random((STARTS - 1, fields))]
    solved = [_solve(features, target, start, start, 0.0) for start in starts]
    places = min(solved, key=lambda found: _error(features, target, found))
    found = {1.0: places}
    for strength in recipe.strengths[-2:0:-1]:
        places = _solve(features, strength * target, places, places, KEEP_NEAR)
        found[strength] = places
    flat = places.copy()
    for column in {recipe.names.index(band.gain) for band in recipe.bands}:
        field = recipe.fields[column]
        flat[column] = (0.0 - field.low) / (field.high - field.low)
    found[0.0] = flat
    return tuple(_setting(recipe, found[strength]) for strength in recipe.strengths)


def _solve(features: EqualizerFeatures, target: Values, start: Values, near: Values, pull: float) -> Values:
    def residuals(places: Values) -> Values:
        return np.append(_curve(features, places)[0] - target, pull * np.sqrt(len(target)) * (places - near))

    def slopes(places: Values) -> Values:
        at = torch.tensor(places, dtype=torch.float32)
        slope = torch.autograd.functional.jacobian(  # type: ignore[no-untyped-call]
            lambda value: _torch_curve(features, value[None])[0], at
        )
        return np.vstack([slope.double().numpy(), pull * np.sqrt(len(target)) * np.eye(len(places))])

    inside = start.clip(1e-3, 1 - 1e-3)  # the solver begins within its bounds
    solution: Values = least_squares(residuals, inside, slopes, bounds=(0.0, 1.0), max_nfev=60).x
    return solution


def _error(features: EqualizerFeatures, target: Values, places: Values) -> float:
    return float(np.sqrt(np.mean((_curve(features, places)[0] - target) ** 2)))


def _curve(features: EqualizerFeatures, places: Values) -> Values:
    with torch.no_grad():
        return _torch_curve(features, torch.tensor(places[None], dtype=torch.float32)).double().numpy()


def _torch_curve(features: EqualizerFeatures, places: torch.Tensor) -> torch.Tensor:
    return level_removed(features.response(features.scaling.values(places)))


def _setting(recipe: WordsRecipe, places: Values) -> tuple[float, ...]:
    """Values in their units, rounded to what anybody can set, and within their ranges."""
    values = [float(field.at(np.array(place))) for field, place in zip(recipe.fields, places, strict=True)]
    rounded = [float(f"{value:.5g}") for value in values]
    return tuple(min(max(value, field.low), field.high) for value, field in zip(rounded, recipe.fields, strict=True))
