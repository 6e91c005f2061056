"""Phone error rate: how many phones are wrong, missing or too many, beside how many there are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from matchka.vectors import FloatArray
from matchka_train.errors import NoTrialsError
from matchka_train.metrics.bootstrap import RESAMPLES, draw_rates
from matchka_train.metrics.error_rates import Rates
from matchka_train.metrics.pairs import number_subjects

Phones = tuple[int, ...]  # numbers of phones; the blank, 0, is none of them


@dataclass(frozen=True)
class PhoneErrors:
    """What greedy decoding got wrong, clip by clip.

    Attributes:
        errors: int64, (clips,), edits from what was decoded to what was to be read.
        phones: int64, (clips,), how many were to be read.
        subjects: who reads each clip.
        blank_share: of all frames, those whose likeliest class is the blank; near 1 a head has learned nothing.
    """

    errors: npt.NDArray[np.int64]
    phones: npt.NDArray[np.int64]
    subjects: tuple[str, ...]
    blank_share: float

    @property
    def rate(self) -> float:
        """Phone error rate: edits by phones; passes 1 where more is decoded than there is."""
        return float(self.errors.sum() / self.phones.sum())

    def select(self, kept: npt.NDArray[np.bool_]) -> "PhoneErrors":
        """Only some of the clips; the share of blanks stays that of all.

        Args: kept: bool, (clips,).
        """
        subjects = tuple(np.asarray(self.subjects)[kept].tolist())
        return PhoneErrors(self.errors[kept], self.phones[kept], subjects, self.blank_share)

    def interval(self, seed: int, resamples: int = RESAMPLES) -> tuple[float, float]:
        """The 95 % interval of the rate over draws of the people who read.

        Args:
            seed: the same seed draws the same people.
            resamples: draws, >= 1.
        """
        numbers, count = number_subjects(list(self.subjects))
        errors = np.bincount(numbers, self.errors, count)
        phones = np.bincount(numbers, self.phones, count)

        def rate(weights: Rates) -> float | None:
            total = float(weights @ phones)
            return float(weights @ errors) / total if total else None

        (drawn,) = draw_rates([rate], count, seed, resamples)
        low, high = np.quantile(drawn.draws, [0.025, 0.975])
        return float(low), float(high)


def phone_errors(log_posteriors: Sequence[FloatArray], read: Sequence[Phones], subjects: Sequence[str]) -> PhoneErrors:
    """Decode each clip greedily and count its errors.

    Args:
        log_posteriors: of each clip, (frames, classes); class 0 is the blank.
        read: the phones of each clip's text.
        subjects: who reads each clip.

    Raises: NoTrialsError: there is no phone to read.
    """
    if not any(read):
        raise NoTrialsError("There is no phone to count errors of.", value=len(read), remedy="Give clips with phones.")
    best = [clip.argmax(axis=1) for clip in log_posteriors]
    return PhoneErrors(
        np.array([edit_distance(collapse(path), phones) for path, phones in zip(best, read, strict=True)], np.int64),
        np.array([len(phones) for phones in read], np.int64),
        tuple(subjects),
        float(np.mean(np.concatenate(best) == 0)),
    )


def collapse(path: npt.NDArray[np.integer]) -> Phones:
    """The phones of a path through the frames: repeats once, blanks left out.

    Args: path: (frames,), a class for each frame.

    Source: Graves et al. 2006, Connectionist temporal classification, section 2.

    >>> collapse(np.array([0, 7, 7, 0, 7, 3]))
    (7, 7, 3)
    """
    begins = np.diff(path, prepend=-1) != 0
    return tuple(int(phone) for phone in path[begins] if phone)


def edit_distance(one: Phones, other: Phones) -> int:
    """The fewest insertions, deletions and substitutions that lead from one sequence to the other.

    Source: Levenshtein 1966, by the dynamic programme of Wagner and Fischer 1974.

    >>> edit_distance((1, 2, 3), (2, 3, 4, 5))
    3
    """
    row = list(range(len(other) + 1))
    for count, phone in enumerate(one, start=1):
        diagonal, row[0] = row[0], count
        for at, wanted in enumerate(other, start=1):
            diagonal, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, diagonal + (phone != wanted))
    return row[-1]
