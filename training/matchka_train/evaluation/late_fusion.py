"""Two heads that were trained apart, joined behind the posteriors: by sequence, and by frame as a warning."""

from typing import Final

import numpy as np

from matchka.phrases.likelihood import log_likelihood
from matchka.vectors import FloatArray
from matchka_train.metrics.phone_errors import Phones, collapse

TOO_SHORT: Final = -1e9  # log-likelihood of phones that a clip is too short for


def by_frame(first: FloatArray, second: FloatArray, weight: float) -> Phones:
    """Decode the weighted mean of log-posteriors.

    Heads trained by connectionist temporal classification put their phones into frames of their own choice, so that
    the mean of two sees blanks wherever the two do not agree on the frame.

    Args:
        first: log-posteriors, (frames, classes).
        second: of the same clip.
        weight: of the first, in [0, 1].
    """
    return collapse((weight * first + (1.0 - weight) * second).argmax(axis=1))


def by_sequence(first: FloatArray, second: FloatArray, weight: float) -> Phones:
    """Of what the two decode, what both together find likelier: their likelihoods are summed over all alignments.

    Args: as of by_frame().
    """
    candidates = [collapse(first.argmax(axis=1)), collapse(second.argmax(axis=1))]
    scores = [
        weight * _likelihood(first, phones) + (1.0 - weight) * _likelihood(second, phones) for phones in candidates
    ]
    return candidates[int(np.argmax(scores))]


def _likelihood(posteriors: FloatArray, phones: Phones) -> float:
    if not phones:
        return float(posteriors[:, 0].sum())  # blank throughout
    return max(log_likelihood(posteriors, [[phones]]), TOO_SHORT)
