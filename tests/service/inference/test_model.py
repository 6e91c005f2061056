"""A bundle at work: whole files to full embeddings, against a slow recomputation."""

import ctypes
import dataclasses
import gc
import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from matchka.bundles.bundle import read_bundle
from matchka.errors import (
    BundleError,
    MatchkaError,
    NonFiniteEmbeddingError,
    NoSpeechError,
    SilenceError,
    TooLittleSpeechError,
)
from matchka.inference import session
from matchka.inference.model import Model, open_model
from matchka.inference.session import NamedArrays
from matchka.settings import Settings
from matchka.tasks.embedding.embedding import embed
from tests.factories.bundles import edit_bundle, write_bundle
from tests.factories.checkout import ROOT
from tests.factories.graphs import OUTPUTS, write_graph
from tests.factories.samples import encoded, sample, voice
from tests.factories.scorers import covariances, write_scored_bundle
from tests.factories.slow_embedding import embedding_of
from tests.factories.small_server import small_settings


def embedded(model: Model, samples: list[bytes]) -> np.ndarray:
    """Embeddings of probes that are read as by default."""
    return embed(model, samples, model.options_for("probe", {})).vectors


@pytest.fixture
def model(settings: Settings) -> Model:
    return open_model(read_bundle(settings.models_dir / "voice"), settings)


class MallocStatistics(ctypes.Structure):
    """What mallinfo2() of the C library answers."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    ]


MEASURED = """
import json, sys
from pathlib import Path
from matchka.bundles.bundle import read_bundle
from matchka.inference.model import open_model
from matchka.settings import read_settings
from tests.service.inference.test_model import allocated_bytes

