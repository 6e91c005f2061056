"""Error rates of 1:1 verification, from the similarities of mated and non-mated pairs (ISO/IEC 19795-1)."""

from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from matchka.vectors import FloatArray
from matchka_train.errors import NoTrialsError

Rates = npt.NDArray[np.float64]
AnyRate = TypeVar("AnyRate", float, Rates)
MISS_COST: Final = 1.0  # costs of the NIST speaker recognition evaluations since 2010
FALSE_ALARM_COST: Final = 1.0


@dataclass(frozen=True)
class DetCurve:
    """Error rates at every threshold that changes a decision; a pair matches where similarity >= threshold.

    Attributes:
        thresholds: float64, (points,), falling; the first is +inf (nothing matches).
        fmr: float64, (points,), rising from 0 to 1: share of non-mated pairs that match.
        fnmr: float64, (points,), falling from 1 to 0: share of mated pairs that do not.
    """

    thresholds: Rates
    fmr: Rates
    fnmr: Rates


def det_curve(mated: FloatArray, non_mated: FloatArray) -> DetCurve:
    """Both error rates at every distinct similarity.

    Args:
        mated: (m,), similarities of pairs of one subject, m >= 1, finite.
        non_mated: (k,), similarities of pairs of two subjects, k >= 1, finite.

    Returns: a curve of at most m + k + 1 points.

    Raises: NoTrialsError: one of the two is empty or holds NaN or infinity.

    >>> curve = det_curve(np.array([0.9, 0.4], np.float32), np.array([0.5, 0.1], np.float32))
    >>> curve.fmr.tolist(), curve.fnmr.tolist()
    ([0.0, 0.0, 0.5, 0.5, 1.0], [1.0, 0.5, 0.5, 0.0, 0.0])
    """
    require_trials(mated, non_mated)
    # three sorts of plain numbers are several times faster than one sort that carries which kind each is
    rising_mated, rising_non_mated = np.sort(mated), np.sort(non_mated)
    rising = np.sort(np.concatenate([rising_mated, rising_non_mated]))
    falling = rising[np.append(True, rising[1:] != rising[:-1])][::-1]
    hits = mated.size - np.searchsorted(rising_mated, falling, side="left")
    false_alarms = non_mated.size - np.searchsorted(rising_non_mated, falling, side="left")
    return DetCurve(
        thresholds=np.concatenate([[np.inf], falling]).astype(np.float64),
        fmr=np.concatenate([[0.0], false_alarms / non_mated.size]),
        fnmr=np.concatenate([[1.0], 1.0 - hits / mated.size]),
    )


def equal_error_rate(mated: FloatArray, non_mated: FloatArray) -> float:
    """The rate at which FMR and FNMR are equal, on the straight line between the two nearest thresholds.

    Args:
        mated: (m,), m >= 1, finite.
        non_mated: (k,), k >= 1, finite.

    Returns: a fraction in [0, 1].

    Raises: NoTrialsError: no pair of one kind, or a similarity that is not finite.

    >>> equal_error_rate(np.array([0.9, 0.4], np.float32), np.array([0.5, 0.1], np.float32))
    0.5
    """
    return eer_of(det_curve(mated, non_mated))


def eer_of(curve: DetCurve) -> float:
    """The equal error rate of a DET curve."""
    return crossing(curve.fmr, curve.fnmr)


def crossing(fmr: Rates, fnmr: Rates) -> float:
    """Where a rising FMR meets a falling FNMR, both given at the same thresholds.

    Args:
        fmr: (points,), rising from 0 to 1.
        fnmr: (points,), falling from 1 to 0.

    Returns: the common rate in [0, 1].
    """
    after = int(np.argmax(fmr >= fnmr))
    gap_before, gap_after = fnmr[after - 1] - fmr[after - 1], fmr[after] - fnmr[after]
    share = gap_before / (gap_before + gap_after)
    return float(fmr[after - 1] + share * (fmr[after] - fmr[after - 1]))


