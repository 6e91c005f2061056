"""Decisions on phrases: thresholds by rate, and clips that are heard poorly or say more than the text."""

import numpy as np
import pytest

from matchka.bundles.outputs.phoneme_posteriors import PhonemePosteriorsOutput
from matchka.phrases.scores import free_log_posterior, heard_share
from matchka.tasks.speech.phrase import decide_phrase
from matchka.vectors import FloatArray
from tests.factories.spoken_tones import phoneme_output

TEXT = [[(1, 2)], [(3, 4)], [(5, 6)], [(7, 8)]]
BOUNDS = {"clear_free_log_posterior": -0.3, "least_share": 0.7, "most_share": 1.3}


def clip_of(labels: list[int], certainty: float = 0.9) -> FloatArray:
    """One frame for each label, which is as likely as `certainty` in each; the rest is dealt evenly."""
    rest = (1 - certainty) / 8
    likely = np.full((len(labels), 9), rest, np.float32)
    likely[range(len(labels)), labels] = certainty
    return np.log(likely)


def output_with(**changes: object) -> PhonemePosteriorsOutput:
    return PhonemePosteriorsOutput.model_validate(phoneme_output(**changes))


RIGHT = [1, 2, 3, 4, 5, 6, 7, 8]
HALF = [1, 0, 3, 0, 5, 0, 7, 0]
MORE = [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3]


@pytest.mark.parametrize(("labels", "share"), [(RIGHT, 1.0), (HALF, 0.5), (MORE, 11 / 8), ([0, 1, 1, 0, 1, 0], 0.25)])
def test_heard_share_counts_what_the_likeliest_labels_say(labels: list[int], share: float) -> None:
    assert heard_share(clip_of(labels), TEXT) == share


def test_decide_phrase_of_a_clear_clip_takes_the_point_of_the_rate_that_was_asked() -> None:
    found = decide_phrase(clip_of(RIGHT), TEXT, output_with(heard=BOUNDS), 1e-2)
    assert (found.far, found.threshold, found.is_possible, found.match) == (1e-2, -1.0, True, True)


@pytest.mark.parametrize(("labels", "certainty"), [(HALF, 0.9), (RIGHT, 0.7)])
def test_decide_phrase_of_a_doubtful_clip_takes_the_point_of_the_lowest_rate(
    labels: list[int], certainty: float
) -> None:
    clip = clip_of(labels, certainty)
    assert heard_share(clip, TEXT) < 0.7 or free_log_posterior(clip) < -0.3
    found = decide_phrase(clip, TEXT, output_with(heard=BOUNDS), 1e-2)
    assert (found.far, found.threshold, found.measured, found.is_possible) == (1e-3, -0.5, False, True)
    assert decide_phrase(clip, TEXT, output_with(), 1e-2).far == 1e-2


def test_decide_phrase_of_a_clip_that_says_more_than_the_text_never_matches() -> None:
    loose = {str(words): [{"far": 1e-2, "threshold": -50.0, "measured": True}] for words in range(4, 11)}
    found = decide_phrase(clip_of(MORE), TEXT, output_with(heard=BOUNDS, phrase_points=loose), 1e-2)
    assert found.llr > found.threshold
    assert not found.match
    assert decide_phrase(clip_of(MORE), TEXT, output_with(phrase_points=loose), 1e-2).match
