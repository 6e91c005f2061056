"""Named numbers -> random features of a Gaussian kernel: frozen, drawn from a seed, with the scaling inside."""

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from matchka.modalities.tabular.spec import TabularInputSpec
from matchka.vectors import FloatArray
from matchka_train.backbones.tabular.scaling import FieldScaling
from matchka_train.weights.source import WeightSource

SMALLEST_NORM: Final = 1e-12  # as in matchka_train.backbones.speaker.ge2e
SPREAD: Final = float(np.sqrt(12.0))  # of a number that is even over its range, one over its standard deviation


@dataclass(frozen=True)
class KernelFeatures:
    """Rows of named numbers as unit vectors whose cosine falls with their distance, as exp(-distance^2 / 2).

    Distances are counted in standard deviations of numbers that are even over their ranges, by `length_scale`.

    Attributes:
        input: the numbers, with their ranges.
        embedding_dim: how many features; the error of that cosine falls with the root of their number.
        length_scale: the distance that counts as 1.
        seed: of the draw.

    Source: Rahimi and Recht 2007, Random Features for Large-Scale Kernel Machines.
    """

    input: TabularInputSpec
    embedding_dim: int
    length_scale: float
    seed: int

    name: str = "tabular"
    auxiliary: tuple[()] = ()

    @property
    def published(self) -> "KernelFeatures":
        """Itself."""
        return self

    @property
    def source(self) -> WeightSource:
        """The draw, known by its values."""
        frequencies, phases = self._draw()
        return WeightSource(
            name="random features of a Gaussian kernel",
            source=f"drawn by matchka-train: seed {self.seed}, length scale {self.length_scale:g}",
            version="1",
            sha256=hashlib.sha256(frequencies.tobytes() + phases.tobytes()).hexdigest(),
            licence="Apache-2.0",
        )

    def module(self) -> nn.Module:
        """The features; see Backbone.module."""
        return _Features(self.input, *self._draw())

    def _draw(self) -> tuple[FloatArray, FloatArray]:
        """Frequencies, float32 (fields, embedding_dim), and phases, float32 (embedding_dim,)."""
        generator = np.random.default_rng(self.seed)
        shape = (len(self.input.fields), self.embedding_dim)
        frequencies = generator.standard_normal(shape) / self.length_scale
        phases = generator.uniform(0.0, 2 * np.pi, self.embedding_dim)
        return frequencies.astype(np.float32), phases.astype(np.float32)


class _Features(nn.Module):
    frequencies: Tensor
    phases: Tensor

    def __init__(self, spec: TabularInputSpec, frequencies: FloatArray, phases: FloatArray) -> None:
        super().__init__()
        self.scaling = FieldScaling(spec.fields)
        self.register_buffer("frequencies", torch.from_numpy(frequencies))
        self.register_buffer("phases", torch.from_numpy(phases))
        self.eval()

    def forward(self, values: Tensor) -> Tensor:
        """Embed rows: float32, (n, fields), in the fields' units -> (n, embedding_dim), of unit length."""
        standard = (self.scaling(values) - 0.5) * SPREAD
        return functional.normalize(torch.cos(standard @ self.frequencies + self.phases), dim=1, eps=SMALLEST_NORM)
