"""What the manifest says about each dim: accuracy per domain beside the raw backbone, calibration, operating points."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Final

from matchka.bundles.outputs import Calibration, DimReport, GalleryThresholds, Metrics, OperatingPoint
from matchka.vectors import FloatArray
from matchka_train.errors import NoTrialsError
from matchka_train.evaluation.decisions import REFERENCES_PER_SUBJECT, template_pairs
from matchka_train.evaluation.validation import Report
from matchka_train.metrics.calibration import TEMPLATE_COUNTS, ThresholdAt, calibrate, thresholds_at
from matchka_train.metrics.impostor_tails import ImpostorTails, fit_tails
from matchka_train.metrics.pairs import PairSimilarities

MAX_FPIRS: Final = (1e-1, 1e-2, 1e-3)
GALLERY_SIZES: Final = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)

Embedded = Mapping[str, tuple[FloatArray, list[str]]]  # domain -> clip embeddings (n, full_dim), n subjects


def report_dims(
    embedded: Embedded, projected: Report, raw: Report, dims: Sequence[int], seed: int, done: Callable[[], None]
) -> dict[str, DimReport]:
    """Everything the manifest holds under `per_dim`.

    Args:
        embedded: the graph's own embeddings of validation clips.
        projected: accuracy of these.
        raw: accuracy of the frozen backbone on the same clips.
        dims: dims to report.
        seed: of the draw of references, and of the calibration's halves.
        done: called after every dim, for a progress bar.

    Returns: str(dim) -> report.

    Raises: NoTrialsError: no domain supports even a reference of one template.
    """
    reports = {}
    for dim in dims:
        calibration, points = _decide(embedded, _hardest(projected, dim), dim, seed)
        reports[str(dim)] = DimReport(
            metrics=_metrics(projected, dim),
            backbone_metrics=_metrics(raw, dim),
            calibration=calibration,
            operating_points=points,
            identification=_identification(embedded, dim, seed),
        )
        done()
    return reports


def _decide(
    embedded: Embedded, hardest: str, dim: int, seed: int
) -> tuple[dict[str, Calibration], dict[str, tuple[OperatingPoint, ...]]]:
    """Calibration and operating points for every number of templates that some domain has clips for."""
    calibration: dict[str, Calibration] = {}
    points: dict[str, tuple[OperatingPoint, ...]] = {}
    for templates in TEMPLATE_COUNTS:
        pairs = {
            domain: found
            for domain, (embeddings, subjects) in embedded.items()
            if (found := _pairs(embeddings, subjects, dim, templates, seed)) is not None
        }
        if not pairs:
            continue
        points[str(templates)] = strictest([thresholds_at(found) for found in pairs.values()])
        # one line serves all domains; that of the hardest one promises least
        source = pairs.get(hardest) or next(iter(pairs.values()))
        calibration[str(templates)] = Calibration(**asdict(calibrate(source, seed)))
    return calibration, points


def _identification(embedded: Embedded, dim: int, seed: int) -> dict[str, GalleryThresholds]:
    """Thresholds for whole galleries, for every number of templates that enough subjects of some domain have."""
    found: dict[str, GalleryThresholds] = {}
    for templates in TEMPLATE_COUNTS:
        tails: list[ImpostorTails] = []
        for embeddings, subjects in embedded.values():
            try:
                tails.append(fit_tails(embeddings, subjects, dim, templates, REFERENCES_PER_SUBJECT, seed))
            except NoTrialsError:
                continue
        if tails:
            found[str(templates)] = GalleryThresholds(
                max_fpirs=MAX_FPIRS,
                gallery_sizes=GALLERY_SIZES,
                # the highest of any domain, so that the rate holds in all of them
                thresholds=tuple(
                    tuple(_rounded(max(tail.threshold(fpir, size) for tail in tails)) for size in GALLERY_SIZES)
                    for fpir in MAX_FPIRS
                ),
            )
    return found


def _rounded(cosine: float) -> float:
    """Six decimals, upwards, and below 1: no similarity of two clips reaches it."""
    return min(math.ceil(cosine * 1e6) / 1e6, 1.0 - 1e-6)


def strictest(per_domain: Sequence[Sequence[ThresholdAt]]) -> tuple[OperatingPoint, ...]:
    """For each false match rate the highest threshold of any domain, so that the rate holds in all of them.

    Args:
        per_domain: the thresholds of each domain, at the same rates.

    >>> low = [ThresholdAt(fmr=0.1, threshold=0.5, measured=True)]
    >>> strictest([low, [ThresholdAt(fmr=0.1, threshold=0.7, measured=False)]])
    (OperatingPoint(fmr=0.1, threshold=0.7, measured=False),)
    """
    chosen = [max(at_rate, key=lambda point: point.threshold) for at_rate in zip(*per_domain, strict=True)]
    return tuple(OperatingPoint(**asdict(point)) for point in chosen)


def _pairs(embeddings: FloatArray, subjects: list[str], dim: int, templates: int, seed: int) -> PairSimilarities | None:
    """Probes against references of that many templates; None where a domain has too few clips of everyone."""
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
