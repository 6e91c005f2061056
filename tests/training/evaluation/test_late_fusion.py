"""Two heads behind their posteriors: frames that do not agree cancel each other, sequences do not."""

import numpy as np

from matchka_train.evaluation.late_fusion import by_frame, by_sequence


def posteriors(labels: list[int], sureness: float) -> np.ndarray:
    logits = np.zeros((len(labels), 4), np.float32)
    logits[range(len(labels)), labels] = sureness
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_by_frame_of_heads_that_place_phones_in_different_frames_loses_them() -> None:
    first, second = posteriors([0, 1, 0, 0, 2, 0], 3.0), posteriors([0, 0, 1, 2, 0, 0], 3.0)
    assert by_frame(first, first, 0.5) == by_frame(second, second, 0.5) == (1, 2)
    # where one head says a phone and a surer one is silent, the mean is silent
    assert by_frame(first, posteriors([0] * 6, 6.0), 0.5) == ()
    assert by_sequence(first, second, 0.5) == (1, 2)


def test_by_sequence_takes_what_the_surer_head_decodes() -> None:
    sure, unsure = posteriors([0, 1, 0, 3, 0], 6.0), posteriors([0, 1, 0, 2, 0], 1.0)
    assert by_sequence(sure, unsure, 0.5) == (1, 3)
    assert by_sequence(unsure, sure, 0.5) == (1, 3)


def test_by_sequence_of_heads_that_decode_nothing_is_nothing() -> None:
    silent = posteriors([0, 0, 0], 5.0)
    assert by_sequence(silent, silent, 0.5) == ()
