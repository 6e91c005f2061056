"""Report of a finished projection: differences with confidence intervals, calibration, operating points."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from matchka.vectors import mean_by_group
from matchka_train.errors import NoTrialsError
from matchka_train.evaluation.as_norm import AsNormRecipe, as_norm_pairs, cohort_embeddings
from matchka_train.evaluation.validation import (
    EmbedWindows,
    Report,
    compared,
    embed_by_domain,
    listed_trials,
    measure,
    unchanged,
)
from matchka_train.features.features import Features
from matchka_train.metrics.bootstrap import RESAMPLES, Difference, paired_difference
from matchka_train.metrics.calibration import TEMPLATE_COUNTS, CalibrationFit, ThresholdAt, calibrate, thresholds_at
from matchka_train.metrics.identity_bootstrap import LEAST_PEOPLE
from matchka_train.metrics.pairs import PairSimilarities, all_pairs, reference_pairs
from matchka_train.metrics.scored_embeddings import Embeddings

REFERENCES_PER_SUBJECT: Final = 4  # more references of one subject repeat the same clips


@dataclass(frozen=True)
class HeldThreshold:
    """A threshold set on half of the identities, and the false match rates it has there and on the other half.

    Attributes:
        point: rate, threshold, and whether the half's identities support it.
        other_fmr: measured on the identities that did not set it, both ways round, averaged.
    """

    point: ThresholdAt
    other_fmr: float


@dataclass(frozen=True)
class Decisions:
    """Calibration and thresholds of one domain, dim and number of templates."""

    calibration: CalibrationFit
    points: tuple[ThresholdAt, ...]
    held: tuple[HeldThreshold, ...]


def differences_from_raw(
    embed_windows: EmbedWindows,
    data: Sequence[Features],
    published: Sequence[Features],
    dims: Sequence[int],
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, dict[int, Difference]]:
    """EER of a projection minus that of the raw backbone at the same dim, with 95 % intervals, per domain and dim.

    Args:
        embed_windows: the projection.
        data: what it projects.
        published: the same samples by the backbone as it was published.
        dims: dims to compare at.
        seed: the same seed draws the same identities.
        resamples: draws.

    Raises: NoTrialsError: a domain has no pair of one kind.
    """
    projected, raw = compared(embed_windows, data), compared(unchanged, published)
    return {
        domain: {dim: paired_difference(pairs_at(dim), raw[domain](dim), seed, resamples) for dim in dims}
        for domain, pairs_at in projected.items()
    }


def decisions(
    embed_windows: EmbedWindows, data: Sequence[Features], dims: Sequence[int], seed: int
) -> dict[str, dict[int, dict[int, Decisions]]]:
    """Calibration and operating points: domain -> dim -> templates in the reference -> decisions.

    A number of templates for which too few subjects of a domain have clips, or the halves are too small, is left out.
    """
    found: dict[str, dict[int, dict[int, Decisions]]] = {}
    for domain, (embeddings, subjects) in embed_by_domain(embed_windows, data).items():
        found[domain] = {dim: {} for dim in dims}
        for dim in dims:
            for templates in TEMPLATE_COUNTS:
                try:
                    pairs = template_pairs(embeddings, subjects, dim, templates, seed)
                    points = thresholds_at(pairs, seed, people=reference_owners(subjects, templates))
                    decided = Decisions(calibrate(pairs, seed), points, held_thresholds(pairs, seed))
                except NoTrialsError:
                    continue
                found[domain][dim][templates] = decided
    return found


def template_pairs(
    embeddings: Embeddings, subjects: list[str], dim: int, templates: int, seed: int, least_people: int = LEAST_PEOPLE
) -> PairSimilarities:
    """Probes against references of so many templates; with one template, all pairs of clips.

    Raises: NoTrialsError: no subject has two clips, or too few have more than several templates.
    """
    if templates == 1:
        return all_pairs(embeddings[:, :dim], subjects)
    owners = reference_owners(subjects, templates)
    if owners < least_people:
        raise NoTrialsError(
            f"References of {templates} samples need {least_people} subjects with a further one.",
            value=owners,
            remedy="Give more samples of each, or fewer templates.",
        )
    return reference_pairs(embeddings, subjects, dim, templates, REFERENCES_PER_SUBJECT, seed)


def reference_owners(subjects: Sequence[str], templates: int) -> int:
    """How many subjects can have a reference of so many samples and, if it is several, another sample.

    >>> reference_owners(["a", "a", "a", "b", "b", "c"], 1), reference_owners(["a", "a", "a", "b", "b", "c"], 2)
    (3, 1)
    """
    return sum(count > templates or templates == 1 for count in Counter(subjects).values())


def held_thresholds(pairs: PairSimilarities, seed: int) -> tuple[HeldThreshold, ...]:
    """Set thresholds on each half of the identities, and measure them on the other.

    Raises: NoTrialsError: a half has no mated or no non-mated pair.
    """
    half = np.random.default_rng(seed).permutation(pairs.subject_count) % 2
    halves = [pairs.within(half == number) for number in (0, 1)]
    set_on = [thresholds_at(part, seed) for part in halves]
    held = []
    for first, second in zip(*set_on, strict=True):
        rates = [
            float(np.mean(other.non_mated >= point.threshold))
            for point, other in ((first, halves[1]), (second, halves[0]))
        ]
        held.append(HeldThreshold(first, float(np.mean(rates))))
    return tuple(held)


def as_norm_report(
    embed_windows: EmbedWindows, data: Sequence[Features], train: Features, dims: Sequence[int], recipe: AsNormRecipe
) -> Report:
    """Accuracy with AS-norm, per domain and dim, on the pairs that the plain cosine is measured on.

    Raises: DatasetError: no such cohort domain, or too few identities in it.
    """
    clips = mean_by_group(embed_windows(train.windows), train.window_counts.tolist())
    cohort = cohort_embeddings(clips, train, recipe.cohort_domain)
    trials = listed_trials(data)
    return {
        domain: {
            dim: measure(as_norm_pairs(embeddings[:, :dim], subjects, cohort[:, :dim], recipe.top, trials.get(domain)))
            for dim in dims
        }
        for domain, (embeddings, subjects) in embed_by_domain(embed_windows, data).items()
    }


def decisions_as_json(found: Mapping[str, Mapping[int, Mapping[int, Decisions]]]) -> dict[str, Any]:
    """Decisions as plain values; dims and numbers of templates as text."""
    return {
        domain: {
            str(dim): {str(templates): asdict(decided) for templates, decided in per_count.items()}
            for dim, per_count in per_dim.items()
        }
        for domain, per_dim in found.items()
    }
