"""A bundle at work: samples as bytes -> full embeddings."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from service.bundle import Bundle, Manifest
from service.errors import MatchkaError
from service.media.audio import AudioInput, AudioLimits, read_clip, split_windows
from service.session import OrtSession, Session
from service.settings import Settings
from service.vectors import FloatArray, mean_by_group, truncate_and_normalise

GRAPH_INPUT: Final = "windows"
MOST_WINDOWS_PER_RUN: Final = 32  # bounds the memory of one run; throughput is flat from 16 on


@dataclass(frozen=True)
class Model:
    """One served bundle."""

    manifest: Manifest
    session: Session
    audio_input: AudioInput
    limits: AudioLimits

    def embed(self, samples: list[bytes]) -> FloatArray:
        """Embed whole files, one after the other so that memory holds one decoded clip at a time.

        Args:
            samples: audio files, at least one.

        Returns: float32, (samples, full_dim), unit length.

        Raises: MatchkaError: a sample is not usable; the error says which.
        """
        rows: list[FloatArray] = []
        for number, data in enumerate(samples, start=1):
            try:
                rows.append(self._embed_one(data))
            except MatchkaError as error:
                if len(samples) > 1:
                    error.detail = f"File {number} of {len(samples)}: {error.detail}"
                raise
        return truncate_and_normalise(np.concatenate(rows), self.manifest.full_dim)

    def warm_up(self) -> None:
        """Run the graph once, so that the first request does not pay for its set-up."""
        quiet_noise = np.random.default_rng(0).normal(0.0, 0.01, self.audio_input.window_samples).astype(np.float32)
        self.session.embed(split_windows(quiet_noise, self.audio_input))

    def _embed_one(self, data: bytes) -> FloatArray:
        clip = read_clip(data, self.audio_input.sample_rate_hz, self.limits)
        windows = split_windows(clip, self.audio_input)
        parts = [
            self.session.embed(windows[start : start + MOST_WINDOWS_PER_RUN])
            for start in range(0, len(windows), MOST_WINDOWS_PER_RUN)
        ]
        return mean_by_group(np.concatenate(parts), [len(windows)])


def open_model(bundle: Bundle, settings: Settings) -> Model:
    """Load a verified bundle's graph.

    Raises: BundleError: the graph does not match the manifest.
    """
    audio_input = bundle.manifest.input.as_audio_input()
    session = OrtSession(
        bundle.graph_path,
        GRAPH_INPUT,
        (audio_input.window_samples,),
        bundle.manifest.full_dim,
        settings.session_threads,
    )
    limits = AudioLimits(max_duration_s=settings.max_audio_s, min_speech_s=settings.min_speech_s)
    return Model(bundle.manifest, session, audio_input, limits)
