"""Enrolment of what is no voice, or no new sample, against the default models."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from matchka.errors import RequestFailedError
from tests.factories.not_speech import MAKERS, RATE_HZ, sounds
from tests.factories.samples import encoded
from tests.factories.server_process import RunningServer


def as_wav(samples: np.ndarray) -> bytes:
    return encoded(samples, RATE_HZ, subtype="PCM_16")


def as_flac(path: Path) -> bytes:
    samples, rate_hz = soundfile.read(path, dtype="int16")
    return encoded(samples, rate_hz, "FLAC", "PCM_16")


def subjects(server: RunningServer) -> set[str]:
    return {one.subject_id for one in server.client().subjects(limit=1000).subjects}


def refused_code(server: RunningServer, subject: str, samples: list[bytes | Path], model: str = "voice") -> str:
    with pytest.raises(RequestFailedError) as refused:
        server.client().enroll(subject, samples, model)
    return f"{refused.value.status} {refused.value.code}"


@pytest.mark.parametrize("name", MAKERS)
def test_enroll_of_a_sound_that_is_no_voice_is_refused_and_stores_nothing(server: RunningServer, name: str) -> None:
    (sound,) = sounds(21, 1, {name: MAKERS[name]})
    assert refused_code(server, "no-voice", [as_wav(sound.samples)]) == "422 no_speech"
    assert "no-voice" not in subjects(server)


def test_enroll_of_a_voice_with_a_hum_beside_it_names_the_file_and_stores_nothing(
    server: RunningServer, voice_samples: Path
) -> None:
    (hum,) = sounds(22, 1, {"hum": MAKERS["hum of 50 Hz"]})
    with pytest.raises(RequestFailedError, match=r"File 2 of 2") as refused:
        server.client().enroll("half-voice", [voice_samples / "cards" / "001.wav", as_wav(hum.samples)])
    assert refused.value.code == "no_speech"
    assert "half-voice" not in subjects(server)


def test_silence_and_a_short_sound_keep_codes_of_their_own(server: RunningServer) -> None:
    noise = np.random.default_rng(3).normal(0, 0.1, 2 * RATE_HZ)
    assert refused_code(server, "quiet", [as_wav(0 * noise)]) == "422 silence"
    assert refused_code(server, "quiet", [as_wav(noise[: RATE_HZ // 4])]) == "422 too_little_speech"


def test_probe_that_is_no_voice_is_answered_because_only_enrolment_looks_so_closely(server: RunningServer) -> None:
    (noise,) = sounds(23, 1, {"noise": MAKERS["white noise"]})
    assert len(server.client().embed([as_wav(noise.samples)]).embeddings) == 1


def test_every_sample_of_a_voice_enrols(server: RunningServer, voice_samples: Path) -> None:
    client = server.client()
    clips = sorted(voice_samples.rglob("*.wav"))
    # by force: they are of several people
    assert client.enroll("everybody", list(clips), force=True).template_count == len(clips) >= 15
    client.delete_subject("everybody")


def test_enroll_of_a_duplicate_clip_or_a_lossless_copy_is_refused(server: RunningServer, voice_samples: Path) -> None:
    client = server.client()
    first, second = sorted((voice_samples / "librivox").glob("*.wav"))[:2]
    client.enroll("twice", [first])
    assert refused_code(server, "twice", [first]) == "409 duplicate_sample"
    assert refused_code(server, "twice", [second, as_flac(first)]) == "409 duplicate_sample"
    assert refused_code(server, "twice-in-one", [first, second, first]) == "409 duplicate_sample"
    assert "twice-in-one" not in subjects(server)
    assert client.enroll("twice", [second]).template_count == 2
    client.delete_subject("twice")


def test_enroll_of_a_duplicate_picture_is_refused_and_another_of_the_person_is_not(
    server: RunningServer, face_samples: Path
) -> None:
    client = server.client()
    first, second = sorted((face_samples / "obama").glob("*.jpg"))[:2]
    client.enroll("twice-seen", [first], "face")
    assert refused_code(server, "twice-seen", [first], "face") == "409 duplicate_sample"
    assert client.enroll("twice-seen", [second], "face").template_count == 2
    client.delete_subject("twice-seen")
