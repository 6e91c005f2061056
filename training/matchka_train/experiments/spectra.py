"""The GE2E encoder cut behind its front end, so that what is cached is what an unfrozen encoder still takes."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch

from matchka.modalities.audio.spec import AudioInputSpec
from matchka_train.backbones.auxiliary import RequiredPart
from matchka_train.backbones.speaker.ge2e import FRAMES, GE2E_INPUT, GE2E_SOURCE, MEL_BANDS, Ge2e, Ge2eEncoder
from matchka_train.fitting.batches import ClipBatch
from matchka_train.projections.trained.linear import LinearProjection
from matchka_train.weights.packages import DEFAULT_CACHE_DIR
from matchka_train.weights.source import WeightSource

SPECTRUM_VALUES: Final = FRAMES * MEL_BANDS  # of one window of 1.6 s


@dataclass(frozen=True)
class Ge2eSpectra:
    """The front end alone, as a backbone whose "embedding" is the mel spectrogram of a window, flattened.

    Attributes: downloads: the folder that keeps the package file.
    """

    downloads: Path = DEFAULT_CACHE_DIR

    name: str = "ge2e-spectra"
    source: WeightSource = GE2E_SOURCE
    input: AudioInputSpec = GE2E_INPUT
    embedding_dim: int = SPECTRUM_VALUES
    auxiliary: tuple[RequiredPart, ...] = ()

    @property
    def published(self) -> "Ge2eSpectra":
        """Itself."""
        return self

    def module(self) -> torch.nn.Module:
        """Waveform windows (n, 25840) -> (n, 6400)."""
        return torch.nn.Sequential(encoder_of(self.downloads).mel, torch.nn.Flatten()).eval()


class TunedEncoder(torch.nn.Module):
    """The encoder behind the cached spectra, and a projection on it.

    Args:
        encoder: published weights; trained in place where its parameters ask for gradients.
        projection: on its embeddings.
    """

    def __init__(self, encoder: Ge2eEncoder, projection: LinearProjection) -> None:
        super().__init__()
        self.encoder, self.projection = encoder, projection

    def forward(self, spectra: torch.Tensor) -> torch.Tensor:
        """Flattened spectra (n, 6400) -> (n, full_dim), not rescaled."""
        projected: torch.Tensor = self.projection(self.encoder.embed_spectra(spectra.reshape(-1, FRAMES, MEL_BANDS)))
        return projected


def encoder_of(downloads: Path) -> Ge2eEncoder:
    """The frozen encoder with the published weights.

    Raises: DownloadError, ChecksumError: as Ge2e.module.
    """
    module = Ge2e(downloads).module()
    assert isinstance(module, Ge2eEncoder)  # noqa: S101 - for mypy
    return module


def one_row_of_each(batch: ClipBatch, generator: np.random.Generator) -> ClipBatch:
    """The same clips with one of their windows each: a crop of 1.6 s.

    Args:
        batch: clips with all their windows.
        generator: chooses.
    """
    counts = batch.rows_of_clip.numpy().astype(np.int64)
    chosen = np.cumsum(counts) - counts + generator.integers(0, counts)
    clips = len(counts)
    return replace(
        batch,
        rows=batch.rows[torch.from_numpy(chosen)],
        clip_of_row=torch.arange(clips),
        rows_of_clip=torch.ones(clips),
    )


def every_row(batch: ClipBatch) -> ClipBatch:
    """Every window of the clips as a clip of its own."""
    rows, clips = len(batch.rows), batch.clip_of_row
    return replace(
        batch,
        clip_of_row=torch.arange(rows),
        rows_of_clip=torch.ones(rows),
        raw=batch.raw[clips],
        labels=batch.labels[clips],
        clips=batch.clips[clips],
        spans=batch.spans[clips],
    )
