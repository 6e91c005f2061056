"""What a model of settings is worth, on people who neither trained nor selected anything."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
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
    """What was measured on held-out contributors.

    Attributes:
        rows: settings of the two words.
        contributors: who gave them.
        auc: of the axis, second word against first.
        accuracy: of the axis at log-odds 0.
        accuracy_interval: 95 %, contributors drawn anew.
        per_dim: by dim.
        generated_db: word -> RMS between the curve it is given and the held-out contributors' mean.
        judged: word -> probability of the second word, by a judge fitted on the held-out contributors.
        morph: the same along the way from the first word to the second.
    """

    rows: int
    contributors: int
    auc: float
    accuracy: float
    accuracy_interval: tuple[float, float]
    per_dim: dict[str, DimMeasures]
    generated_db: dict[str, float]
    judged: dict[str, float]
    morph: tuple[float, ...]


@dataclass(frozen=True)
class Held:
    """What judges. Attributes: presets: rows of the two words, at most MOST_ROWS of one person; pairs: of them."""

    presets: Presets
    pairs: WordPairs

    @classmethod
    def out_of(cls, recipe: WordsRecipe, presets: Presets) -> "Held":
        """Rows of held-out contributors."""
        kept = presets.of_words(recipe.words).at_most(MOST_ROWS, recipe.seed)
        return cls(kept, pairs_across(kept))


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
    """The floor of reconstruction, fitted on the rows and weights that the model is fitted on."""
    places = _places(recipe, train.values)
    share = train.weights(recipe.cap)
    share = share / share.sum()
    mean = share @ places
    axes = np.linalg.eigh((places - mean).T @ ((places - mean) * share[:, None]))[1][:, ::-1]
    return PcaFloor(mean, axes)


def measure_words(
    recipe: WordsRecipe,
    model: WordsModel,
    train: Presets,
    held: Presets,
    words: Mapping[str, Sequence[Sequence[float]]],
) -> WordMeasures:
    """Measure everything.

    Args:
        recipe: what the model was fitted by.
        model: as exported.
        train: what it was fitted on; only the floor looks at it.
        held: rows of other people.
        words: word -> its settings, for each of the recipe's strengths.
    """
    judging = Held.out_of(recipe, held)
    rows = judging.presets
    with torch.no_grad():
        values = torch.tensor(rows.values, dtype=torch.float32)
        embeddings = model.embed(values)
    log_odds = embeddings[:, 0].double().numpy()
    is_second = rows.words == recipe.words[1]
    right = (log_odds > 0) == is_second
    accuracy = draw_rates(
        [lambda weights: _weighted_mean(right, weights[judging.pairs.people])], judging.pairs.people_count, recipe.seed
    )[0]
    low, high = np.quantile(accuracy.draws, [0.025, 0.975])
    judge = _judge(recipe, held)
    ends = [np.array([words[word][-1]]) for word in recipe.words if word in words]
    return WordMeasures(
        rows=len(rows.words),
        contributors=judging.pairs.people_count,
        auc=area_under_curve(log_odds, is_second),
        accuracy=accuracy.rate,
        accuracy_interval=(float(low), float(high)),
        per_dim=_per_dim(recipe, model, fit_floor(recipe, train), judging, embeddings),
        generated_db={
            word: _rms(
                curves_of(model.features, np.array(settings[-1:]))[0],
                mean_curve(model.features, held.of_words([word]), recipe.cap),
            )
            for word, settings in words.items()
        },
        judged={word: float(judge(np.array(settings[-1:]))[0]) for word, settings in words.items()},
        morph=tuple(judge(_morph(recipe, *ends)).tolist()) if len(ends) == len(recipe.words) else (),
    )


def area_under_curve(scores: Values, is_second: np.ndarray) -> float:
    """The share of pairs of a row of each word in which that of the second has the higher score; ties count half."""
    second, first = scores[is_second][:, None], scores[~is_second][None]
    return float((second > first).mean() + 0.5 * (second == first).mean())


def word_eers(systems: Sequence[FloatArray], pairs: WordPairs, dim: int, seed: int) -> list[DrawnRate]:
    """EERs of several embeddings at a dim on the same pairs, and on the same draws of contributors."""
    drawn = [DrawnPairs(pairs, pairs.similarities(system, min(dim, system.shape[1]))).eer for system in systems]
    return draw_rates(drawn, pairs.people_count, seed)


def _per_dim(
    recipe: WordsRecipe, model: WordsModel, floor: PcaFloor, judging: Held, embeddings: torch.Tensor
) -> dict[str, DimMeasures]:
    rows, pairs = judging.presets, judging.pairs
    code = floor.code(_places(recipe, rows.values))
    response = model.features.response(torch.tensor(rows.values, dtype=torch.float32))
    found = {}
    for dim in recipe.dims:
        ours, of_floor = word_eers([embeddings.numpy(), code], pairs, dim, recipe.seed)
        unit = truncate_and_normalise(embeddings.numpy(), dim).astype(np.float64)
        kept = floor.places(code, dim)
        errors = [
            _errors(model, model.settings(embeddings, dim), response),
            _errors(model, model.features.values(torch.tensor(kept, dtype=torch.float32)), response),
        ]
        difference = _drawn_means(errors[0] - errors[1], pairs, recipe.seed)
        found[str(dim)] = DimMeasures(
            eer=ours.rate,
            pca_eer=of_floor.rate,
            silhouette=silhouette(1 - unit @ unit.T, rows.words),
            davies_bouldin=davies_bouldin(unit, rows.words),
            error_db=float(errors[0].mean()),
            pca_error_db=float(errors[1].mean()),
            error_bound_db=float(np.quantile(difference, 0.95)),
        )
    return found


def _drawn_means(values: Values, pairs: WordPairs, seed: int) -> Values:
    def mean(weights: Values) -> float | None:
        return _weighted_mean(values, weights[pairs.people])

    return draw_rates([mean], pairs.people_count, seed)[0].draws


def _weighted_mean(values: np.ndarray, weights: Values) -> float | None:
    return float((weights * values).sum() / weights.sum()) if weights.any() else None


def _errors(model: WordsModel, settings: torch.Tensor, response: torch.Tensor) -> Values:
    off = model.features.response(settings) - response
    return off.square().mean(dim=1).sqrt().detach().double().numpy()


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


def _morph(recipe: WordsRecipe, first: Values, second: Values) -> Values:
    """Settings on the even way between two, as the service makes them."""
    features = backbone_of(recipe).module()
    one, other = _places(recipe, first), _places(recipe, second)
    share = np.linspace(0, 1, STEPS)[:, None]
    places = torch.tensor((1 - share) * one + share * other, dtype=torch.float32)
    return features.values(places).double().numpy()


def _places(recipe: WordsRecipe, values: Values) -> Values:
    features = backbone_of(recipe).module()
    return features.places(torch.tensor(values, dtype=torch.float32)).double().numpy()


def _rms(one: Values, other: Values) -> float:
    return float(np.sqrt(np.mean((one - other) ** 2)))
