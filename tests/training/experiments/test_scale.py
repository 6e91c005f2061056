"""What is measured is what it claims to be: distinct cuts, embeddings about their identities, time and memory."""

import time

import numpy as np
import soundfile
from scipy.signal import correlate

from matchka_train.datasets.recipe import DatasetRecipe
from matchka_train.experiments.scale.cuts import CUT_S, LEVEL_DB, read_cuts, write_cuts
from matchka_train.experiments.scale.drawn import CLIPS_EACH, drawn_features, fit_drawn
from matchka_train.experiments.scale.process_tree import watched
from matchka_train.progress import show_progress
from matchka_train.run.recipe import Recipe
from tests.factories.voice_folders import RATE_HZ, write_voices


def test_write_cuts_when_repeated_gives_the_same_cuts_and_only_adds(tmp_path):
    write_voices(tmp_path / "clips", range(2), 2, seconds=3.0)
    dataset = DatasetRecipe(corpus="c", domain="d", layout="folder", path=tmp_path / "clips")
    first = {path: path.read_bytes() for path in write_cuts(dataset, tmp_path / "cuts", 8)}
    changed = {path: path.stat().st_mtime_ns for path in first}
    assert len(set(first.values())) == 8
    write_cuts(dataset, tmp_path / "cuts", 10)
    samples = read_cuts(tmp_path / "cuts")
    assert len(samples) == 10
    assert {path: path.stat().st_mtime_ns for path in first} == changed
    for number, sample in enumerate(samples):
        cut, _ = soundfile.read(sample.path)
        whole, _ = soundfile.read(tmp_path / "clips" / sample.subject.split("/")[1] / f"{number % 2}.wav")
        assert cut.size == CUT_S * RATE_HZ
        # where the cut lies in its clip, and how loud it became: the place where both point the same way
        products = correlate(whole, cut, "valid", "fft")
        start = int(np.argmax(products / norms(whole, cut.size)))
        gain = products[start] / np.sum(cut**2)
        assert np.allclose(whole[start : start + cut.size], gain * cut, atol=1e-3)
        assert LEVEL_DB[0] - 0.1 <= -20 * np.log10(gain) <= LEVEL_DB[1] + 0.1


def norms(whole: np.ndarray, size: int) -> np.ndarray:
    """Lengths of all pieces of so many samples."""
    energy = np.concatenate([[0.0], np.cumsum(whole**2)])
    return np.sqrt(energy[size:] - energy[:-size])


def test_fit_drawn_learns_on_mapped_embeddings_of_two_domains(tmp_path):
    features = drawn_features(tmp_path, 10 * CLIPS_EACH, 16, ("a", "b"))
    again = drawn_features(tmp_path, 10 * CLIPS_EACH, 16, ("a", "b"))
    assert isinstance(again.windows, np.memmap)
    assert np.array_equal(features.windows, again.windows)
    assert np.allclose(np.linalg.norm(features.windows, axis=1), 1, atol=1e-6)
    means = features.windows.reshape(10, CLIPS_EACH, 16).mean(axis=1)
    spread = features.windows.reshape(10, CLIPS_EACH, 16) - means[:, None]
    assert np.mean(np.var(means, axis=0)) > np.mean(spread**2)
    dataset = {"corpus": "c", "domain": "a", "layout": "folder", "path": "absent"}
    recipe = {"name": "drawn", "dims": [4, 8], "backbone": {"kind": "ge2e"}, "output_dir": "absent"} | {
        "data": {"train": [dataset], "validation": [dataset]},
        "loss": {"kind": "pairwise_logistic"},
        "optimisation": {"warmup_epochs": 0},
    }
    for projection, epochs in (({"family": "linear"}, 2), ({"family": "rotation"}, 0)):
        with show_progress() as progress:
            value = Recipe.model_validate(recipe | {"projection": projection})
            assert fit_drawn(value, features, 2, progress) == epochs


def test_watched_counts_the_time_of_this_process():
    with watched() as tree:
        before = time.process_time()
        while time.process_time() - before < 0.3:
            pass
    spent = time.process_time() - before
    assert spent / 2 <= tree.cpu_s <= spent + 10.0  # the system counts in ticks, and a look takes time
    assert tree.memory_mib()[-1] > 1