models_dir, other, name = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
settings = read_settings({}, models_dir=models_dir)
first = open_model(read_bundle(models_dir / other), settings)  # what the libraries keep for themselves
before = allocated_bytes()
model = open_model(read_bundle(models_dir / name), settings)
print(json.dumps([model.graph_bytes, allocated_bytes() - before]))
model.close()
first.close()
"""


def allocated_bytes() -> int:
    """Memory that this process has asked the C library for and not given back."""
    read = ctypes.CDLL(None).mallinfo2
    read.restype = MallocStatistics
    gc.collect()
    found = read()
    return int(found.uordblks + found.hblkhd)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="the C library does not count its memory")
@pytest.mark.parametrize(("other", "name"), [("face", "voice"), ("voice", "face")])
def test_graph_bytes_are_what_opening_the_bundle_allocates(models_dir: Path, other: str, name: str):
    command = [sys.executable, "-c", MEASURED, str(models_dir), other, name]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    claimed, measured = json.loads(done.stdout)
    assert 0.7 < measured / claimed < 1.4, (claimed, measured)


@pytest.mark.parametrize(
    ("cores", "expected"), [(1, [(1, False)]), (2, [(1, False), (2, True)]), (4, [(1, False), (2, True)])]
)
def test_lone_runs_have_two_threads_that_stay_awake_where_there_are_two_cores(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, cores: int, expected: list[tuple[int, bool]]
):
    opened = []
    real = session.open_ort_session

    def noting(path: Path, threads: int, *arguments: Any, spins: bool, **more: Any) -> Any:
        opened.append((threads, spins))
        return real(path, threads, *arguments, spins=spins, **more)

    monkeypatch.setattr(session, "open_ort_session", noting)
    open_model(read_bundle(settings.models_dir / "voice"), settings.model_copy(update={"cores": cores})).close()
    assert opened == expected


@pytest.mark.parametrize("seconds", [0.6, 1.0, 1.2345, 3.0])
def test_embed_of_clips_of_any_length_equals_slow_recomputation(model: Model, seconds: float):
    found = embedded(model, [sample(1, 0, seconds), sample(2, 0, seconds)])
    expected = [embedding_of(voice(person, 0, seconds)) for person in (1, 2)]
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_embed_of_more_windows_than_one_run_takes_averages_all_of_them(model: Model):
    clip = np.concatenate([voice(1, 0, 2.0), voice(2, 0, 2.0)])  # 80 windows, runs of 32
    np.testing.assert_allclose(embedded(model, [encoded(clip, subtype="FLOAT")])[0], embedding_of(clip), atol=2e-5)


def test_embed_does_not_depend_on_the_other_files_of_the_request(model: Model):
    files = [sample(person, 0, 0.6 + 0.3 * person) for person in range(5)]
    together = embedded(model, files)
    np.testing.assert_allclose(together, np.concatenate([embedded(model, [file]) for file in files]), atol=1e-6)


def test_embed_of_a_quiet_recording_equals_that_of_a_louder_one_below_the_level(model: Model):
    clip = voice(3) / np.sqrt(np.mean(voice(3) ** 2))
    quiet, louder = (encoded(clip * np.float32(rms), subtype="FLOAT") for rms in (0.001, 0.02))
    np.testing.assert_allclose(embedded(model, [quiet]), embedded(model, [louder]), atol=1e-5)


def test_embed_with_one_bad_file_of_several_says_which(model: Model):
    with pytest.raises(SilenceError, match=r"^File 2 of 3: The clip is silent"):
        embedded(model, [sample(1), encoded(np.zeros(16000)), b"never looked at"])
    with pytest.raises(SilenceError, match=r"^The clip is silent"):
        embedded(model, [encoded(np.zeros(16000))])


def test_embed_keeps_the_limits_of_the_settings(tmp_path: Path):
    bundle = read_bundle(write_bundle(tmp_path / "models" / "voice"))
    strict = open_model(bundle, small_settings(tmp_path, modalities={"audio": {"max_s": 2.0, "min_speech_s": 1.0}}))
    with pytest.raises(TooLittleSpeechError):
        embedded(strict, [sample(1, 0, 0.9)])
    with pytest.raises(MatchkaError, match="longer than 2 s"):
        embedded(strict, [sample(1, 0, 2.1)])
    assert np.linalg.norm(embedded(strict, [sample(1, 0, 1.5)])[0]) == pytest.approx(1.0, abs=1e-6)


def test_warm_up_of_a_graph_that_gives_no_numbers_is_refused(model: Model):
    class Broken:
        outputs = OUTPUTS

        def run(self, inputs: np.ndarray) -> NamedArrays:
            assert inputs.shape[1] == model.manifest.input.example(1, seed=0).shape[1]
            assert np.any(inputs)
            raise NonFiniteEmbeddingError("d", remedy="r")

    with pytest.raises(NonFiniteEmbeddingError):
        dataclasses.replace(model, session=Broken()).warm_up()
    model.warm_up()


def test_open_model_of_a_manifest_that_says_another_window_is_refused(tmp_path: Path):
    folder = write_bundle(tmp_path / "models" / "voice")
    edit_bundle(folder, lambda manifest: manifest["input"].update(window_samples=1601))
    with pytest.raises(BundleError, match="1601"):
        open_model(read_bundle(folder), small_settings(tmp_path))


def write_other_covariances(path: Path) -> None:
    within, between = covariances(seed=4)
    np.savez(path, within=within, between=between)


@pytest.mark.parametrize(
    ("name", "replace"), [("model.onnx", partial(write_graph, seed=8)), ("scorer.npz", write_other_covariances)]
)
def test_open_model_of_a_bundle_with_a_file_replaced_since_it_was_verified_is_refused(
    tmp_path: Path, name: str, replace: Callable[[Path], None]
):
    folder = write_scored_bundle(tmp_path / "models" / "voice")
    bundle = read_bundle(folder)
    replace(folder / name)  # by one that loads
    with pytest.raises(BundleError, match=f"{name} of the bundle .* is not the one"):
        open_model(bundle, small_settings(tmp_path))


def add_speech_graph(folder: Path, graph: Path) -> None:
    """Give a bundle a detector of speech, whatever the file is."""
    (folder / "speech.onnx").write_bytes(graph.read_bytes())

    def change(manifest: dict[str, Any]) -> None:
        manifest["files"]["speech.onnx"] = hashlib.sha256(graph.read_bytes()).hexdigest()
        part = {"kind": "silero", "sources": {"speech.onnx": manifest["backbone"]}}
        manifest["auxiliary"] = {"speech_activity": part}

    edit_bundle(folder, change)


def test_open_model_of_a_bundle_without_a_detector_of_speech_says_so_and_serves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    bundle = read_bundle(write_bundle(tmp_path / "models" / "voice"))
    with caplog.at_level(logging.WARNING, "matchka.modalities.audio.reader"):
        model = open_model(bundle, small_settings(tmp_path))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "voice 1.0.0 has no detector of speech" in caplog.text
    assert len(model.observe([sample(1)], model.options_for("enrolment", {})).findings) == 1


def test_open_model_of_a_bundle_whose_detector_takes_something_else_is_refused(tmp_path: Path):
    folder = write_bundle(tmp_path / "models" / "voice")
    add_speech_graph(folder, folder / "model.onnx")
    with pytest.raises(BundleError, match=r"speech\.onnx must take") as refused:
        open_model(read_bundle(folder), small_settings(tmp_path))
    assert "windows" in str(refused.value.value)


def test_observe_of_a_sound_without_speech_refuses_to_enrol_it_and_takes_it_as_a_probe(
    tmp_path: Path, models_dir: Path, caplog: pytest.LogCaptureFixture
):
    folder = write_bundle(tmp_path / "models" / "voice")
    add_speech_graph(folder, models_dir / "voice" / "speech.onnx")
    model = open_model(read_bundle(folder), small_settings(tmp_path))
    assert caplog.records == []
    with pytest.raises(NoSpeechError, match="File 1 of 2"):
        model.observe([sample(1), sample(2)], model.options_for("enrolment", {}))
    found = embedded(model, [sample(1)])[0]
    np.testing.assert_allclose(found, embedding_of(voice(1)), atol=2e-5)
