"""The detector of speech goes into bundles of voices at its own sample rate, as its makers published it."""

import hashlib
from pathlib import Path

import pytest
from rich.console import Console

from matchka.modalities.modality import InputSpec
from matchka_export.gate.speech_activity import write_speech_activity
from matchka_train.backbones.face.dlib import DlibFace
from matchka_train.backbones.speaker.ge2e import GE2E_INPUT
from matchka_train.errors import DownloadError
from tests.factories.checkout import ROOT

DOWNLOADS = ROOT / "build" / "downloads"
QUIET = Console(quiet=True)


def test_write_speech_activity_for_voices_at_16_khz_writes_the_pinned_file_and_names_it(tmp_path: Path) -> None:
    try:
        found = write_speech_activity(GE2E_INPUT, tmp_path, DOWNLOADS, QUIET)
    except DownloadError as error:
        pytest.skip(f"the detector of speech is neither in the cache nor to be fetched: {error}")
    assert found is not None
    source = found.sources["speech.onnx"]
    assert hashlib.sha256((tmp_path / "speech.onnx").read_bytes()).hexdigest() == source.sha256
    assert (found.kind, source.licence) == ("silero", "MIT")


@pytest.mark.parametrize(
    "spec", [DlibFace().input, GE2E_INPUT.model_copy(update={"sample_rate_hz": 8000})], ids=["face", "8 kHz"]
)
def test_write_speech_activity_for_what_the_detector_does_not_take_writes_and_fetches_nothing(
    tmp_path: Path, spec: InputSpec
) -> None:
    assert write_speech_activity(spec, tmp_path / "bundle", tmp_path / "downloads", QUIET) is None
    assert list(tmp_path.iterdir()) == []
