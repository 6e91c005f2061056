"""CTC over a lattice, against the enumeration of every path of labels."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matchka.errors import EmptyTextError
from matchka.phrases.likelihood import likeliest_pronunciations, log_likelihood, log_likelihoods
from matchka.phrases.scores import phone_count, phrase_score, phrase_scores, spoken_words

TEXTS = [
    [[(1,)]],
    [[(1, 1)]],
    [[(1, 2)], [(2, 3)]],
    [[(1,), (2, 3), (3,)], [(3, 1), (1,)]],
    [[(1,), (2,)], [(2,), (1,), (1, 3)], [(3,)]],
    [[(1, 2, 1), (1, 2)], [(2, 2)]],
]


def posteriors(frames: int, seed: int, phones: int = 3) -> np.ndarray:
    raw = np.random.default_rng(seed).normal(0, 2, (frames, 1 + phones))
    return (raw - np.log(np.exp(raw).sum(axis=1, keepdims=True))).astype(np.float32)


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(label for label, _ in itertools.groupby(path) if label)


def paths_of(log_posteriors: np.ndarray) -> dict[tuple[int, ...], list[float]]:
    """The log-probabilities of all paths of labels, by the phones that they make."""
    frames, labels = log_posteriors.shape
    found: dict[tuple[int, ...], list[float]] = {}
    for path in itertools.product(range(labels), repeat=frames):
        found.setdefault(collapsed(path), []).append(float(log_posteriors[range(frames), path].astype(float).sum()))
    return found


def readings(words: list) -> list[tuple[tuple[int, ...], ...]]:
    return list(itertools.product(*words))


def enumerated(log_posteriors: np.ndarray, words: list) -> float:
    paths = paths_of(log_posteriors)
    scores = [score for ways in readings(words) for score in paths.get(sum(ways, ()), [])]
    return float(np.logaddexp.reduce(scores)) if scores else -np.inf


@pytest.mark.parametrize("frames", [1, 3, 6])
@pytest.mark.parametrize("words", TEXTS)
def test_log_likelihood_of_any_text_is_the_sum_over_all_paths_that_read_it(words: list, frames: int):
    given_posteriors = posteriors(frames, seed=frames)
    assert log_likelihood(given_posteriors, words) == pytest.approx(enumerated(given_posteriors, words), abs=1e-6)


@given(
    words=st.lists(
        st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple), min_size=1, max_size=3, unique=True),
        min_size=1,
        max_size=3,
    ),
    frames=st.integers(1, 5),
    seed=st.integers(0, 100),
)
def test_log_likelihood_of_made_up_lexicons_is_the_sum_over_all_paths(words: list, frames: int, seed: int):
    given_posteriors = posteriors(frames, seed)
    assert log_likelihood(given_posteriors, words) == pytest.approx(enumerated(given_posteriors, words), abs=1e-6)


def test_log_likelihoods_of_several_texts_are_those_of_each_alone():
    given_posteriors = posteriors(40, seed=1)
    alone = [log_likelihood(given_posteriors, words) for words in TEXTS]
    np.testing.assert_allclose(log_likelihoods(given_posteriors, TEXTS), alone, rtol=1e-12)


def test_log_likelihood_of_frames_that_all_but_exclude_the_text_stays_finite():
    given_posteriors = np.full((300, 4), -60.0, np.float32)
    given_posteriors[:, 0] = 0.0
    one_word = [[(1, 2, 3) * 20]]
    # a phone that lasts costs 60 more than a blank: one path counts for each choice of the frames of 60 phones
    assert log_likelihood(given_posteriors, one_word) == pytest.approx(
        -60 * 60 + math.log(math.comb(300, 60)), rel=1e-9
    )


@pytest.mark.parametrize("words", [[], [[]], [[(1,)], [()]]])
def test_log_likelihood_without_words_or_phones_raises(words: list):
    with pytest.raises(EmptyTextError):
        log_likelihood(posteriors(3, seed=0), words)


def test_likeliest_pronunciations_are_those_of_the_best_path_of_all():
    for seed in range(20):
        given_posteriors, words = posteriors(6, seed), TEXTS[4]
        paths = paths_of(given_posteriors)
        best = max(readings(words), key=lambda ways: max(paths.get(sum(ways, ()), [-np.inf])))
        chosen = likeliest_pronunciations(given_posteriors, words)
        assert max(paths[sum(chosen, ())]) == max(paths[sum(best, ())])
        assert all(way in word for way, word in zip(chosen, words, strict=True))


def test_likeliest_pronunciations_of_too_short_a_clip_are_the_first():
    assert likeliest_pronunciations(posteriors(1, seed=0), [[(1, 2), (3,)], [(2,), (1,)]]) == ((1, 2), (2,))


def test_phrase_score_is_the_ratio_to_the_best_labels_for_each_phone():
    given_posteriors, words = posteriors(6, seed=3), TEXTS[3]
    free = sum(float(row.max()) for row in given_posteriors)
    assert phone_count(words) == 3
    expected = (enumerated(given_posteriors, words) - free) / 3
    assert phrase_score(given_posteriors, words) == pytest.approx(expected, abs=1e-6)
    assert phrase_scores(given_posteriors, [TEXTS[0], words])[1] == pytest.approx(expected, abs=1e-6)


def test_phrase_score_of_a_clip_too_short_for_the_text_is_minus_infinity():
    assert phrase_score(posteriors(3, seed=3), [[(1, 2)], [(3, 1)]]) == -np.inf


def ratio_by_enumeration(log_posteriors: np.ndarray, phones: tuple[int, ...], start: int, stop: int) -> float:
    """Every pair of frames between which a part may be replaced by the best labels, and every path outside of them."""
    frames = len(log_posteriors)
    before, after = phones[:start], phones[stop:]
    replaced = []
    for first, last in itertools.combinations(range(frames + 1), 2):
        # what stands before ends in its last phone, what stands behind begins with its first: blanks between are free
        head = [s for s, path in all_paths(log_posteriors[:first]) if collapsed(path) == before and ends(path, before)]
        tail = [
            s for s, path in all_paths(log_posteriors[last:]) if collapsed(path) == after and ends(path[::-1], after)
        ]
        free = float(log_posteriors[first:last].max(axis=1).astype(float).sum())
        replaced += [x + free + y for x in head for y in tail]
    whole = enumerated(log_posteriors, [[phones]])
    return (whole - float(np.logaddexp.reduce(replaced))) / (stop - start)


def all_paths(log_posteriors: np.ndarray) -> list[tuple[float, tuple[int, ...]]]:
    frames, labels = log_posteriors.shape
    return [
        (float(log_posteriors[range(frames), path].astype(float).sum()) if path else 0.0, path)
        for path in itertools.product(range(labels), repeat=frames)
    ]


def ends(path: tuple[int, ...], phones: tuple[int, ...]) -> bool:
    return not path if not phones else bool(path and path[-1])


@pytest.mark.parametrize("seed", range(3))
def test_spoken_words_are_compared_with_their_part_left_free(seed: int):
    given_posteriors = posteriors(5, seed)
    first, second = spoken_words(given_posteriors, [[(1, 2)], [(3,)]])
    phones = (1, 2, 3)
    assert first.llr == pytest.approx(ratio_by_enumeration(given_posteriors, phones, 0, 2), abs=1e-6)
    assert second.llr == pytest.approx(ratio_by_enumeration(given_posteriors, phones, 2, 3), abs=1e-6)
    assert [one.phone for one in (*first.phones, *second.phones)] == [1, 2, 3]
    assert first.phones[1].llr == pytest.approx(ratio_by_enumeration(given_posteriors, phones, 1, 2), abs=1e-6)
    assert second.phones[0].llr == second.llr


def test_spoken_words_of_a_clip_with_one_wrong_word_are_lowest_there():
    said = [0, 1, 0, 2, 0, 3, 0, 2, 0, 1, 0]  # 1 2, then 3, then 2 1
    given_posteriors = np.full((len(said), 6), np.log(0.006), np.float32)
    given_posteriors[range(len(said)), said] = np.log(0.97)
    words = spoken_words(given_posteriors, [[(1, 2)], [(4,), (5,)], [(2, 1)]])
    assert min(range(3), key=lambda place: words[place].llr) == 1
    assert words[0].llr > -0.5
    assert words[2].llr > -0.5
    assert words[1].llr < -2
