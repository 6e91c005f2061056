"""Evaluate finished models on any data: error rates, thresholds, and differences between two models."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from matchka.vectors import mean_by_group
from matchka_train.datasets.reader import read_dataset
from matchka_train.datasets.recipe import DatasetRecipe
from matchka_train.errors import DatasetError
from matchka_train.evaluation.as_norm import as_norm_pairs
from matchka_train.evaluation.validation import (
    FALSE_MATCH_RATES,
    Report,
    compared,
    embed_by_domain,
    listed_trials,
    measure,
    report_as_json,
    scored_by_domain,
    validate,
)
from matchka_train.features.extraction import extract_features
from matchka_train.features.features import Features, join_features, with_trials
from matchka_train.judging.groups import GroupRates, group_rates, read_groups
from matchka_train.judging.models import EvaluatedModel
from matchka_train.metrics.bootstrap import RESAMPLES, Difference, paired_difference
from matchka_train.metrics.calibration import thresholds_at
from matchka_train.metrics.detection_costs import DetectionCost, detection_costs
from matchka_train.metrics.pairs import PairSimilarities
from matchka_train.metrics.scored_embeddings import ScoredEmbeddings

PairsAt = Callable[[int], PairSimilarities]  # dim -> similarities


@dataclass(frozen=True)
class JudgedThreshold:
    """What a bundle's threshold does on these data.

    Attributes:
        domain: of the data.
        dim: of the threshold.
        fmr: the false match rate it promises.
        threshold: on the scale of the bundle's similarity.
        measured_fmr: share of non-mated pairs of clips at or above it.
        measured_fnmr: share of mated pairs below it.
    """

    domain: str
    dim: int
    fmr: float
    threshold: float
    measured_fmr: float
    measured_fnmr: float


@dataclass(frozen=True)
class Judgement:
    """What was found out about one model.

    Attributes:
        report: accuracy per domain and dim.
        intervals: domain -> dim -> 95 % interval of the EER, by identity; empty where no resamples were asked for.
        costs: domain -> dim -> detection costs at every prior.
        thresholds: what the bundle's operating points do here; none for a checkpoint.
        groups: error rates by group; none where no column was given.
        normalised: accuracy with AS-norm; None where no cohort was given.
        skipped: clips that could not be read.
    """

    report: Report
    intervals: dict[str, dict[int, tuple[float, float]]]
    costs: dict[str, dict[int, tuple[DetectionCost, ...]]]
    thresholds: tuple[JudgedThreshold, ...]
    groups: tuple[GroupRates, ...]
    normalised: Report | None
    skipped: int


@dataclass(frozen=True)
class Conditions:
    """Where features are kept, and what is drawn.

    Attributes:
        cache_dir: of features.
        seed: of balanced pairs and of the bootstrap.
        resamples: draws of identities behind each interval of an EER; 0 leaves the intervals out.
    """

    cache_dir: Path
    seed: int
    resamples: int = RESAMPLES


def judge(
    model: EvaluatedModel,
    data: Sequence[DatasetRecipe],
    conditions: Conditions,
    progress: Progress,
    cohort: DatasetRecipe | None = None,
    top: int = 100,
    group_by: str | None = None,
) -> Judgement:
    """Measure a model.

    Args:
        model: bundle or checkpoint.
        data: data sets of held-out identities.
        conditions: where features are kept, and what is drawn.
        progress: shows how far it is.
        cohort: other people for AS-norm; it is measured beside the plain similarity where given.
        top: cohort identities each side is normalised by.
        group_by: column of people by which error rates are told apart.

    Raises: DatasetError, TooManyUnreadableError, NoTrialsError.
    """
    groups = {} if group_by is None else read_groups(data, group_by)
    features = _features(model, data, conditions, progress)
    pairs = compared(model.embed_windows, features, model.scorer)
    thresholds = tuple(
        _judge_threshold(domain, dim, fmr, threshold, pairs_at(dim))
        for domain, pairs_at in pairs.items()
        for dim, points in model.thresholds.items()
        for fmr, threshold in points
    )
    normalised = None
    if cohort is not None:
        cohort_features = join_features(_features(model, [cohort], conditions, progress))
        normalised = _with_as_norm(model, features, cohort_features, top)
    return Judgement(
        validate(model.embed_windows, features, model.dims, model.scorer),
        _intervals(pairs, model.dims, conditions, progress),
        {
            domain: {
                dim: detection_costs(pairs_at(dim), model.calibrations.get(dim), conditions.seed) for dim in model.dims
            }
            for domain, pairs_at in pairs.items()
        },
        thresholds,
        tuple(_by_group(model, features, pairs, groups)),
        normalised,
        sum(len(part.skipped) for part in features),
    )


def compare(
    first: EvaluatedModel,
    second: EvaluatedModel,
    data: Sequence[DatasetRecipe],
    conditions: Conditions,
    progress: Progress,
) -> dict[str, dict[int, Difference]]:
    """Difference of EER between two models on the same pairs, at every dim both have.

    Returns: domain -> dim -> first minus second, with a 95 % interval by identity.

    Raises: DatasetError: no dim in common, or a clip that only one could read. Others as judge.
    """
    dims = [dim for dim in first.dims if dim in second.dims]
    if not dims:
        raise DatasetError(
            "The two models have no dim in common.",
            value=f"{first.dims}, {second.dims}",
            remedy="Train both for one dim.",
        )
    pairs = [
        compared(model.embed_windows, _features(model, data, conditions, progress), model.scorer)
        for model in (first, second)
    ]
    return {
        domain: {dim: paired_difference(pairs_at(dim), pairs[1][domain](dim), conditions.seed) for dim in dims}
        for domain, pairs_at in pairs[0].items()
    }


def judgement_as_json(found: Judgement) -> dict[str, Any]:
    """A judgement as plain values."""
    return {
        "report": report_as_json(found.report),
        "eer_intervals": {
            domain: {str(dim): interval for dim, interval in per_dim.items()}
            for domain, per_dim in found.intervals.items()
        },
        "detection_costs": {
            domain: {str(dim): [asdict(cost) for cost in costs] for dim, costs in per_dim.items()}
            for domain, per_dim in found.costs.items()
        },
        "groups": [asdict(entry) for entry in found.groups],
        "thresholds": [asdict(entry) for entry in found.thresholds],
        "as_norm": None if found.normalised is None else report_as_json(found.normalised),
        "skipped": found.skipped,
    }


def _features(
    model: EvaluatedModel, data: Sequence[DatasetRecipe], conditions: Conditions, progress: Progress
) -> list[Features]:
    found = []
    for dataset in data:
        samples = read_dataset(dataset)
        features = extract_features(samples, model.backbone, conditions.cache_dir, progress, limits={})
        found.append(with_trials(features, dataset, samples, conditions.seed))
    return found


def _intervals(
    pairs: Mapping[str, PairsAt], dims: Sequence[int], conditions: Conditions, progress: Progress
) -> dict[str, dict[int, tuple[float, float]]]:
    if not conditions.resamples:
        return {}
    task = progress.add_task("drawing identities anew", total=len(pairs) * len(dims))
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for domain, pairs_at in pairs.items():
        for dim in dims:
            drawn = _eer_interval(pairs_at(dim), conditions)
            found.setdefault(domain, {})[dim] = drawn
            progress.advance(task)
    return found


def _eer_interval(pairs: PairSimilarities, conditions: Conditions) -> tuple[float, float]:
    """The interval of the difference from a system that makes no error."""
    perfect = replace(pairs, mated=np.ones_like(pairs.mated), non_mated=np.zeros_like(pairs.non_mated))
    found = paired_difference(pairs, perfect, conditions.seed, conditions.resamples)
    return found.low, found.high


def _by_group(
    model: EvaluatedModel, data: Sequence[Features], pairs: Mapping[str, PairsAt], groups: Mapping[str, str]
) -> Iterator[GroupRates]:
    if not groups:
        return
    for domain, (_, subjects) in embed_by_domain(model.embed_windows, data).items():
        for dim in model.dims:
            found = pairs[domain](dim)
            points = model.thresholds.get(dim) or [
                # those of these very people: no bound over draws is needed to hold groups of them side by side
                (at.fmr, at.estimate)
                for at in thresholds_at(found, seed=0, rates=FALSE_MATCH_RATES, resamples=1)
            ]
            yield from group_rates(domain, dim, found, subjects, groups, points)


def _judge_threshold(domain: str, dim: int, fmr: float, threshold: float, pairs: PairSimilarities) -> JudgedThreshold:
    false_matches, misses = pairs.non_mated >= threshold, pairs.mated < threshold
    return JudgedThreshold(domain, dim, fmr, threshold, float(np.mean(false_matches)), float(np.mean(misses)))


def _with_as_norm(model: EvaluatedModel, data: Sequence[Features], cohort_features: Features, top: int) -> Report:
    judged = {name for features in data for name in (*features.subjects, *features.paths)}
    overlap = {*cohort_features.subjects, *cohort_features.paths} & judged
    if overlap:
        raise DatasetError(
            "The cohort holds identities or clips that are judged.", value=sorted(overlap), remedy="Give other people."
        )
    people: dict[str, list[int]] = {}
    for row, name in enumerate(cohort_features.subjects):
        people.setdefault(name, []).append(row)
    clips = ScoredEmbeddings(
        mean_by_group(model.embed_windows(cohort_features.windows), cohort_features.window_counts.tolist()),
        cohort_features.window_counts.astype(np.float64),
        model.scorer,
    )
    cohort = clips.references([np.asarray(rows) for rows in people.values()])
    trials = listed_trials(data)
    return {
        domain: {
            dim: measure(as_norm_pairs(embeddings[:, :dim], subjects, cohort[:, :dim], top, trials.get(domain)))
            for dim in model.dims
        }
        for domain, (embeddings, subjects) in scored_by_domain(model.embed_windows, data, model.scorer).items()
    }
