"""How likely a text is given a clip, over all alignments and pronunciations; and its likeliest pronunciation."""

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from matchka.phrases.lattice import BLANK, Indices, Lattice, Pronunciation, Text, lattice_of
from matchka.vectors import FloatArray

IMPOSSIBLE: Final = -1e30  # of states that cannot be reached; finite, as differences of infinities are no numbers

Scores: TypeAlias = npt.NDArray[np.float64]


def log_likelihood(log_posteriors: FloatArray, words: Text) -> float:
    """The logarithm (natural) of p(text | clip), summed over alignments and over the words' pronunciations.

    Silence between words is blank, and may be left out. The sum over pronunciations is that over all texts that take
    one for each word; no word's pronunciations are weighted, so that each costs nothing.

    Args:
        log_posteriors: float32, (frames, 1 + phones): log-probabilities of blank (first) and phones.
        words: of each word, its pronunciations: places of phones on that last axis, from 1 on.

    Returns: -inf where the text has more phones than the clip has frames for.

    Raises: EmptyTextError: no words, or one without a pronunciation.

    Source: Graves et al. 2006, Connectionist temporal classification.

    >>> log_likelihood(np.log(np.full((1, 4), 0.25, np.float32)), [[(1,), (2,)]])  # two ways to say it
    -0.69314...
    """
    return float(log_likelihoods(log_posteriors, [words])[0])


def log_likelihoods(log_posteriors: FloatArray, texts: Sequence[Text]) -> Scores:
    """log_likelihood() of several texts in one pass over the frames: float64, (texts,)."""
    lattice = lattice_of(texts)
    scores = _begin(log_posteriors, lattice)
    emissions = log_posteriors.astype(np.float64)[:, lattice.labels]
    for emission in emissions[1:]:
        scores[:-1] = _log_sum(scores[lattice.before]) + emission
    found = np.array([_log_sum(scores[last][:, None])[0] for last in lattice.last])
    return np.where(found < IMPOSSIBLE / 2, -np.inf, found)


def likeliest_pronunciations(log_posteriors: FloatArray, words: Text) -> tuple[Pronunciation, ...]:
    """Of each word the pronunciation on the single best alignment; the first where the clip is too short for any.

    Args:
        log_posteriors: as of log_likelihood().
        words: as of log_likelihood().
    """
    lattice = lattice_of([words])
    scores = _begin(log_posteriors, lattice)
    states = np.arange(len(lattice.labels))
    came_from: list[Indices] = []
    for emission in log_posteriors.astype(np.float64)[1:, lattice.labels]:
        candidates = scores[lattice.before]
        best = candidates.argmax(axis=0)
        came_from.append(lattice.before[best, states])
        scores[:-1] = candidates[best, states] + emission
    ends = lattice.last[0]
    state = int(ends[scores[ends].argmax()])
    if scores[state] < IMPOSSIBLE / 2:
        return tuple(word[0] for word in words)
    path = [state]
    for origins in reversed(came_from):
        path.append(int(origins[path[-1]]))
    chosen = dict(lattice.origins[state] for state in path if lattice.labels[state] != BLANK)
    return tuple(word[chosen[place]] for place, word in enumerate(words))


def best_free_path(log_posteriors: FloatArray) -> Scores:
    """Log-probability of the likeliest label of each frame, whatever text it makes: float64, (frames,)."""
    best: Scores = log_posteriors.max(axis=1).astype(np.float64)
    return best


def phone_scores(log_posteriors: FloatArray, phones: Pronunciation) -> Scores:
    """How likely a clip's beginning, up to each frame, is a text's, up to each phone.

    Args:
        log_posteriors: (frames, 1 + phones).
        phones: of the text, at least one.

    Returns: float64, (frames, len(phones)): the logarithm of the sum over alignments that are at the phone at the
        frame. Of the clip and the text both reversed, it is that of what follows, frame and phone included.
    """
    lattice = lattice_of([[[phones]]])
    scores = _begin(log_posteriors, lattice)
    found = [scores[:-1].copy()]
    for emission in log_posteriors.astype(np.float64)[1:, lattice.labels]:
        scores[:-1] = _log_sum(scores[lattice.before]) + emission
        found.append(scores[:-1].copy())
    return np.stack(found)[:, lattice.labels != BLANK]


def _begin(log_posteriors: FloatArray, lattice: Lattice) -> Scores:
    """The scores of the first frame; one place more than there are states."""
    scores = np.full(len(lattice.labels) + 1, IMPOSSIBLE)
    scores[lattice.first] = log_posteriors[0, lattice.labels[lattice.first]]
    return scores


def _log_sum(scores: Scores) -> Scores:
    """The logarithm of the sum of exponentials over the first axis."""
    highest = scores.max(axis=0)
    summed: Scores = highest + np.log(np.exp(scores - highest).sum(axis=0))
    return summed
