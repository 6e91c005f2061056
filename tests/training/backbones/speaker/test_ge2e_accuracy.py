"""The raw encoder with its front end reaches the accuracy that docs/decisions/030 states."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from matchka.modalities.audio.windows import split_windows
from matchka.vectors import FloatArray
from matchka_train.backbones.speaker.ge2e import GE2E_INPUT, Ge2eEncoder

pytestmark = pytest.mark.shared_data


def embed(clips: list[FloatArray], encoder: Ge2eEncoder) -> FloatArray:
    """Mean of each clip's windows, unit length; written out here so that the serving code is not its own judge."""
    windows = [split_windows(clip, GE2E_INPUT) for clip in clips]
    joined = np.concatenate(windows)
    with torch.inference_mode():
        parts = [encoder(torch.tensor(joined[start : start + 64])).numpy() for start in range(0, len(joined), 64)]
    edges = np.cumsum([len(some) for some in windows])[:-1]
    means = np.stack([some.mean(axis=0) for some in np.split(np.concatenate(parts), edges)])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def slow_eer(embeddings: FloatArray, subjects: list[str]) -> float:
    """Error rate where both are closest, over all pairs, every mated similarity tried as threshold."""
    same = np.equal.outer(np.array(subjects), np.array(subjects))
    pairs = np.triu(np.ones_like(same), k=1)
    similarities = embeddings @ embeddings.T
    mated, other = np.sort(similarities[same & pairs]), np.sort(similarities[~same & pairs])
    fnmr = np.arange(mated.size) / mated.size
    fmr = 1.0 - np.searchsorted(other, mated) / other.size
    best = int(np.argmin(np.abs(fnmr - fmr)))
    return float(fnmr[best] + fmr[best]) / 2


def test_encoder_when_comparing_sixty_speakers_reaches_the_stated_eer(encoder: Ge2eEncoder, speech_dir: Path) -> None:
    with (speech_dir / "utterances.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "dev"]
    kept = [row for number, row in enumerate(rows) if sum(r["speaker"] == row["speaker"] for r in rows[:number]) < 6]
    assert len(kept) == 360
    clips = [soundfile.read(speech_dir / row["path"], dtype="float32")[0] for row in kept]
    assert slow_eer(embed(clips, encoder), [row["speaker"] for row in kept]) == pytest.approx(0.0410, abs=0.002)


def test_encoder_when_comparing_halves_of_readers_reaches_the_stated_eer(
    encoder: Ge2eEncoder, speech_dir: Path
) -> None:
    with (speech_dir / "cohort.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    clips, subjects = [], []
    for row in rows:
        clip = soundfile.read(speech_dir / row["path"], dtype="float32")[0]
        clips += [clip[: clip.size // 2], clip[clip.size // 2 :]]
        subjects += [row["speaker"]] * 2
    assert slow_eer(embed(clips, encoder), subjects) == pytest.approx(0.0239, abs=0.003)
