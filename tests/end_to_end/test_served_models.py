"""Real bundles, of which a setting names those that are served."""

from pathlib import Path

import pytest

from matchka.errors import RequestFailedError
from tests.factories.server_process import StartServer, stop


def test_only_the_models_of_the_setting_are_served_and_templates_of_the_others_stay(
    start_server: StartServer, voice_samples: Path, face_samples: Path, tmp_path: Path
):
    voice, face = voice_samples / "librivox" / "0920.wav", face_samples / "obama" / "obama.jpg"
    everything = start_server(tmp_path / "data")
    everything.client().enroll("ada", [voice], "voice")
    everything.client().enroll("ada", [face], "face")
    assert stop(everything.process) == 0

    faces = start_server(tmp_path / "data", MATCHKA_MODELS="face")
    assert [model.name for model in faces.client().models().models] == ["face"]
    assert faces.client().verify("ada", face, "face").match
    with pytest.raises(RequestFailedError) as refused:
        faces.client().verify("ada", voice, "voice")
    assert (refused.value.code, refused.value.value) == ("unknown_model", "voice")
    with pytest.raises(RequestFailedError) as refused:
        faces.client().verify_jointly("ada", voice, face)
    assert (refused.value.code, refused.value.value) == ("unknown_model", "voice+face")
    assert "fusion" not in faces.log.read_text()
    assert stop(faces.process) == 0

    both = start_server(tmp_path / "data", MATCHKA_MODELS="voice,face")
    assert [model.name for model in both.client().models().models] == ["face", "voice"]
    assert both.client().verify_jointly("ada", voice, face).match


def test_start_with_a_model_that_is_not_there_ends_and_says_which_are(start_server: StartServer, tmp_path: Path):
    server = start_server(tmp_path / "data", wait=False, MATCHKA_MODELS="voice,nose")
    assert server.process.wait(60) == 2
    said = " ".join(server.log.read_text().split())
    assert "no bundle of a model that is to be served. (got 'nose')" in said
    assert "Set MATCHKA_MODELS to some of equalizer, face, phonemes, radio, voice" in said
    assert not (tmp_path / "data").exists()
