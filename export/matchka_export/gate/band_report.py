"""Thresholds by band of a value that error rates depend on, such as the SNR that a graph estimates."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from matchka.bundles.outputs.condition import Condition
from matchka.bundles.outputs.measurements import BandReport
from matchka.scorers import Scorer
from matchka.vectors import mean_by_group
from matchka_export.errors import UndecidableError
from matchka_export.gate.dim_report import Embedded, decide, gallery_points
from matchka_train.features.features import Features
from matchka_train.metrics.scored_embeddings import ScoredEmbeddings

LEAST_SUBJECTS: Final = 10  # fewer say nothing of those who were never seen
ALONE: Final = "band"
WITH_BETTER: Final = "band and better"


def scored_by_sample(features: Sequence[Features], scorer: Scorer) -> tuple[ScoredEmbeddings, list[str]]:
    """The embeddings of all data sets' samples, in order, with their subjects."""
    vectors = [mean_by_group(part.windows, part.window_counts.tolist()) for part in features]
    counts = np.concatenate([part.window_counts for part in features]).astype(np.float64)
    subjects = [subject for part in features for subject in part.subjects]
    return ScoredEmbeddings(np.concatenate(vectors), counts, scorer), subjects


def split_by_condition(
    condition: Condition, samples: tuple[ScoredEmbeddings, list[str]], values: Sequence[Features]
) -> list[Embedded]:
    """The samples of each band, and with them those of better bands: the lower of two samples decides on their band.

    Args:
        condition: the bands.
        samples: embeddings with their subjects.
        values: the value that the graph returned of the same samples, in the same order.

    Returns: for each band, the worst first, its samples alone and those with all better ones.

    Raises: UndecidableError: a band has too few subjects.
    """
    embeddings, subjects = samples
    band = np.array([condition.band_of(float(value)) for part in values for value in part.pooled()[:, 0]])
    found: list[Embedded] = []
    for number in range(condition.bands):
        chosen = {ALONE: np.flatnonzero(band == number), WITH_BETTER: np.flatnonzero(band >= number)}
        own = {subjects[place] for place in chosen[ALONE]}
        if len(own) < LEAST_SUBJECTS:
            raise UndecidableError(
                f"Band {number} of {condition.value} has too few subjects for thresholds of its own.",
                value=len(own),
                remedy=f"Validate on at least {LEAST_SUBJECTS} in each band.",
            )
        found.append({name: (embeddings[rows], [subjects[place] for place in rows]) for name, rows in chosen.items()})
    return found


def report_bands(bands: Sequence[Embedded], dim: int, seed: int) -> tuple[BandReport, ...]:
    """Calibration and thresholds of each band at one dim; the highest of a band alone and with the better ones.

    Args:
        bands: of split_by_condition.
        dim: to decide at.
        seed: of all draws.
    """
    reports = []
    for embedded in bands:
        calibration, points = decide(embedded, ALONE, dim, seed)
        reports.append(
            BandReport(
                calibration=calibration, operating_points=points, identification=gallery_points(embedded, dim, seed)
            )
        )
    return tuple(reports)
