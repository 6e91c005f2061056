"""Log-likelihood ratios: of a phrase, of each of its words, and of each of their phones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from matchka.phrases.lattice import BLANK, Text
from matchka.phrases.likelihood import (
    IMPOSSIBLE,
    Scores,
    best_free_path,
    likeliest_pronunciations,
    log_likelihood,
    log_likelihoods,
    phone_scores,
)
from matchka.vectors import FloatArray


@dataclass(frozen=True)
class SpokenPhone:
    """A phone of a word. Attributes: phone: its place on the last axis of posteriors; llr: see spoken_words()."""

    phone: int
    llr: float


@dataclass(frozen=True)
class SpokenWord:
    """A word as it was most likely pronounced. Attributes: llr: of the whole word, for each of its phones."""

    llr: float
    phones: tuple[SpokenPhone, ...]


def phone_count(words: Text) -> int:
    """Phones of a text, each word in its first pronunciation.

    >>> phone_count([[(1, 2), (3,)], [(4,)]])
    3
    """
    return sum(len(word[0]) for word in words)


def phrase_score(log_posteriors: FloatArray, words: Text) -> float:
    """Whether a clip says a text: (log p(text) - that of the best path without any text) / phones.

    A log-likelihood ratio for each phone, so that one threshold serves clips of several lengths: near 0 where the
    text explains the clip as well as anything, lower where it does not; -inf where the clip is too short to say it.

    Args:
        log_posteriors: float32, (frames, 1 + phones), see matchka.phrases.likelihood.log_likelihood().
        words: of each word, its pronunciations, the usual one first.

    Raises: EmptyTextError: no words, or one without a pronunciation.
    """
    return float(phrase_scores(log_posteriors, [words])[0])


def free_log_posterior(log_posteriors: FloatArray) -> float:
    """How clearly phones are heard: the mean over frames of the likeliest label's log-probability, at most 0.

    The phrase score sums over alignments in its numerator only, so that babble and clipped sound, of which every label
    is about as likely, score high with any text. It is to be refused by this.

    >>> free_log_posterior(np.log(np.full((10, 4), 0.25, np.float32)))
    -1.38629...
    """
    return float(best_free_path(log_posteriors).mean())


def heard_share(log_posteriors: FloatArray, words: Text) -> float:
    """Phones of the likeliest labels, for each phone of a text: about 1 where the clip says as much as the text.

    Far below 1 little is heard, which costs a text no more than its phones; far above 1 the clip says something beside
    the text, which a good score of the text can make up for.

    >>> clip = np.log(np.float32([[0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]))
    >>> heard_share(clip, [[(1, 2, 1, 2)]])
    0.5
    """
    best = log_posteriors.argmax(axis=1)
    begins = np.diff(best, prepend=-1) != 0
    return float(np.count_nonzero(begins & (best != BLANK)) / phone_count(words))


def phrase_scores(log_posteriors: FloatArray, texts: Sequence[Text]) -> Scores:
    """phrase_score() of several texts in one pass over the frames: float64, (texts,)."""
    free = best_free_path(log_posteriors).sum()
    counts = np.array([phone_count(text) for text in texts], np.float64)
    ratios: Scores = (log_likelihoods(log_posteriors, texts) - free) / counts
    return ratios


def spoken_words(log_posteriors: FloatArray, words: Text) -> tuple[SpokenWord, ...]:
    """How well each word and each phone was said, in the likeliest pronunciation of each word.

    The ratio of a part (a phone, or the phones of a word) is log p(text) - log p(text with the part replaced by
    whatever explains its frames best), divided by the part's phones: what the phrase's ratio is of all phones. Frames
    are not cut beforehand: both are sums over all alignments. It is near 0 for what was said and lower for what was
    not; -inf where the clip is too short to say the text.

    Args:
        log_posteriors: as of phrase_score().
        words: as of phrase_score().

    Source: the ratio without a fixed alignment is that of Cao et al. 2024, arXiv:2406.02719, with a free path in place
        of single substitutions.
    """
    chosen = likeliest_pronunciations(log_posteriors, words)
    phones = tuple(phone for pronunciation in chosen for phone in pronunciation)
    parts = _Parts(
        phone_scores(log_posteriors, phones),
        phone_scores(log_posteriors[::-1], phones[::-1])[::-1, ::-1],
        np.concatenate([[0.0], np.cumsum(best_free_path(log_posteriors))]),
        log_likelihood(log_posteriors, [[phones]]),
    )
    found, start = [], 0
    for pronunciation in chosen:
        stop = start + len(pronunciation)
        singly = tuple(SpokenPhone(phones[place], parts.ratio(place, place + 1)) for place in range(start, stop))
        found.append(SpokenWord(parts.ratio(start, stop), singly))
        start = stop
    return tuple(found)


@dataclass(frozen=True)
class _Parts:
    """A sequence of phones and a clip, to be compared with any part of the sequence left free.

    Attributes:
        up_to: (frames, phones), see phone_scores().
        from_there: the same of what follows, frame and phone included.
        free: (frames + 1,), of the best free path through the frames before each.
        whole: of the whole sequence.
    """

    up_to: Scores
    from_there: Scores
    free: Scores
    whole: float

    def ratio(self, start: int, stop: int) -> float:
        """Of the phones start..stop, for each of them."""
        enter, leave = np.full_like(self.free, IMPOSSIBLE), np.full_like(self.free, IMPOSSIBLE)
        if start == 0:
            enter[0] = 0.0
        else:
            enter[1:] = self.up_to[:, start - 1]
        if stop == self.up_to.shape[1]:
            leave[-1] = 0.0
        else:
            leave[:-1] = self.from_there[:, stop]
        # the part lies between any two frames, the first before the second: sums over the first, then over the second
        entered = np.logaddexp.accumulate(enter - self.free)[:-1]
        replaced = np.logaddexp.reduce(entered + self.free[1:] + leave[1:])
        return float(self.whole - replaced) / (stop - start)
