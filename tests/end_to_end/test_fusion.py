"""Voice and face together over real HTTP: one decision from two calibrated ratios."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from service.errors import RequestFailedError
from tests.server_process import RunningServer


@pytest.fixture(scope="module")
def enrolled(server: RunningServer, voice_samples: Path, face_samples: Path) -> Iterator[str]:
    client = server.client()
    client.enroll("fused", sorted((voice_samples / "librivox").glob("*.wav"))[:3], "voice")
    client.enroll("fused", sorted((face_samples / "obama").glob("*.jpg"))[:2], "face")
    yield "fused"
    client.delete_subject("fused")


@pytest.mark.parametrize(
    ("clip", "picture", "match"),
    [
        ("librivox/0920.wav", "obama/obama3.jpg", True),
        ("cards/005.wav", "biden/biden.jpg", False),
    ],
)
def test_verify_on_both_equals_the_weighted_sum_of_the_parts(
    server: RunningServer,
    models_dir: Path,
    voice_samples: Path,
    face_samples: Path,
    enrolled: str,
    clip: str,
    picture: str,
    match: bool,
) -> None:
    client = server.client()
    answer = client.verify_jointly(enrolled, voice_samples / clip, face_samples / picture)
    fusion = json.loads((models_dir / "voice+face" / "fusion.json").read_text())
    fused = fusion["offset"]
    templates = {"voice": "3", "face": "2"}
    for model in client.models().models:
        part = answer.parts[model.name]
        assert part.probability is not None
        calibration = model.per_dim[str(model.full_dim)].calibration[templates[model.name]]
        ratio = calibration.scale * part.similarity + calibration.offset
        assert part.probability == pytest.approx(1 / (1 + math.exp(-ratio)), abs=1e-6)
        fused += fusion["weights"][model.name] * ratio
    assert answer.probability == pytest.approx(1 / (1 + math.exp(-fused)), abs=1e-6)
    assert answer.match is match
    assert answer.match == (answer.similarity >= answer.threshold)


def test_verify_on_both_without_one_of_the_files_is_refused(
    server: RunningServer, voice_samples: Path, enrolled: str
) -> None:
    clip = (voice_samples / "cards" / "001.wav").read_bytes()
    answer = requests.post(
        f"{server.url}/v1/verify",
        data={"model": "voice+face", "subject_id": enrolled},
        files={"voice_file": ("a", clip)},
        timeout=60,
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "missing_field")


def test_verify_on_both_of_a_subject_without_a_face_is_refused(
    server: RunningServer, voice_samples: Path, face_samples: Path
) -> None:
    client = server.client()
    clip = voice_samples / "cards" / "005.wav"
    client.enroll("voice-only", [clip], "voice")
    with pytest.raises(RequestFailedError) as refused:
        client.verify_jointly("voice-only", clip, face_samples / "biden" / "biden.jpg")
    assert (refused.value.status, refused.value.code) == (404, "not_enrolled")
    client.delete_subject("voice-only")
