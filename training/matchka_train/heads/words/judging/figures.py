"""What a model of settings is worth, on people whom the model that judged them had not seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from matchka.vectors import FloatArray, truncate_and_normalise
from matchka_train.heads.words.judging.folds import Judged
from matchka_train.heads.words.judging.pairs import DrawnPairs, WordPairs
from matchka_train.heads.words.recipe import WordsRecipe
from matchka_train.heads.words.table import Values
from matchka_train.metrics.bootstrap import DrawnRate, draw_rates
from matchka_train.metrics.clusters import davies_bouldin, silhouette


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
