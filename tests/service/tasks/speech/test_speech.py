"""Spoken challenges, pronunciation and transcription over HTTP, with a model that hears tones."""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from matchka.bundles.bundle import sha256_of
from matchka.client import Client
from matchka.errors import RequestFailedError
from tests.factories.bundles import edit_bundle, write_bundle, write_fusion
from tests.factories.graphs import write_graph
from tests.factories.named_numbers import FREQUENCY, GAIN
from tests.factories.samples import RATE_HZ, encoded, sample
from tests.factories.small_server import SmallServer, serving, small_settings
from tests.factories.spoken_tones import (
    CONSONANTS,
    FRAME_SAMPLES,
    LEXICON,
    PHONES,
    hum,
    spoken,
    tone,
    words_of,
    write_phoneme_bundle,
)

OTHERS = ("saasaa", "saasiy", "siysaa", "siysiy", "taataa", "taatiy")
LOW = 0.1  # the made-up voice model knows a person by a threshold that anything alike passes


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    folder = tmp_path_factory.mktemp("speech")
    write_bundle(folder / "models" / "voice")
    write_phoneme_bundle(folder / "models" / "phonemes")
    with serving(small_settings(folder, open_challenges=1000, challenges_per_hour=1000)) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: SmallServer) -> Iterator[Client]:
    """Ada is enrolled with what she says in these tests, eve with something unlike it."""
    with server.client() as opened:
        opened.enroll("ada", [clip(OTHERS)])
        opened.enroll("eve", [sample(2)])
        yield opened


def clip(words: tuple[str, ...] | list[str], **how: int) -> bytes:
    return encoded(spoken(words, **how), subtype="FLOAT")


def refused(call: Callable[[], object]) -> RequestFailedError:
    with pytest.raises(RequestFailedError) as error:
        call()
    return error.value


def test_verify_with_the_phrase_of_the_challenge_matches_person_and_phrase(client: Client):
    given = client.challenge("ada")
    words = given.phrase.split()
    assert len(set(words)) == 6
    assert set(words) <= set(words_of())
    answer = client.verify("ada", clip(words), max_fmr=LOW, challenge_id=given.challenge_id)
    assert answer.phrase is not None
    assert (answer.phrase.match, answer.phrase.threshold, answer.phrase.max_far) == (True, -1.0, 1e-2)
    assert answer.phrase.llr == round(answer.phrase.llr, 2) > -0.2
    assert answer.similarity >= answer.threshold
    assert answer.match


def test_verify_of_the_same_person_saying_something_else_matches_the_person_only(client: Client):
    given = client.challenge("ada")
    answer = client.verify("ada", clip(OTHERS), max_fmr=LOW, challenge_id=given.challenge_id)
    assert answer.similarity >= answer.threshold
    assert answer.phrase is not None
    assert not answer.phrase.match
    assert not answer.match
    alone = client.verify("ada", clip(OTHERS), max_fmr=LOW)
    assert (alone.match, alone.phrase) == (True, None)


def test_verify_of_another_person_with_the_right_phrase_matches_the_phrase_only(client: Client):
    given = client.challenge("eve")
    answer = client.verify("eve", clip(given.phrase.split()), challenge_id=given.challenge_id)
    assert answer.phrase is not None
    assert answer.phrase.match
    assert answer.similarity < answer.threshold
    assert not answer.match


def test_verify_says_nothing_of_single_words(client: Client):
    given = client.challenge("ada")
    answer = client.verify("ada", clip(given.phrase.split()), challenge_id=given.challenge_id)
    assert set(answer.model_dump()["phrase"]) == {"match", "llr", "threshold", "threshold_measured", "max_far"}


def test_verify_with_a_challenge_that_failed_before_is_refused(client: Client):
    given = client.challenge("ada")
    client.verify("ada", clip(OTHERS), challenge_id=given.challenge_id)
    again = refused(lambda: client.verify("ada", clip(given.phrase.split()), challenge_id=given.challenge_id))
    assert (again.status, again.code) == (409, "challenge_not_redeemable")


def test_verify_with_an_unusable_clip_uses_the_challenge_up(client: Client):
    given = client.challenge("ada")
    assert refused(lambda: client.verify("ada", b"no audio", challenge_id=given.challenge_id)).code == "not_audio"
    again = refused(lambda: client.verify("ada", clip(given.phrase.split()), challenge_id=given.challenge_id))
    assert again.code == "challenge_not_redeemable"


