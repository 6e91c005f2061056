"""Two heads behind their posteriors: frames that do not agree cancel each other, sequences do not."""

from itertools import product

import numpy as np

from matchka_train.evaluation.late_fusion import by_frame, sequence_choice
from matchka_train.metrics.phone_errors import collapse


def posteriors(labels: list[int], sureness: float) -> np.ndarray:
    logits = np.zeros((len(labels), 4), np.float32)
    logits[range(len(labels)), labels] = sureness
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_by_frame_of_heads_that_place_phones_in_different_frames_loses_them() -> None:
    first, second = posteriors([0, 1, 0, 0, 2, 0], 3.0), posteriors([0, 0, 1, 2, 0, 0], 3.0)
    assert by_frame(first, first, 0.5) == by_frame(second, second, 0.5) == (1, 2)
    # where one head says a phone and a surer one is silent, the mean is silent
    assert by_frame(first, posteriors([0] * 6, 6.0), 0.5) == ()
    assert sequence_choice(first, second).at(0.5) == (1, 2)


def test_sequence_choice_takes_what_the_surer_head_decodes() -> None:
    sure, unsure = posteriors([0, 1, 0, 3, 0], 6.0), posteriors([0, 1, 0, 2, 0], 1.0)
    assert sequence_choice(sure, unsure).at(0.5) == (1, 3)
    assert sequence_choice(unsure, sure).at(0.5) == (1, 3)


def test_sequence_choice_of_heads_that_decode_nothing_is_nothing() -> None:
    silent = posteriors([0, 0, 0], 5.0)
    assert sequence_choice(silent, silent).at(0.5) == ()


def test_sequence_choice_at_a_weight_sums_the_likelihoods_of_all_alignments() -> None:
    first, second = (generator_posteriors(seed) for seed in (0, 1))
    choice = sequence_choice(first, second)
    assert choice.candidates[0] != choice.candidates[1]
    for phones, one, other in zip(choice.candidates, choice.first, choice.second, strict=True):
        np.testing.assert_allclose(
            [one, other], [all_alignments(first, phones), all_alignments(second, phones)], rtol=1e-6
        )
    taken = {choice.at(weight) for weight in (0.0, 1.0)}
    assert taken == set(choice.candidates)  # each head finds its own likelier
    halfway = [(one + other) / 2 for one, other in zip(choice.first, choice.second, strict=True)]
    assert choice.at(0.5) == choice.candidates[int(np.argmax(halfway))]


def generator_posteriors(seed: int) -> np.ndarray:
    logits = 3 * np.random.default_rng(seed).standard_normal((5, 4)).astype(np.float32)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def all_alignments(log_posteriors: np.ndarray, phones: tuple[int, ...]) -> float:
    """Log-probability of a text, path by path."""
    frames, classes = log_posteriors.shape
    paths = (path for path in product(range(classes), repeat=frames) if collapse(np.array(path)) == phones)
    return float(np.log(sum(np.exp(log_posteriors[range(frames), path].sum()) for path in paths)))
