"""Right texts, wrong texts, and the thresholds between them, beside slow recounts."""

import numpy as np
import pytest

from matchka_train.errors import NoTrialsError
from matchka_train.evaluation.phrases import (
    LOWEST_SCORE,
    PhraseScores,
    ReadText,
    accept_thresholds,
    draw_trials,
    false_reject_rate,
    halves,
    score_trials,
)

PHONES = 12


def read_texts(people: int, clips_each: int, words: int, seed: int = 0) -> list[ReadText]:
    """Texts of one-phone words, drawn anew for each clip."""
    generator = np.random.default_rng(seed)
    found = []
    for person in range(people):
        for _ in range(clips_each):
            phones = generator.integers(1, PHONES + 1, words).tolist()
            text = [[(phone,)] for phone in phones]
            found.append(ReadText(tuple(f"w{phone}" for phone in phones), text, f"speaker-{person}"))
    return found


def spoken(read: ReadText, sureness: float = 6.0) -> np.ndarray:
    """Posteriors of a clip that says each phone for a frame, with a blank between two."""
    frames = [(0,), *((phone, 0) for ((phone,),) in read.text)]
    labels = [label for pair in frames for label in pair]
    logits = np.zeros((len(labels), 1 + PHONES), np.float32)
    logits[np.arange(len(labels)), labels] = sureness
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_draw_trials_takes_other_peoples_texts_of_the_same_length_with_four_other_words() -> None:
    read = [*read_texts(4, 3, 5), *read_texts(3, 2, 6, seed=1)]
    trials = draw_trials(read, seed=3, per_clip=4)
    for clip, text in zip(trials.clips, trials.texts, strict=True):
        own, other = read[clip], read[text]
        remaining = list(own.words)
        for word in other.words:
            if word in remaining:
                remaining.remove(word)
        assert own.speaker != other.speaker
        assert len(own.words) == len(other.words)
        assert len(remaining) >= 4
    assert np.bincount(trials.clips).max() <= 4
    assert np.array_equal(trials.texts, draw_trials(read, seed=3, per_clip=4).texts)


def test_draw_trials_where_every_text_is_short_raises() -> None:
    with pytest.raises(NoTrialsError, match="wrong text"):
        draw_trials(read_texts(4, 2, 3), seed=0)


def test_score_trials_of_clear_clips_puts_every_right_text_above_every_wrong_one() -> None:
    read = read_texts(5, 3, 6)
    scores = score_trials([spoken(one) for one in read], draw_trials(read, seed=0))
    assert scores.right.min() > scores.wrong.max()
    # said without a doubt, a text is as likely as the best path through all phones but for the blanks beside it
    assert scores.right == pytest.approx(0.0, abs=0.05)


def test_score_trials_of_a_clip_too_short_for_its_text_gives_the_lowest_score() -> None:
    read = read_texts(2, 2, 5)
    clips = [spoken(one) for one in read]
    clips[0] = clips[0][:3]
    scores = score_trials(clips, draw_trials(read, seed=0))
    assert scores.right[0] == LOWEST_SCORE
    assert np.isfinite(scores.wrong).all()


def made_scores(people: int, clips_each: int) -> PhraseScores:
    read = read_texts(people, clips_each, 6)
    trials = draw_trials(read, seed=1, per_clip=8)
    generator = np.random.default_rng(2)
    return PhraseScores(trials, generator.normal(0.0, 1.0, len(read)), generator.normal(-4.0, 1.0, trials.clips.size))


def test_pairs_of_scores_name_who_speaks_and_whose_text_it_is() -> None:
    scores = made_scores(6, 4)
    pairs = scores.pairs(np.arange(24) < 8)
    assert pairs.mated == pytest.approx(scores.right[:8])
    assert pairs.mated_subjects.tolist() == [0] * 4 + [1] * 4
    wrong = scores.trials.clips < 8
    assert pairs.non_mated == pytest.approx(scores.wrong[wrong])
    owners = [int(scores.trials.read[text].speaker.removeprefix("speaker-")) for text in scores.trials.texts[wrong]]
    assert pairs.non_mated_subjects[:, 1].tolist() == owners


def test_accept_thresholds_keep_the_rate_and_the_bound_lies_above_the_plain_threshold() -> None:
    pairs = made_scores(40, 10).pairs()
    tenth, hundredth = accept_thresholds(pairs, seed=0, rates=(0.01, 0.1), resamples=100)
    assert (tenth.far, hundredth.far) == (0.1, 0.01)
    assert np.mean(pairs.non_mated >= tenth.estimate) <= 0.1 < np.mean(pairs.non_mated >= tenth.estimate - 0.1)
    assert tenth.estimate < tenth.threshold < hundredth.threshold
    different = {tuple(row) for row in pairs.non_mated_subjects.tolist()}
    assert tenth.measured == (0.1 * len(different) >= 30)
    assert hundredth.measured == (0.01 * len(different) >= 30)


def test_false_reject_rate_counts_what_lies_below_the_threshold_and_not_at_it() -> None:
    assert false_reject_rate(np.array([-1.0, -0.5, 0.0, 0.5]), -0.5) == 0.25


def test_halves_never_part_the_clips_of_a_speaker() -> None:
    speakers = [f"s{number // 5}" for number in range(50)]
    for half in halves(speakers, splits=4, seed=0):
        assert all(len(set(half[start : start + 5].tolist())) == 1 for start in range(0, 50, 5))
        assert half.sum() == 25
