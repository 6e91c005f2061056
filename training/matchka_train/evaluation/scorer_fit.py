"""How a bundle compares embeddings: nothing to fit for the cosine, two covariances of the training identities else."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, TypeAlias

import numpy as np
from pydantic import Field

from matchka.bundles.outputs.scoring import AnyScoring, CosineScoring, RatioScale, TwoCovarianceScoring
from matchka.bundles.scorers import two_covariance_scorer
from matchka.scorers import COSINE, Scorer, Values
from matchka.vectors import truncate_and_normalise
from matchka_train.errors import DatasetError
from matchka_train.metrics.pairs import number_subjects
from matchka_train.metrics.scored_embeddings import ScoredEmbeddings
from matchka_train.strict_model import StrictModel

SCORER_NAME: Final = "scorer.npz"
MOST_SCALED: Final = 900  # samples whose pairs set the scale; 400,000 pairs say no more

# domain -> clip embeddings (n, full_dim), n subjects
Embedded: TypeAlias = Mapping[str, tuple[ScoredEmbeddings, list[str]]]


@dataclass(frozen=True)
class FittedScorer:
    """A scorer, what the manifest says of it, and the bundle's files it needs, by name."""

    scorer: Scorer
    scoring: AnyScoring
    files: Mapping[str, bytes] = field(default_factory=dict)


COSINE_FIT: Final = FittedScorer(COSINE, CosineScoring())


class CosineRecipe(StrictModel):
    """Embeddings are compared by their cosine."""

    kind: Literal["cosine"] = "cosine"

    def fit(self, _embedded: Callable[[], Embedded], _dims: tuple[int, ...], _seed: int) -> FittedScorer:
        """Nothing to fit; the training identities are not asked for."""
        return COSINE_FIT


class TwoCovarianceRecipe(StrictModel):
    """Embeddings are compared by the log-likelihood ratio of matchka.scorers.TwoCovarianceScorer.

    Attributes:
        within_shrinkage: of the covariance within a person, towards a multiple of the identity.
        between_shrinkage: of the covariance between people.
        row_noise: how much one row (a window of a clip) spreads beside what a person does.
        least_rows: fewer count as so many, so that nobody gains by a very short sample.
        domain_weights: how much each training domain counts; all the same where not given. The heaviest sets the scale.
    """

    kind: Literal["two_covariance"]
    within_shrinkage: float = Field(default=0.8, ge=0, le=1)
    between_shrinkage: float = Field(default=0.5, ge=0, le=1)
    row_noise: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    least_rows: int = Field(default=3, ge=1)
    domain_weights: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] | None = None

    def fit(self, embedded: Callable[[], Embedded], dims: tuple[int, ...], seed: int) -> FittedScorer:
        """Estimate both covariances in closed form.

        Args:
            embedded: embeddings of the training identities.
            dims: dims that are served, rising; the last is full_dim.
            seed: of the samples whose pairs set the scale.

        Raises: DatasetError: the weights are of other domains, or a domain has no person with two samples.
        """
        return fit_two_covariances(self, embedded(), dims, seed)


ScorerRecipe: TypeAlias = Annotated[CosineRecipe | TwoCovarianceRecipe, Field(discriminator="kind")]


def fit_two_covariances(
    recipe: TwoCovarianceRecipe, embedded: Embedded, dims: tuple[int, ...], seed: int
) -> FittedScorer:
    """See TwoCovarianceRecipe.fit()."""
    weights = _weights(recipe, embedded)
    full_dim = dims[-1]
    unit = {
        domain: truncate_and_normalise(samples.vectors, full_dim).astype(np.float64)
        for domain, (samples, _) in embedded.items()
    }
    found = {domain: covariances(unit[domain], subjects, domain) for domain, (_, subjects) in sorted(embedded.items())}
    within, between = (_mixed({domain: pair[kind] for domain, pair in found.items()}, weights) for kind in (0, 1))
    inverse_rows = np.concatenate([1.0 / samples.row_counts for samples, _ in embedded.values()])
    lengths = {
        dim: float(np.mean([np.mean(np.sum(rows[:, :dim] ** 2, axis=1)) for rows in unit.values()])) for dim in dims
    }
    unscaled = TwoCovarianceScoring(
        file=SCORER_NAME,
        within_shrinkage=recipe.within_shrinkage,
        between_shrinkage=recipe.between_shrinkage,
        row_noise=recipe.row_noise,
        mean_inverse_rows=float(np.mean(inverse_rows)),
        least_rows=recipe.least_rows,
        per_dim={str(dim): RatioScale(scale=min(1.0, lengths[dim]), slope=1.0, offset=0.0) for dim in dims},
    )
    heaviest = max(sorted(weights), key=weights.__getitem__)
    scoring = _on_scale_of_cosines(unscaled, (within, between), *embedded[heaviest], seed)
    content = io.BytesIO()
    np.savez(content, within=within.astype("<f4"), between=between.astype("<f4"))
    return FittedScorer(two_covariance_scorer(scoring, within, between), scoring, {SCORER_NAME: content.getvalue()})


