"""Front end, frozen encoder and head -> one ONNX file that takes whole clips of any length."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch

from matchka.modalities.audio.example import speech_like
from matchka.modalities.audio.level import level_gain
from matchka.modalities.audio.spec import AudioInputSpec
from matchka.modalities.modality import GraphInput
from matchka.vectors import FloatArray
from matchka_export.graph.rewrite import share_equal_parts
from matchka_export.graph.trace import trace_graph
from matchka_train.backbones.frames.encoder import ClipInput

LOG_POSTERIORS: Final = "log_posteriors"
FRAMES_AXIS: Final = "frames"
SAMPLES_AXIS: Final = "samples"
TRACED_SAMPLES: Final = 20_011  # of no round number of frames: what divides evenly might be taken for a constant
PROVEN_S: Final = (0.6, 1.0, 2.35, 4.0, 8.0, 15.0)  # the longest is the longest that a challenge takes
PROVEN_BATCH: Final = 2


class ClipsToPosteriors(torch.nn.Module):
    """Encoders, then head: clips (n, samples) -> log-posteriors (n, frames, 1 + phones).

    Args:
        encoders: each clips (n, samples) -> (n, frames, layers, dim), frozen, all with the same frames.
        head: the list of what they say -> (n, frames, 1 + phones), natural logarithms of probabilities.
    """

    def __init__(self, encoders: Sequence[torch.nn.Module], head: torch.nn.Module) -> None:
        super().__init__()
        self.encoders = torch.nn.ModuleList(encoders)
        self.head = head
        self.requires_grad_(requires_grad=False)
        self.eval()

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Posteriors of a batch of clips of one length."""
        posteriors: torch.Tensor = self.head([encoder(clips) for encoder in self.encoders])
        return posteriors


def clip_spec(clip: ClipInput) -> AudioInputSpec:
    """A manifest's input of whole clips; the graph itself adds what its first and last frame need."""
    return AudioInputSpec(
        sample_rate_hz=clip.sample_rate_hz,
        window_samples=None,
        hop_samples=None,
        context_samples=0,
        level_dbfs=clip.level_dbfs,
    )


def export_posteriors(model: ClipsToPosteriors, spec: AudioInputSpec, path: Path) -> None:
    """Write the graph: one input of any batch size and length, one output.

    Args:
        model: what it computes.
        spec: its input.
        path: the file to write.
    """
    traced = GraphInput(spec.graph_input().name, (TRACED_SAMPLES,), "float32")
    trace_graph(model, traced, path, (LOG_POSTERIORS,), free_axes=(1,))
    share_equal_parts(path)  # encoders of one front end transform a clip once
    graph_file = onnx.load(str(path))
    # the exporter writes down how many frames the traced clip had; nothing that computes depends on it
    frames = graph_file.graph.output[0].type.tensor_type.shape.dim[1]
    frames.ClearField("dim_value")
    frames.dim_param = FRAMES_AXIS
    graph_file.graph.input[0].type.tensor_type.shape.dim[1].dim_param = SAMPLES_AXIS
    onnx.save_model(graph_file, path, save_as_external_data=False)


def proven_clips(spec: AudioInputSpec) -> Iterator[FloatArray]:
    """Batches of made speech at every length that the graph is proven at, none a whole number of frames."""
    for number, seconds in enumerate(PROVEN_S):
        samples = int(seconds * spec.sample_rate_hz) + 37 * number
        clips = [speech_like(samples, spec.sample_rate_hz, seed=10 * number + row) for row in range(PROVEN_BATCH)]
        yield np.stack([clip * level_gain(clip, spec.level_dbfs) for clip in clips])