def test_verify_with_unknown_used_and_foreign_challenges_answers_the_same_bytes(server: SmallServer, client: Client):
    used, foreign = client.challenge("ada"), client.challenge("eve")
    client.verify("ada", clip(OTHERS), challenge_id=used.challenge_id)
    bodies, headers = set(), set()
    for challenge_id in (used.challenge_id, foreign.challenge_id, "0" * 32, "", "a b"):
        answer = requests.post(
            f"{server.url}/v1/verify",
            data={"model": "voice", "subject_id": "ada", "challenge_id": challenge_id},
            files={"file": clip(OTHERS)},
            timeout=20,
        )
        assert answer.status_code == 409
        bodies.add(answer.content.replace(answer.headers["X-Request-ID"].encode(), b""))
        of_each = ("date", "x-request-id", "matchka-request-id")  # whatever was asked
        headers.add(tuple((name, value) for name, value in answer.headers.items() if name.lower() not in of_each))
    assert (len(bodies), len(headers)) == (1, 1)
    unknown_subject = refused(lambda: client.verify("nobody", clip(OTHERS), challenge_id=foreign.challenge_id))
    assert unknown_subject.code == "challenge_not_redeemable"


@pytest.mark.parametrize(
    ("what", "code"),
    [
        (encoded(hum(20), subtype="FLOAT"), "duration_mismatch"),
        (encoded(hum(510), subtype="FLOAT"), "duration_mismatch"),
        (encoded(np.zeros(3 * RATE_HZ, np.float32)), "silence"),
    ],
)
def test_verify_of_what_cannot_be_the_phrase_is_refused_before_it_is_scored(client: Client, what: bytes, code: str):
    given = client.challenge("ada", words=4)
    assert refused(lambda: client.verify("ada", what, challenge_id=given.challenge_id)).code == code


def test_verify_of_noise_hum_and_reversed_phrases_never_matches_a_phrase(client: Client):
    generator = np.random.default_rng(1)
    for _ in range(10):
        given = client.challenge("ada")
        right = spoken(given.phrase.split())
        noise = generator.normal(0, 0.1, right.size).astype(np.float32)
        for wrong in (right[::-1].copy(), noise, np.resize(hum(10), right.size)):
            challenge = client.challenge("ada")
            answer = client.verify("ada", encoded(wrong, subtype="FLOAT"), challenge_id=challenge.challenge_id)
            assert answer.phrase is not None
            assert not answer.phrase.match


def test_challenges_of_a_subject_have_at_most_two_words_in_common_and_differ_in_four(client: Client):
    client.enroll("often-asked", [sample(7)])
    phrases = [set(client.challenge("often-asked", words=words).phrase.split()) for words in (4, 6, 10) * 20]
    assert [len(phrase) for phrase in phrases[:3]] == [4, 6, 10]
    for number, phrase in enumerate(phrases):
        most = min(2, len(phrase) - 4)
        assert all(len(phrase & earlier) <= most for earlier in phrases[max(0, number - 50) : number])


@pytest.mark.parametrize("least", [None, -0.05])
def test_verify_of_a_clip_in_which_every_phone_is_heard_at_once_passes_only_where_nobody_measured_that(
    tmp_path: Path, least: float | None
):
    write_bundle(tmp_path / "models" / "voice")
    write_phoneme_bundle(tmp_path / "models" / "phonemes", least_free_log_posterior=least)
    with serving(small_settings(tmp_path)) as running, running.client() as own:
        own.enroll("ada", [clip(OTHERS)])
        given = own.challenge("ada")
        said = spoken(given.phrase.split())
        loud = np.concatenate([sum(tone(phone) for phone in PHONES) / 3, hum(3)])
        babble = np.roll(np.resize(loud, said.size), 3 * FRAME_SAMPLES).astype(np.float32)
        answer = own.verify("ada", encoded(babble, subtype="FLOAT"), challenge_id=given.challenge_id)
        assert answer.phrase is not None
        assert answer.phrase.llr > answer.phrase.threshold
        assert answer.phrase.match == (least is None)
        given = own.challenge("ada")
        right = own.verify("ada", clip(given.phrase.split()), challenge_id=given.challenge_id)
        assert right.phrase is not None
        assert right.phrase.match


