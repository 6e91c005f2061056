"""Upper tails of impostors' similarities, and the thresholds that keep an FPIR at any gallery size.

Comparisons of one probe are not independent: some impostors resemble everybody. A false match rate over pairs cannot
say how the best of N references behaves as N grows, so each impostor gets a tail of its own.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtri

from matchka.vectors import FloatArray, cosine_similarity, mean_reference
from matchka_train.errors import NoTrialsError
from matchka_train.metrics.calibration import LARGEST_COSINE
from matchka_train.metrics.pairs import number_subjects

UPPER_SHARE: Final = 0.2  # of an impostor's similarities, through which its tail is laid; docs/decisions/062
LEAST_SUBJECTS: Final = 30  # fewer say too little about who looks like whom
HIGHEST_Z: Final = 12.0  # artanh of a cosine that no float32 tells from 1

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ImpostorTails:
    """The upper tails of impostors' similarities to references, each normal on Fisher's z.

    Attributes:
        means: (impostors,), of artanh(similarity).
        deviations: (impostors,), > 0.
    """

    means: Values
    deviations: Values

    def false_positive_rate(self, threshold: float, gallery_size: int) -> float:
        """FPIR: the share of impostors whose best of so many references reaches the threshold.

        Args:
            threshold: cosine.
            gallery_size: subjects, each drawn independently of the others.

        >>> one = ImpostorTails(np.array([0.0]), np.array([1.0]))
        >>> one.false_positive_rate(0.0, 1), round(one.false_positive_rate(0.0, 2), 6)
        (0.5, 0.75)
        """
        return self._rate_at(float(np.arctanh(threshold)), gallery_size)

    def threshold(self, max_fpir: float, gallery_size: int) -> float:
        """The cosine that keeps a false positive identification rate, in (0, 1), over so many subjects."""
        found = brentq(lambda z: self._rate_at(z, gallery_size) - max_fpir, -HIGHEST_Z, HIGHEST_Z, xtol=1e-9)
        return min(float(np.tanh(found)), LARGEST_COSINE)

    def _rate_at(self, z: float, gallery_size: int) -> float:
        none_passes = gallery_size * log_ndtr((z - self.means) / self.deviations)
        return float(np.mean(-np.expm1(none_passes)))


def fit_tails(
    embeddings: FloatArray, subjects: list[str], dim: int, templates: int, draws: int, seed: int
) -> ImpostorTails:
    """Lay a tail through the highest similarities of every sample to references of all other subjects.

    On a normal distribution the order statistics against the normal quantiles of their ranks lie on a straight line,
    whose offset is the mean and whose slope the deviation; here through the upper fifth only, because the rest says
    nothing about who might be taken for somebody else.

    Args:
        embeddings: float32, (n, full_dim), not truncated.
        subjects: the subject of each row.
        dim: components compared.
        templates: samples in a reference; with 1, every sample is one.
        draws: references of each subject where it is more than one sample.
        seed: the same seed draws the same references.

    Raises:
        NoTrialsError: fewer than 30 subjects can have such a reference.
        DimensionError: dim out of range. ZeroVectorError: a truncated embedding is all zero.
    """
    numbers, count = number_subjects(subjects)
    references, owners = _references(embeddings, numbers, count, templates, draws, np.random.default_rng(seed))
    if len(set(owners.tolist())) < LEAST_SUBJECTS:
        raise NoTrialsError(
            f"Tails of impostors need {LEAST_SUBJECTS} subjects with {templates} samples.",
            value=len(set(owners.tolist())),
            remedy="Give more subjects, or fewer templates.",
        )
    similarities = cosine_similarity(embeddings, references, dim)
    means, deviations = [], []
    for row, own in zip(similarities, numbers, strict=True):
        mean, deviation = _line_through_top(row[owners != own].astype(np.float64))
        means.append(mean)
        deviations.append(deviation)
    return ImpostorTails(np.asarray(means), np.asarray(deviations))


def _references(
    embeddings: FloatArray,
    numbers: npt.NDArray[np.int32],
    count: int,
    templates: int,
    draws: int,
    generator: np.random.Generator,
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    if templates == 1:
        return embeddings, numbers.astype(np.int64)
    references, owners = [embeddings[:0]], []
    for subject in range(count):
        rows = np.flatnonzero(numbers == subject)
        if rows.size < templates:
            continue
        for _ in range(draws):
            references.append(mean_reference(embeddings[generator.choice(rows, templates, replace=False)])[None, :])
            owners.append(subject)
    return np.concatenate(references), np.asarray(owners, np.int64)


def _line_through_top(similarities: Values) -> tuple[float, float]:
    z = np.arctanh(np.clip(np.sort(similarities), -LARGEST_COSINE, LARGEST_COSINE))
    start = len(z) - max(2, round(UPPER_SHARE * len(z)))
    quantiles = ndtri((np.arange(start, len(z)) + 0.5) / len(z))
    centred = quantiles - quantiles.mean()
    slope = float(centred @ z[start:] / (centred @ centred))
    return float(z[start:].mean() - slope * quantiles.mean()), max(slope, 1e-6)