def min_dcf(mated: FloatArray, non_mated: FloatArray, p_target: float = 0.01) -> float:
    """The least normalised detection cost over all thresholds, both errors costing 1.

    Args:
        mated: (m,), m >= 1, finite.
        non_mated: (k,), k >= 1, finite.
        p_target: prior probability that a pair is mated, in (0, 1).

    Returns: cost relative to the better of accepting all and rejecting all, in [0, 1].

    Raises: NoTrialsError: no pair of one kind, or a similarity that is not finite.

    Source: NIST 2016 Speaker Recognition Evaluation plan, section 3.

    >>> min_dcf(np.array([0.9, 0.4], np.float32), np.array([0.5, 0.1], np.float32))
    0.5
    """
    return min_dcf_of(det_curve(mated, non_mated), p_target)


def min_dcf_of(curve: DetCurve, p_target: float = 0.01) -> float:
    """The minDCF of a DET curve."""
    return float(_cost(curve.fnmr, curve.fmr, p_target).min() / _trivial_cost(p_target))


def act_dcf(mated: FloatArray, non_mated: FloatArray, threshold: float, p_target: float) -> float:
    """The normalised detection cost of one threshold, both errors costing 1.

    Args:
        mated: (m,), m >= 1.
        non_mated: (k,), k >= 1.
        threshold: a pair matches where similarity >= threshold.
        p_target: prior probability that a pair is mated, in (0, 1).

    Returns: cost relative to the better of accepting all and rejecting all; a threshold that fits badly costs over 1.

    Source: NIST 2016 Speaker Recognition Evaluation plan, section 3.

    >>> act_dcf(np.array([0.9, 0.4], np.float32), np.array([0.5, 0.1], np.float32), 0.6, 0.01)
    0.5
    """
    fnmr, fmr = float(np.mean(mated < threshold)), float(np.mean(non_mated >= threshold))
    return _cost(fnmr, fmr, p_target) / _trivial_cost(p_target)


def tar_at_fmr(mated: FloatArray, non_mated: FloatArray, fmr: float) -> float:
    """The largest true accept rate (1 - FNMR) whose threshold keeps the false match rate at or below `fmr`.

    Args:
        mated: (m,), m >= 1, finite.
        non_mated: (k,), k >= 1, finite.
        fmr: the false match rate allowed, in [0, 1].

    Returns: a fraction in [0, 1].

    Raises: NoTrialsError: no pair of one kind, or a similarity that is not finite.

    >>> tar_at_fmr(np.array([0.9, 0.4], np.float32), np.array([0.5, 0.1], np.float32), 0.5)
    1.0
    """
    return tar_of(det_curve(mated, non_mated), fmr)


def tar_of(curve: DetCurve, fmr: float) -> float:
    """TAR at an FMR, of a DET curve."""
    allowed = int(np.searchsorted(curve.fmr, fmr, side="right")) - 1
    return float(1.0 - curve.fnmr[allowed])


def require_trials(mated: FloatArray, non_mated: FloatArray) -> None:
    """Refuse similarities no rate can be measured on.

    Raises: NoTrialsError: one of the two is empty or holds NaN or infinity.
    """
    for kind, similarities in (("mated", mated), ("non-mated", non_mated)):
        if similarities.size == 0:
            raise NoTrialsError(
                f"There is no {kind} pair.", remedy="Give at least two subjects, one of them with two samples."
            )
        if not np.all(np.isfinite(similarities)):
            raise NoTrialsError(
                f"A {kind} similarity is not a number.",
                value=similarities[~np.isfinite(similarities)][0],
                remedy="Find the sample whose embedding is not finite.",
            )


def _cost(fnmr: AnyRate, fmr: AnyRate, p_target: float) -> AnyRate:
    return MISS_COST * p_target * fnmr + FALSE_ALARM_COST * (1.0 - p_target) * fmr


def _trivial_cost(p_target: float) -> float:
    """Of the better of accepting all and rejecting all."""
    return min(MISS_COST * p_target, FALSE_ALARM_COST * (1.0 - p_target))