def covariances(unit: Values, subjects: list[str], domain: str = "") -> tuple[Values, Values]:
    """The pooled covariance within subjects, and that of subjects' true means.

    The mean of n samples strays from the subject's by within / n, which is taken off.

    Args:
        unit: float64, (n, dim).
        subjects: the subject of each row.
        domain: to name it in the error.

    Returns: float64, (dim, dim) each; the second may have directions below zero.

    Raises: DatasetError: fewer than two subjects, or none with two samples.
    """
    numbers, count = number_subjects(subjects)
    sizes = np.bincount(numbers)
    if count < 2 or len(numbers) == count:
        raise DatasetError(
            "Two covariances need two people, and somebody with two samples, in every training domain.",
            value=domain,
            remedy="Add samples, or compare by cosine.",
        )
    means = np.zeros((count, unit.shape[1]))
    np.add.at(means, numbers, unit)
    means /= sizes[:, None]
    strayed = unit - means[numbers]
    within: Values = strayed.T @ strayed / (len(numbers) - count)
    centred = means - means.mean(axis=0)
    between: Values = centred.T @ centred / (count - 1) - within * np.mean(1.0 / sizes)
    return within, between


def _weights(recipe: TwoCovarianceRecipe, embedded: Embedded) -> dict[str, float]:
    given = recipe.domain_weights or dict.fromkeys(embedded, 1.0)
    if given.keys() != embedded.keys():
        raise DatasetError(
            f"scorer.domain_weights must name the training domains {', '.join(sorted(embedded))}.",
            value=sorted(given),
            remedy="Correct the recipe.",
        )
    total = sum(given.values())
    return {domain: weight / total for domain, weight in given.items()}


def _on_scale_of_cosines(
    unscaled: TwoCovarianceScoring,
    pair: tuple[Values, Values],
    samples: ScoredEmbeddings,
    subjects: list[str],
    seed: int,
) -> TwoCovarianceScoring:
    """Put the medians of mated and of non-mated ratios where those of the cosines are.

    The map is a line: thresholds beyond what was counted rest on the tail of Fisher's z (docs/decisions/022), which a
    curve would bend.
    """
    scorer = two_covariance_scorer(unscaled, *pair)
    rows = np.sort(np.random.default_rng(seed).permutation(len(samples))[:MOST_SCALED])
    chosen = samples[rows].counted
    first, second = np.triu_indices(len(rows), k=1)
    numbers, _ = number_subjects([subjects[row] for row in rows])
    same = numbers[first] == numbers[second]
    if same.all() or not same.any():
        raise DatasetError(
            "The scale of a scorer needs mated and non-mated pairs among the samples that set it.",
            value=len(rows),
            remedy="Add samples of the same people, or compare by cosine.",
        )
    per_dim = {}
    for text, at in unscaled.per_dim.items():
        ratios = scorer.ratios(chosen, chosen, int(text))[first, second]
        cosines = COSINE.similarities(chosen, chosen, int(text))[first, second]
        mated, non_mated = (float(np.median(ratios[kind])) for kind in (same, ~same))
        slope = float(np.median(cosines[same]) - np.median(cosines[~same])) / (mated - non_mated)
        offset = float(np.median(cosines[~same])) - slope * non_mated
        per_dim[text] = RatioScale(scale=at.scale, slope=slope, offset=offset)
    return unscaled.model_copy(update={"per_dim": per_dim})


def _mixed(covariances_of: Mapping[str, Values], weights: Mapping[str, float]) -> Values:
    """The weighted sum, as float32 holds it and exactly symmetric: what is measured is what the file holds."""
    mixed = np.sum([weights[domain] * covariance for domain, covariance in sorted(covariances_of.items())], axis=0)
    lower = np.tril(mixed.astype("<f4")).astype(np.float64)
    stored: Values = lower + np.tril(lower, -1).T
    return stored
