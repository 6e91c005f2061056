"""The gate of phone heads: what is better passes, and what says nothing or knows nothing does not."""

import numpy as np
import pytest

from matchka_export.errors import GateError, UndecidableError
from matchka_export.phonemes.gate import compare_errors, compare_phrases, require_head_passed
from matchka_train.errors import NoTrialsError
from matchka_train.evaluation.phrases import ReadText, draw_trials, score_trials
from matchka_train.metrics.phone_errors import PhoneErrors, phone_errors
from tests.factories.phoneme_evidence import passed_comparison, phoneme_evidence

PHONES = 12


def made_errors(rate: float, speakers: int = 60, clips_each: int = 6, seed: int = 0) -> PhoneErrors:
    phones = np.random.default_rng(9).integers(10, 20, speakers * clips_each)
    generator = np.random.default_rng(seed)
    who = tuple(f"s{number // clips_each:03}" for number in range(phones.size))
    return PhoneErrors(generator.binomial(phones, rate), phones, who, 0.8)


def test_compare_errors_of_a_better_head_passes_and_states_both_rates() -> None:
    head, floor = made_errors(0.4), made_errors(0.6, seed=1)
    found = compare_errors(head, floor, seed=0)
    assert found.verdict == "passed"
    assert (found.rate, found.floor_rate) == (head.rate, floor.errors.sum() / floor.phones.sum())
    assert head.rate - floor.rate < found.upper < 0
    assert (found.speakers, found.clips) == (60, 360)


def test_compare_errors_of_a_head_as_good_as_the_floor_is_refused() -> None:
    assert compare_errors(made_errors(0.5), made_errors(0.5), seed=0).verdict == "refused"


def test_compare_errors_of_other_clips_raises() -> None:
    with pytest.raises(NoTrialsError, match="same clips"):
        compare_errors(made_errors(0.4), made_errors(0.6, speakers=50), seed=0)


def test_compare_errors_of_few_people_decides_nothing() -> None:
    found = compare_errors(made_errors(0.4, speakers=20), made_errors(0.6, speakers=20, seed=1), seed=0)
    assert found.verdict == "undecidable"


def spoken(phones: tuple[int, ...], sureness: float) -> np.ndarray:
    labels = [label for phone in phones for label in (phone, 0)]
    logits = np.zeros((len(labels), 1 + PHONES), np.float32)
    logits[np.arange(len(labels)), labels] = sureness
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_a_head_that_learned_other_clips_texts_is_refused_in_both() -> None:
    """What shuffled labels leave: a head that says some text, and not that of the clip."""
    generator = np.random.default_rng(0)
    texts = [tuple(generator.integers(1, PHONES + 1, 6).tolist()) for _ in range(360)]
    speakers = [f"s{number // 6:03}" for number in range(360)]
    read = [
        ReadText(tuple(f"w{phone}" for phone in text), [[(phone,)] for phone in text], speaker)
        for text, speaker in zip(texts, speakers, strict=True)
    ]
    shuffled = [texts[number] for number in generator.permutation(360)]
    right, wrong = ([spoken(text, 4.0) for text in said] for said in (texts, shuffled))
    trials = draw_trials(read, seed=0, per_clip=4)
    scores = {name: score_trials(clips, trials).pairs() for name, clips in (("right", right), ("wrong", wrong))}
    errors = {name: phone_errors(clips, texts, speakers) for name, clips in (("right", right), ("wrong", wrong))}
    # even beside a floor that is as bad, a head that knows nothing does not pass
    assert compare_errors(errors["wrong"], errors["right"], seed=0).verdict == "refused"
    assert compare_errors(errors["wrong"], errors["wrong"], seed=0).verdict == "refused"
    assert compare_phrases(scores["wrong"], scores["wrong"], seed=0).verdict == "refused"
    assert compare_phrases(scores["right"], scores["wrong"], seed=0).verdict == "passed"


def test_require_head_passed_accepts_what_passed() -> None:
    require_head_passed(phoneme_evidence())


def test_require_head_passed_names_every_failure() -> None:
    evidence = phoneme_evidence()
    worse = passed_comparison(0.6, 0.6).model_copy(update={"verdict": "refused", "upper": 0.02})
    others = evidence.other_microphones.model_copy(update={"best": 10})
    changed = {"gate": evidence.gate | {"per": worse}, "blank_share": 0.99, "other_microphones": others}
    with pytest.raises(GateError) as raised:
        require_head_passed(evidence.model_copy(update=changed))
    for part in ("per: 60.00 % against 60.00 %", "99.0% of all frames are blank", "10 of 11 clips"):
        assert part in str(raised.value)


def test_require_head_passed_without_one_of_the_comparisons_raises() -> None:
    evidence = phoneme_evidence()
    without = evidence.model_copy(update={"gate": {"per": evidence.gate["per"]}})
    with pytest.raises(GateError, match="in everything") as raised:
        require_head_passed(without)
    assert raised.value.value == "phrase_eer"


def test_require_head_passed_of_too_few_people_raises_undecidable() -> None:
    evidence = phoneme_evidence()
    few = evidence.gate["per"].model_copy(update={"verdict": "undecidable", "speakers": 20})
    with pytest.raises(UndecidableError):
        require_head_passed(evidence.model_copy(update={"gate": evidence.gate | {"per": few}}))
