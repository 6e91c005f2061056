"""One fold of contributors, as a model that does not know them takes their settings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from matchka.vectors import FloatArray
from matchka_train.heads.words.axis import fit_axis
from matchka_train.heads.words.curves import curves_of, mean_curve
from matchka_train.heads.words.fit import backbone_of
from matchka_train.heads.words.judging.pairs import WordPairs, pairs_across
from matchka_train.heads.words.network import WordsModel
from matchka_train.heads.words.recipe import WordsRecipe
from matchka_train.heads.words.table import Presets, Values

MOST_ROWS: Final = 100  # of one contributor that judge; without it, one person's settings would be half of all
STEPS: Final = 11  # of a morph that is looked at


@dataclass(frozen=True)
class OnAxis:
    """All held-out rows of the two words, where one person weighs as at most MOST_ROWS of them.

    Attributes:
        log_odds: (rows,), of the second word.
        is_second: (rows,), 1 for rows of that word.
        weights: (rows,).
        contributors: (rows,).
    """

    log_odds: Values
    is_second: Values
    weights: Values
    contributors: npt.NDArray[np.str_]


@dataclass(frozen=True)
class Judged:
    """Held-out rows of the two words, of every fold, as the model that had not seen their contributors takes them.

    Attributes:
        axis: all of them; the rest is of those that were drawn.
        presets: at most MOST_ROWS of one person.
        pairs: of rows of one fold: others lie in embeddings of two models.
        embeddings: float32, (rows, full_dim).
        floor: the same of the principal components of the scaled numbers.
        errors_db: dim -> RMS of the response curve of what is found again, (rows,).
        floor_errors_db: the same of the floor.
        generated_db: fold by fold; see WordMeasures.
        judged: fold by fold.
        morphs: fold by fold.
    """

    axis: OnAxis
    presets: Presets
    pairs: WordPairs
    embeddings: FloatArray
    floor: FloatArray
    errors_db: dict[int, Values]
    floor_errors_db: dict[int, Values]
    generated_db: tuple[dict[str, float], ...]
    judged: tuple[dict[str, float], ...]
    morphs: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class PcaFloor:
    """Principal components of the scaled numbers. Attributes: mean: (fields,); axes: (fields, fields), in columns."""

    mean: Values
    axes: Values

    def code(self, places: Values) -> FloatArray:
        """(rows, fields) -> components, the largest first."""
        found: FloatArray = ((places - self.mean) @ self.axes).astype(np.float32)
        return found

    def places(self, code: FloatArray, dim: int) -> Values:
        """What the first components tell, limited to the ranges."""
        found: Values = (self.mean + code[:, :dim] @ self.axes[:, :dim].T).clip(-1, 1)
        return found


def fit_floor(recipe: WordsRecipe, train: Presets) -> PcaFloor:
    """The floor of reconstruction, fitted on the rows and weights that a model is fitted on."""
    places = _numbers(backbone_of(recipe).module().places(_tensor(train.values)))
    share = train.weights(recipe.cap)
    share = share / share.sum()
    mean = share @ places
    axes = np.linalg.eigh((places - mean).T @ ((places - mean) * share[:, None]))[1][:, ::-1]
    return PcaFloor(mean, axes)


def judge_fold(
    recipe: WordsRecipe,
    model: WordsModel,
    train: Presets,
    held: Presets,
    words: Mapping[str, Sequence[Sequence[float]]],
) -> Judged:
    """Look at one fold.

    Args:
        recipe: what the model was fitted by.
        model: fitted on the other folds.
        train: what it was fitted on; the floor is fitted on it too.
        held: rows of the fold's people.
        words: word -> its settings, for each of the recipe's strengths.
    """
    spoken = held.of_words(recipe.words)
    rows = spoken.at_most(MOST_ROWS, recipe.seed)
    floor = fit_floor(recipe, train)
    code = floor.code(_places(model, rows.values))
    with torch.no_grad():
        values = _tensor(rows.values)
        embeddings, response = model.embed(values), model.features.response(values)
        errors = {dim: _errors(model, model.settings(embeddings, dim), response) for dim in recipe.dims}
        floors = {dim: model.features.values(_tensor(floor.places(code, dim))) for dim in recipe.dims}
        floor_errors = {dim: _errors(model, found, response) for dim, found in floors.items()}
    judge = _judge(recipe, held)
    ends = [np.array(words[word][-1:]) for word in recipe.words if word in words]
    means = {word: mean_curve(model.features, held.of_words([word]), recipe.cap) for word in words}
    counts = dict(zip(*np.unique(spoken.contributors, return_counts=True), strict=True))
    return Judged(
        axis=OnAxis(
            _numbers(model.embed(_tensor(spoken.values))[:, 0]),
            (spoken.words == recipe.words[1]).astype(float),
            np.array([min(1.0, MOST_ROWS / counts[person]) for person in spoken.contributors]),
            spoken.contributors,
        ),
        presets=rows,
        pairs=pairs_across(rows),
        embeddings=embeddings.numpy(),
        floor=code,
        errors_db=errors,
        floor_errors_db=floor_errors,
        generated_db=(
            {word: _rms(curves_of(model.features, np.array(words[word][-1:]))[0], means[word]) for word in words},
        ),
        judged=({word: float(judge(np.array(words[word][-1:]))[0]) for word in words},),
        morphs=(tuple(judge(_morph(model, *ends)).tolist()),) if len(ends) == len(recipe.words) else (),
    )


def joined(folds: Sequence[Judged]) -> Judged:
    """All folds as one; nobody is in two of them."""
    starts = np.cumsum([0, *(len(fold.presets.words) for fold in folds)])
    presets = Presets(
        np.concatenate([fold.presets.values for fold in folds]),
        np.concatenate([fold.presets.words for fold in folds]),
        np.concatenate([fold.presets.contributors for fold in folds]),
    )
    pairs = WordPairs(
        np.concatenate([fold.pairs.first + start for fold, start in zip(folds, starts, strict=False)]),
        np.concatenate([fold.pairs.second + start for fold, start in zip(folds, starts, strict=False)]),
        np.concatenate([fold.pairs.is_mated for fold in folds]),
        np.unique(presets.contributors, return_inverse=True)[1].astype(np.int64),
    )
    return Judged(
        OnAxis(
            np.concatenate([fold.axis.log_odds for fold in folds]),
            np.concatenate([fold.axis.is_second for fold in folds]),
            np.concatenate([fold.axis.weights for fold in folds]),
            np.concatenate([fold.axis.contributors for fold in folds]),
        ),
        presets,
        pairs,
        np.concatenate([fold.embeddings for fold in folds]),
        np.concatenate([fold.floor for fold in folds]),
        {dim: np.concatenate([fold.errors_db[dim] for fold in folds]) for dim in folds[0].errors_db},
        {dim: np.concatenate([fold.floor_errors_db[dim] for fold in folds]) for dim in folds[0].errors_db},
        tuple(each for fold in folds for each in fold.generated_db),
        tuple(each for fold in folds for each in fold.judged),
        tuple(each for fold in folds for each in fold.morphs),
    )


def _errors(model: WordsModel, settings: torch.Tensor, response: torch.Tensor) -> Values:
    return _numbers((model.features.response(settings) - response).square().mean(dim=1).sqrt())


def _judge(recipe: WordsRecipe, held: Presets) -> Callable[[Values], Values]:
    """The probability of the second word, by an axis of the response curve that held-out contributors fit."""
    features = backbone_of(recipe).module()
    spoken = held.of_words(recipe.words)
    weight, offset = fit_axis(
        curves_of(features, spoken.values),
        (spoken.words == recipe.words[1]).astype(float),
        spoken.weights(recipe.cap),
        recipe.penalty,
        None,
    )
    return lambda values: 1 / (1 + np.exp(-(curves_of(features, values) @ weight + offset)))


def _morph(model: WordsModel, first: Values, second: Values) -> Values:
    """Settings on the even way between two, as the service makes them."""
    one, other = _places(model, first), _places(model, second)
    share = np.linspace(0, 1, STEPS)[:, None]
    return _numbers(model.features.values(_tensor((1 - share) * one + share * other)))


def _places(model: WordsModel, values: Values) -> Values:
    return _numbers(model.features.places(_tensor(values)))


def _tensor(values: Values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


def _numbers(tensor: torch.Tensor) -> Values:
    found: Values = tensor.detach().double().numpy()
    return found


def _rms(one: Values, other: Values) -> float:
    return float(np.sqrt(np.mean((one - other) ** 2)))
