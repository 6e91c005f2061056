"""What a model of settings is worth, on people who neither trained nor selected anything."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from matchka.vectors import FloatArray, truncate_and_normalise
from matchka_train.heads.words.axis import fit_axis
from matchka_train.heads.words.curves import curves_of, mean_curve
from matchka_train.heads.words.fit import backbone_of
from matchka_train.heads.words.network import WordsModel
from matchka_train.heads.words.pairs import DrawnPairs, WordPairs, pairs_across
from matchka_train.heads.words.recipe import WordsRecipe
from matchka_train.heads.words.table import Presets, Values
from matchka_train.metrics.bootstrap import DrawnRate, draw_rates
from matchka_train.metrics.clusters import davies_bouldin, silhouette

MOST_ROWS: Final = 100  # of one contributor that judge; without it, one person's settings would be half of all
STEPS: Final = 11  # of a morph that is looked at


@dataclass(frozen=True)
class DimMeasures:
    """At one dim, on held-out contributors.

    Attributes:
        eer: of pairs of one word and of two, across contributors; a fraction.
        pca_eer: of the principal components of the scaled numbers, on the same pairs.
        silhouette: of the two words by cosine distance.
        davies_bouldin: of the two words, embeddings of unit length.
        error_db: RMS of the response curve of what is found again from the first components, mean over rows.
        pca_error_db: of the principal components, limited to the ranges.
        error_bound_db: 95 % upper bound of error_db - pca_error_db, contributors drawn anew.
    """

    eer: float
    pca_eer: float
    silhouette: float
    davies_bouldin: float
    error_db: float
    pca_error_db: float
    error_bound_db: float


@dataclass(frozen=True)
class WordMeasures:
    """What was measured on contributors whom the model that judged them had not seen.

    Attributes:
        rows: settings of the two words.
        contributors: who gave them.
        auc: of the axis, second word against first.
        accuracy: of the axis at log-odds 0.
        accuracy_interval: 95 %, contributors drawn anew.
        per_dim: by dim.
        generated_db: word -> RMS between the curve it is given and the held-out contributors' mean; mean over folds.
        judged: word -> probability of the second word, by a judge fitted on the held-out contributors; mean over folds.
        morphs: fold -> that probability along the way from the first word to the second.
    """

    rows: int
    contributors: int
    auc: float
    accuracy: float
    accuracy_interval: tuple[float, float]
    per_dim: dict[str, DimMeasures]
    generated_db: dict[str, float]
    judged: dict[str, float]
    morphs: tuple[tuple[float, ...], ...]

    @property
    def morphs_rise(self) -> bool:
        """Whether no judge finds a step towards the second word to be one away from it."""
        return all(one <= other for morph in self.morphs for one, other in pairwise(morph))


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


def measures_of(recipe: WordsRecipe, found: Judged) -> WordMeasures:
    """The figures."""
    axis = found.axis
    people = np.unique(axis.contributors, return_inverse=True)[1]
    is_right = ((axis.log_odds > 0) == (axis.is_second > 0)).astype(float)
    accuracy = drawn_mean(is_right, people, recipe.seed, axis.weights)
    low, high = np.quantile(accuracy.draws, [0.025, 0.975])
    return WordMeasures(
        rows=len(axis.log_odds),
        contributors=found.pairs.people_count,
        auc=area_under_curve(axis.log_odds, axis.is_second, axis.weights),
        accuracy=accuracy.rate,
        accuracy_interval=(float(low), float(high)),
        per_dim={str(dim): _dim_measures(found, dim, recipe.seed) for dim in recipe.dims},
        generated_db=_means(found.generated_db),
        judged=_means(found.judged),
        morphs=found.morphs,
    )


def drawn_mean(values: Values, people: npt.NDArray[np.int64], seed: int, weights: Values | float = 1.0) -> DrawnRate:
    """The weighted mean over rows, and what it is as contributors are drawn anew.

    Args:
        values: (rows,).
        people: (rows,), number of each row's contributor.
        seed: the same seed draws the same people.
        weights: (rows,).
    """

    def mean(drawn: Values) -> float | None:
        of_rows = drawn[people] * weights
        return float((of_rows * values).sum() / of_rows.sum()) if of_rows.any() else None

    return draw_rates([mean], int(people.max()) + 1, seed)[0]


def area_under_curve(scores: Values, is_second: Values, weights: Values) -> float:
    """The weighted share of pairs of a row of each word in which that of the second scores higher; ties count half."""
    second, first = scores[is_second > 0][:, None], scores[is_second == 0][None]
    pairs = weights[is_second > 0][:, None] * weights[is_second == 0][None]
    won = (second > first) + 0.5 * (second == first)
    return float((pairs * won).sum() / pairs.sum())


def word_eers(systems: Sequence[FloatArray], pairs: WordPairs, dim: int, seed: int) -> list[DrawnRate]:
    """EERs of several embeddings at a dim on the same pairs, and on the same draws of contributors."""
    drawn = [DrawnPairs(pairs, pairs.similarities(system, min(dim, system.shape[1]))).eer for system in systems]
    return draw_rates(drawn, pairs.people_count, seed)


def _dim_measures(found: Judged, dim: int, seed: int) -> DimMeasures:
    labels = found.presets.words
    ours, of_floor = word_eers([found.embeddings, found.floor], found.pairs, dim, seed)
    unit = truncate_and_normalise(found.embeddings, dim).astype(np.float64)
    difference = drawn_mean(found.errors_db[dim] - found.floor_errors_db[dim], found.pairs.people, seed)
    return DimMeasures(
        eer=ours.rate,
        pca_eer=of_floor.rate,
        silhouette=silhouette(1 - unit @ unit.T, labels),
        davies_bouldin=davies_bouldin(unit, labels),
        error_db=float(found.errors_db[dim].mean()),
        pca_error_db=float(found.floor_errors_db[dim].mean()),
        error_bound_db=float(np.quantile(difference.draws, 0.95)),
    )


def _means(folds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {word: float(np.mean([fold[word] for fold in folds if word in fold])) for word in folds[0]}


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