def test_verify_and_pronounce_of_an_overdriven_clip_are_refused_where_the_bundle_has_a_limit(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    write_phoneme_bundle(tmp_path / "models" / "phonemes", least_kurtosis=1.5)
    with serving(small_settings(tmp_path)) as running, running.client() as own:
        own.enroll("ada", [clip(OTHERS)])
        given = own.challenge("ada")
        said = spoken(given.phrase.split())
        flat = encoded(np.clip(200 * said, -0.5, 0.5).astype(np.float32), subtype="FLOAT")
        answer = refused(lambda: own.verify("ada", flat, challenge_id=given.challenge_id))
        assert (answer.status, answer.code) == (422, "distorted_clip")
        assert 1.0 <= float(str(answer.value)) < 1.5
        assert refused(lambda: own.pronounce(flat, given.phrase)).code == "distorted_clip"
        assert own.pronounce(encoded(said, subtype="FLOAT"), given.phrase).phrase.match
        used = refused(lambda: own.verify("ada", clip(OTHERS), challenge_id=given.challenge_id))
        assert used.code == "challenge_not_redeemable"


def test_challenge_of_nobody_is_refused(client: Client):
    assert refused(lambda: client.challenge("nobody")).code == "unknown_subject"


@pytest.mark.parametrize("words", [3, 11, 0, -1])
def test_challenge_of_too_few_or_many_words_is_refused(client: Client, words: int):
    assert refused(lambda: client.challenge("ada", words=words)).code == "invalid_field"


@pytest.mark.parametrize("max_far", [1e-4, 9e-4])
def test_verify_with_a_rate_below_what_was_measured_is_refused_and_leaves_the_challenge_usable(
    client: Client, max_far: float
):
    given = client.challenge("ada")
    said = clip(given.phrase.split())
    answer = refused(lambda: client.verify("ada", said, challenge_id=given.challenge_id, max_far=max_far))
    assert (answer.code, answer.value) == ("invalid_field", str(max_far))
    right = client.verify("ada", said, challenge_id=given.challenge_id)  # nothing was looked at: it is not used up
    assert right.phrase is not None
    assert right.phrase.match


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"model": "phonemes"}, "output_not_available"),
        ({"model": "nothing"}, "unknown_model"),
        ({"dim": 3}, "untrained_dim"),
        ({"face": "only"}, "invalid_field"),
    ],
)
def test_verify_with_what_no_sample_could_make_right_is_refused_and_leaves_the_challenge_usable(
    client: Client, how: dict[str, Any], code: str
):
    given = client.challenge("ada")
    said = clip(given.phrase.split())
    assert refused(lambda: client.verify("ada", said, challenge_id=given.challenge_id, **how)).code == code
    assert client.verify("ada", said, max_fmr=LOW, challenge_id=given.challenge_id).match


def test_verify_jointly_of_a_fusion_that_is_not_served_leaves_the_challenge_usable(client: Client):
    given = client.challenge("ada")
    said = clip(given.phrase.split())
    assert (
        refused(lambda: client.verify_jointly("ada", said, said, challenge_id=given.challenge_id)).code
        == "unknown_model"
    )
    assert client.verify("ada", said, max_fmr=LOW, challenge_id=given.challenge_id).match


def test_verify_with_several_files_where_no_such_challenge_is_offered_is_refused_and_leaves_it_usable(
    server: SmallServer, client: Client
):
    given = client.challenge("ada")
    said = clip(given.phrase.split())
    form = {"model": "voice", "subject_id": "ada", "challenge_id": given.challenge_id}
    files = [("file", ("a.wav", said))] * 3
    answer = requests.post(f"{server.url}/v1/verify", data=form, files=files, timeout=20).json()
    assert (answer["code"], answer["value"]) == ("invalid_field", "3 for voice")
    assert client.verify("ada", said, max_fmr=LOW, challenge_id=given.challenge_id).match
    del form["challenge_id"]
    answer = requests.post(f"{server.url}/v1/verify", data=form, files=files, timeout=20).json()
    assert answer["detail"] == "The field file is given 3 times."


def test_challenge_of_a_kind_that_is_not_offered_is_refused(client: Client):
    answer = refused(lambda: client.head_turn("ada"))
    assert (answer.status, answer.code, answer.value) == (422, "invalid_field", "head_turn")
    assert "MATCHKA_HEAD_TURN" in answer.remedy


def test_verify_with_a_rate_between_points_keeps_the_lower(client: Client):
    given = client.challenge("ada")
    answer = client.verify("ada", clip(OTHERS), challenge_id=given.challenge_id, max_far=5e-3)
    assert answer.phrase is not None
    assert (answer.phrase.max_far, answer.phrase.threshold, answer.phrase.threshold_measured) == (1e-3, -0.5, False)


def test_verify_with_a_rate_of_phrases_and_no_challenge_is_refused(client: Client):
    assert refused(lambda: client.verify("ada", clip(OTHERS), max_far=1e-2)).code == "invalid_field"


