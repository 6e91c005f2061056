"""Two heads that were trained apart, joined behind the posteriors: by sequence, and by frame as a warning."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from matchka.phrases.likelihood import log_likelihoods
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


@dataclass(frozen=True)
class SequenceChoice:
    """What two heads decode of one clip, and how likely each finds either: all that a choice needs, at any weight.

    Attributes:
        candidates: what the first decodes, and the second.
        first: log-likelihoods of the two by the first head, summed over all alignments.
        second: the same by the second head.
    """

    candidates: tuple[Phones, Phones]
    first: tuple[float, float]
    second: tuple[float, float]

    def at(self, weight: float) -> Phones:
        """The candidate that both together find likelier.

        Args: weight: of the first head, in [0, 1].
        """
        scores = [weight * one + (1.0 - weight) * other for one, other in zip(self.first, self.second, strict=True)]
        return self.candidates[int(np.argmax(scores))]


def sequence_choice(first: FloatArray, second: FloatArray) -> SequenceChoice:
    """Let two heads choose between what each of them decodes.

    Args: as of by_frame().
    """
    candidates = (collapse(first.argmax(axis=1)), collapse(second.argmax(axis=1)))
    return SequenceChoice(candidates, _likelihoods(first, candidates), _likelihoods(second, candidates))


def _likelihoods(posteriors: FloatArray, candidates: tuple[Phones, Phones]) -> tuple[float, float]:
    texts = [[[phones]] for phones in candidates if phones]
    found = iter(log_likelihoods(posteriors, texts) if texts else ())
    silent = float(posteriors[:, 0].sum())  # blank throughout
    one, other = (max(float(next(found)), TOO_SHORT) if phones else silent for phones in candidates)
    return one, other
