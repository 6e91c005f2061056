"""What the manifest says about each dim: accuracy per domain beside the raw backbone, calibration, operating points."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Final

import numpy as np

from matchka.bundles.outputs.measurements import (
    Calibration,
    DimReport,
    GalleryThresholds,
    Metrics,
    OperatingPoint,
    Promise,
    SelectedOn,
)
from matchka_train.errors import NoTrialsError
from matchka_train.evaluation.decisions import REFERENCES_PER_SUBJECT, reference_owners, template_pairs
from matchka_train.evaluation.validation import Report
from matchka_train.metrics.calibration import TEMPLATE_COUNTS, ThresholdAt, calibrate, thresholds_at
from matchka_train.metrics.identity_bootstrap import CONFIDENCE, METHOD, RESAMPLES
from matchka_train.metrics.impostor_tails import GalleryBounds, RankedImpostors, gallery_thresholds
from matchka_train.metrics.pairs import PairSimilarities
from matchka_train.metrics.scored_embeddings import Embeddings

MAX_FPIRS: Final = (1e-1, 1e-2, 1e-3)
GALLERY_SIZES: Final = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)

OwnedPairs = Mapping[str, tuple[PairSimilarities, int]]  # domain -> pairs, and how many own a reference
Embedded = Mapping[str, tuple[Embeddings, list[str]]]  # domain -> clip embeddings (n, full_dim), n subjects


def report_dims(
    embedded: Embedded,
    projected: Report,
    raw: Report,
    dims: Sequence[int],
    seed: int,
    selected_on: SelectedOn,
    done: Callable[[], None],
) -> dict[str, DimReport]:
    """Everything the manifest holds under `per_dim`.

    Args:
        embedded: the graph's own embeddings of validation clips.
        projected: accuracy of these.
        raw: accuracy of the frozen backbone on the same clips.
        dims: dims to report.
        seed: of the draw of references and of people, and of the calibration's halves.
        selected_on: what the people of these clips decided before.
        done: called after every dim, for a progress bar.

    Returns: str(dim) -> report.

    Raises: NoTrialsError: no domain supports even a reference of one template.
    """
    promise = Promise(
        confidence=CONFIDENCE,
        method=METHOD,
        resamples=RESAMPLES,
        seed=seed,
        people={domain: len(set(subjects)) for domain, (_, subjects) in embedded.items()},
        selected_on=selected_on,
    )
    reports = {}
    for dim in dims:
        calibration, points = decide(embedded, _hardest(projected, dim), dim, seed)
        reports[str(dim)] = DimReport(
            metrics=_metrics(projected, dim),
            backbone_metrics=_metrics(raw, dim),
            calibration=calibration,
            operating_points=points,
            identification=gallery_points(embedded, dim, seed),
            promise=promise,
        )
        done()
    return reports


def decide(
    embedded: Embedded, hardest: str, dim: int, seed: int
) -> tuple[dict[str, Calibration], dict[str, tuple[OperatingPoint, ...]]]:
    """Calibration and operating points for every number of templates that enough people of some domain have.

    Args:
        embedded: clips of each domain.
        hardest: the domain whose calibration serves all.
        dim: to decide at.
        seed: as report_dims.
    """

    def pairs_of(templates: int) -> OwnedPairs:
        return {
            domain: (found, reference_owners(subjects, templates))
            for domain, (embeddings, subjects) in embedded.items()
            if (found := _pairs(embeddings, subjects, dim, templates, seed)) is not None
        }

    return decide_pairs(pairs_of, hardest, seed)


def decide_pairs(
    pairs_of: Callable[[int], OwnedPairs], hardest: str, seed: int
) -> tuple[dict[str, Calibration], dict[str, tuple[OperatingPoint, ...]]]:
    """As decide, for any pairs.

    Args:
        pairs_of: number of templates -> the pairs of each domain that has references of so many, with their owners.
        hardest: the domain whose calibration serves all.
        seed: as report_dims.
    """
    calibration: dict[str, Calibration] = {}
    points: dict[str, tuple[OperatingPoint, ...]] = {}
    fewer: list[tuple[OperatingPoint, ...]] = []
    for templates in TEMPLATE_COUNTS:
        pairs = pairs_of(templates)
        if not pairs:
            continue
        of_domains = [thresholds_at(found, seed, people=owners) for found, owners in pairs.values()]
        # more templates never lower what strangers reach, even where fewer domains have them
        points[str(templates)] = strictest([*of_domains, *fewer])
        fewer = [points[str(templates)]]
        # one line serves all domains; that of the hardest one promises least
        source, _ = pairs.get(hardest) or next(iter(pairs.values()))
        calibration[str(templates)] = Calibration(**asdict(calibrate(source, seed)))
    return calibration, points


def gallery_points(embedded: Embedded, dim: int, seed: int) -> dict[str, GalleryThresholds]:
    """Thresholds for whole galleries, for every number of templates that enough subjects of some domain have."""

    def impostors_of(domain: str, templates: int) -> RankedImpostors:
        embeddings, subjects = embedded[domain]
        return RankedImpostors(embeddings, subjects, dim, templates, REFERENCES_PER_SUBJECT, seed)

    return gallery_points_of(impostors_of, tuple(embedded), seed)


def gallery_points_of(
    impostors_of: Callable[[str, int], RankedImpostors], domains: Sequence[str], seed: int
) -> dict[str, GalleryThresholds]:
    """As gallery_points, for any impostors.

    Args:
        impostors_of: domain, number of templates -> who might be taken for somebody else; NoTrialsError: too few.
        domains: of them.
        seed: as report_dims.
    """
    found: dict[str, GalleryThresholds] = {}
    for templates in TEMPLATE_COUNTS:
        bounds: list[GalleryBounds] = []
        for domain in domains:
            try:
                impostors = impostors_of(domain, templates)
            except NoTrialsError:
                continue
            bounds.append(gallery_thresholds(impostors, MAX_FPIRS, GALLERY_SIZES, seed))
        if bounds:
            # the highest of any domain, so that the rate holds in all of them
            highest = np.max([domain.bounds for domain in bounds], axis=0)
            found[str(templates)] = GalleryThresholds(
                max_fpirs=MAX_FPIRS,
                gallery_sizes=GALLERY_SIZES,
                thresholds=tuple(tuple(map(_rounded, row)) for row in highest.tolist()),
            )
    return found


def _rounded(cosine: float) -> float:
    """Six decimals, upwards, and below 1: no similarity of two clips reaches it."""
    return min(math.ceil(cosine * 1e6) / 1e6, 1.0 - 1e-6)


def strictest(per_domain: Sequence[Sequence[ThresholdAt | OperatingPoint]]) -> tuple[OperatingPoint, ...]:
    """For each false match rate the highest threshold of any domain, so that the rate holds in all of them.

    Args:
        per_domain: the thresholds of each domain, at the same rates.

    >>> low = [ThresholdAt(fmr=0.1, threshold=0.5, measured=True, estimate=0.4, people=40)]
    >>> strictest([low, [ThresholdAt(fmr=0.1, threshold=0.7, measured=False, estimate=0.5, people=30)]])
    (OperatingPoint(fmr=0.1, threshold=0.7, measured=False, estimate=0.5, people=30),)
    """
    chosen = [max(at_rate, key=lambda point: point.threshold) for at_rate in zip(*per_domain, strict=True)]
    return tuple(
        OperatingPoint(
            fmr=point.fmr,
            threshold=point.threshold,
            measured=point.measured,
            estimate=point.estimate,
            people=point.people,
        )
        for point in chosen
    )


def _pairs(embeddings: Embeddings, subjects: list[str], dim: int, templates: int, seed: int) -> PairSimilarities | None:
    """Probes against references of that many templates; None where too few people of a domain have so many."""
    try:
        return template_pairs(embeddings, subjects, dim, templates, seed)
    except NoTrialsError:
        if templates == 1:
            raise
        return None


def _hardest(projected: Report, dim: int) -> str:
    return max(projected, key=lambda domain: projected[domain][dim].eer)


def _metrics(report: Report, dim: int) -> dict[str, Metrics]:
    return {domain: Metrics(**asdict(per_dim[dim])) for domain, per_dim in report.items()}
