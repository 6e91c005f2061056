"""Whole clips through reader, session and batcher: each is one row, and only equally long ones share a run."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from matchka.bundles.bundle import read_bundle
from matchka.inference.batch_policy import BatchPolicy
from matchka.inference.batcher import Batcher
from matchka.inference.model import open_model
from matchka.inference.session import OrtSession
from matchka.settings import Settings
from tests.factories.samples import RATE_HZ, encoded
from tests.factories.spoken_tones import FRAME_SAMPLES, PHONES, spoken, write_phoneme_bundle, write_tone_graph

SHAPE = (None, 1 + len(PHONES))
TEST_TIMEOUT_S = 120.0


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> OrtSession:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    write_tone_graph(path)
    return OrtSession(path, "clips", (None,), {"log_posteriors": SHAPE}, threads=1)


def clips(count: int, frames: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, (count, frames * FRAME_SAMPLES)).astype(np.float32)


def test_run_of_clips_of_several_lengths_at_once_equals_each_alone(session: OrtSession):
    batcher = Batcher(session, BatchPolicy(max_rows=6, max_wait_s=0.002, workers=2))
    requests = [clips(count, 20 + 7 * (seed % 3), seed) for seed, count in enumerate([1, 2, 1, 1, 7, 1, 1, 3, 1, 1])]
    with ThreadPoolExecutor(len(requests)) as pool:
        for _ in range(5):
            answers = list(pool.map(batcher.run, requests, timeout=TEST_TIMEOUT_S))
            for request, found in zip(requests, answers, strict=True):
                alone = np.concatenate([session.run(row[None])["log_posteriors"] for row in request])
                assert found["log_posteriors"].shape == (len(request), request.shape[1] // FRAME_SAMPLES, SHAPE[1])
                np.testing.assert_allclose(found["log_posteriors"], alone, rtol=0, atol=1e-5)
    counts = batcher.counts()
    batcher.close()
    assert sum(rows * runs for rows, runs in counts.runs.items()) == 5 * sum(len(request) for request in requests)
    assert counts.queued_rows == 0


def test_observe_of_a_clip_returns_one_row_of_its_frames(tmp_path: Path):
    model = open_model(read_bundle(write_phoneme_bundle(tmp_path / "phonemes")), Settings(cores=1))
    model.warm_up()
    clip = spoken(["baabiy", "me"])
    seen = model.observe([encoded(clip)], model.options_for("probe", {}))
    model.close()
    posteriors = seen.outputs["log_posteriors"]
    assert posteriors.shape == (1, clip.size // FRAME_SAMPLES, 1 + len(PHONES))
    heard = [PHONES[label - 1] for label in posteriors[0].argmax(axis=1) if label]
    assert heard == ["B", "AA", "B", "IY", "M", "IY"]
    assert clip.size / RATE_HZ < 1