def test_challenge_beyond_the_rate_answers_429_and_when_to_come_again(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    write_phoneme_bundle(tmp_path / "models" / "phonemes")
    settings = small_settings(tmp_path, open_challenges=1, challenges_per_hour=1)
    with serving(settings) as running, running.client() as own:
        own.enroll("ada", [clip(OTHERS)])
        given = own.challenge("ada")
        for least_s, most_s in ((50, 60), (3550, 3600)):  # it is open, and then it was redeemed
            answer = requests.post(f"{running.url}/v1/challenges", json={"subject_id": "ada"}, timeout=20)
            assert (answer.status_code, answer.json()["code"]) == (429, "too_many_challenges")
            assert least_s < int(answer.headers["retry-after"]) <= most_s
            with contextlib.suppress(RequestFailedError):
                own.verify("ada", clip(OTHERS), challenge_id=given.challenge_id)


def test_challenge_that_expired_is_refused(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    write_phoneme_bundle(tmp_path / "models" / "phonemes")
    with serving(small_settings(tmp_path, challenge_lifetime_s=0.001)) as running, running.client() as own:
        own.enroll("ada", [clip(OTHERS)])
        given = own.challenge("ada")
        late = refused(lambda: own.verify("ada", clip(given.phrase.split()), challenge_id=given.challenge_id))
        assert late.code == "challenge_not_redeemable"


@pytest.mark.parametrize("names", [(), ("one", "two")])
def test_challenge_without_exactly_one_model_to_hear_it_says_what_to_do(tmp_path: Path, names: tuple[str, ...]):
    write_bundle(tmp_path / "models" / "voice")
    for name in names:
        write_phoneme_bundle(tmp_path / "models" / name, name)
    with serving(small_settings(tmp_path)) as running, running.client() as own:
        own.enroll("ada", [sample(1)])
        answer = refused(lambda: own.challenge("ada"))
        assert own.models().challenges == []
    assert (answer.status, answer.code) == (422, "output_not_available")
    assert ("MATCHKA_CHALLENGE_MODEL" if names else "matchka-export defaults") in answer.remedy


def test_challenge_with_a_model_that_the_settings_name_is_heard_by_it(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    for name in ("one", "two"):
        write_phoneme_bundle(tmp_path / "models" / name, name)
    with serving(small_settings(tmp_path, challenge_model="two")) as running, running.client() as own:
        own.enroll("ada", [clip(OTHERS)])
        assert own.models().challenges == ["phrase"]
        given = own.challenge("ada")
        answer = own.verify("ada", clip(given.phrase.split()), max_fmr=LOW, challenge_id=given.challenge_id)
        assert answer.match


def test_pronounce_of_the_right_text_has_high_ratios_everywhere(client: Client):
    answer = client.pronounce(clip(["either", "baabiy"]), "Either: 'baabiy'!")
    assert [word.word for word in answer.words] == ["either", "baabiy"]
    assert [phone.phone for phone in answer.words[0].phones] == ["IY", "D"]
    assert all(phone.llr > -0.5 for word in answer.words for phone in word.phones)
    assert answer.phrase.match
    assert not answer.phrase.threshold_measured  # nobody measured phrases of two words
    assert answer.accuracy is None


def test_pronounce_of_the_second_pronunciation_shows_that_one(client: Client):
    answer = client.pronounce(clip(["either", "baabiy"], choice=1), "either baabiy")
    assert [phone.phone for phone in answer.words[0].phones] == ["AA", "D"]
    assert answer.words[0].llr > -0.5


def test_pronounce_of_one_wrong_phone_is_lowest_there(client: Client):
    answer = client.pronounce(clip(["baabiy", "daamiy", "kaakiy"]), "baabiy daatiy kaakiy")
    assert min(answer.words, key=lambda word: word.llr).word == "daatiy"
    wrong = answer.words[1].phones
    assert min(wrong, key=lambda phone: phone.llr).phone == "T"
    assert answer.phrase.llr < -0.9


def test_pronounce_of_unknown_words_names_them(client: Client):
    answer = refused(lambda: client.pronounce(clip(OTHERS), "saasaa zebra quagga saasiy zebra"))
    assert (answer.status, answer.code, answer.value) == (422, "unknown_words", "zebra, quagga")


@pytest.mark.parametrize("text", ["!?", "-- --"])
def test_pronounce_of_a_text_without_words_is_refused(client: Client, text: str):
    assert refused(lambda: client.pronounce(clip(OTHERS), text)).code == "empty_text"


@pytest.mark.parametrize("count", [1, 60])
def test_pronounce_of_a_text_that_cannot_last_so_long_is_refused(client: Client, count: int):
    quiet = encoded(np.concatenate([spoken(OTHERS), hum(200)]), subtype="FLOAT")
    assert refused(lambda: client.pronounce(quiet, "me " * count)).code == "duration_mismatch"


def test_pronounce_of_a_text_that_no_clip_can_hold_is_refused(client: Client):
    answer = refused(lambda: client.pronounce(clip(OTHERS), "me " * 300))
    assert (answer.code, answer.value) == ("duration_mismatch", "600 phones")


def test_pronounce_with_a_model_that_hears_no_phones_is_refused(client: Client):
    assert refused(lambda: client.pronounce(clip(OTHERS), "me", model="voice")).code == "output_not_available"


def test_transcribe_returns_the_phones_that_were_said(client: Client):
    said = [phone for word in OTHERS for phone in LEXICON[word][0]]
    assert client.transcribe(clip(OTHERS)).phones == said
    assert re.fullmatch("[A-Z ]+", " ".join(said))
    assert set(said) & set(CONSONANTS)


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Ada with two models and their fusion; "face" takes clips too: only the decision is of interest here."""
    folder = tmp_path_factory.mktemp("joint")
    write_bundle(folder / "models" / "voice")
    write_bundle(folder / "models" / "face", "face", seed=8)
    write_phoneme_bundle(folder / "models" / "phonemes")
    write_fusion(folder / "models" / "voice+face")
    with (
        serving(small_settings(folder, open_challenges=1000, challenges_per_hour=1000)) as running,
        running.client() as opened,
    ):
        for name in ("voice", "face"):
            opened.enroll("ada", [clip(OTHERS)], name)
        yield opened


def test_verify_jointly_with_a_challenge_matches_where_both_parts_and_the_phrase_do(joint: Client):
    how = {"max_fmr": 0.1, "max_fmr_each": 0.1}
    given = joint.challenge("ada")
    right = joint.verify_jointly(
        "ada", clip(given.phrase.split()), clip(OTHERS), challenge_id=given.challenge_id, **how
    )
    assert right.phrase is not None
    assert (right.match, right.phrase.match) == (True, True)
    assert all(part.phrase is None for part in right.parts.values())
    given = joint.challenge("ada")
    wrong = joint.verify_jointly(
        "ada", clip(OTHERS), clip(given.phrase.split()), challenge_id=given.challenge_id, **how
    )
    assert wrong.phrase is not None
    assert (wrong.match, wrong.phrase.match, wrong.similarity >= wrong.threshold) == (False, False, True)
    again = refused(lambda: joint.verify_jointly("ada", clip(OTHERS), clip(OTHERS), challenge_id=given.challenge_id))
    assert again.code == "challenge_not_redeemable"


def test_verify_jointly_with_a_challenge_and_only_the_sum_is_refused_and_leaves_it_usable(joint: Client):
    given = joint.challenge("ada")
    said, how = clip(given.phrase.split()), {"max_fmr": 0.1, "challenge_id": given.challenge_id}
    answer = refused(lambda: joint.verify_jointly("ada", said, clip(OTHERS), require="sum", **how))
    assert (answer.status, answer.code, answer.value) == (422, "invalid_field", "sum")
    assert joint.verify_jointly("ada", said, clip(OTHERS), max_fmr_each=0.1, **how).match


def test_verify_of_numbers_with_a_challenge_is_refused_and_leaves_it_usable(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    write_phoneme_bundle(tmp_path / "models" / "phonemes")
    numbers = write_bundle(
        tmp_path / "models" / "numbers", "numbers", input={"kind": "tabular", "fields": [FREQUENCY, GAIN]}
    )
    write_graph(numbers / "model.onnx", input_name="values", window=2)
    edit_bundle(numbers, lambda manifest: manifest["files"].update({"model.onnx": sha256_of(numbers / "model.onnx")}))
    with serving(small_settings(tmp_path)) as running, running.client() as own:
        own.enroll("ada", [clip(OTHERS)])
        given = own.challenge("ada")
        wrong = refused(lambda: own.verify("ada", b"{}", "numbers", challenge_id=given.challenge_id))
        assert (wrong.code, wrong.value) == ("invalid_field", "1 for numbers")
        assert wrong.remedy == "Send for phrase one recording of the words, and one file for any other model."
        right = own.verify("ada", clip(given.phrase.split()), max_fmr=LOW, challenge_id=given.challenge_id)
        assert right.match
