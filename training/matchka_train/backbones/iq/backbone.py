"""A trained radio network in the place of a frozen backbone: unit features to project, and what else it says."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from matchka.bundles.outputs.classes import ClassOutput
from matchka.bundles.outputs.condition import Condition
from matchka.bundles.outputs.output import Output
from matchka.bundles.outputs.value import ValueOutput
from matchka.modalities.iq.spec import IqInputSpec
from matchka_train.backbones.iq.config import WINDOW_SAMPLES
from matchka_train.backbones.iq.file import TrainedNetwork, read_network
from matchka_train.backbones.onnx_file import file_sha256
from matchka_train.weights.source import WeightSource

MAX_WINDOWS: Final = 64  # of one recording; accuracy gains little beyond 8
INPUT: Final = IqInputSpec(window_samples=WINDOW_SAMPLES, hop_samples=WINDOW_SAMPLES, max_windows=MAX_WINDOWS)
SMALLEST_NORM: Final = 1e-12
SNR: Final = "snr_db"
KNOWN: Final = "known"
BAND_EDGES_DB: Final = (-5.0, 8.0)  # of the estimated SNR: where nothing, some and nearly everything is told apart


@dataclass(frozen=True)
class RadioBackbone:
    """A network out of a file. Attributes: path: of the file. As matchka_train.backbones.backbone.HeadedBackbone."""

    path: Path

    name: str = "radio-network"
    auxiliary: tuple[()] = ()
    input: IqInputSpec = INPUT

    @cached_property
    def trained(self) -> TrainedNetwork:
        """The file's content.

        Raises: WeightsError: it is none of these files.
        """
        return read_network(self.path)

    @property
    def source(self) -> WeightSource:
        """The file."""
        return WeightSource(
            "CLDNN for radio windows",
            "trained by matchka-train on made signals: training/matchka_train/recipes/radio-network.yaml",
            "1",
            file_sha256(self.path),
            "Apache-2.0",
        )

    @property
    def embedding_dim(self) -> int:
        """Components of its features."""
        return self.trained.description.network.features

    @property
    def published(self) -> "RadioBackbone":
        """Itself."""
        return self

    @property
    def heads(self) -> Mapping[str, Output]:
        """The modulation, the SNR, and how much a window resembles the known modulations."""
        description = self.trained.description
        return {
            "class": ClassOutput(labels=description.modulations, unknown=description.unknown),
            SNR: ValueOutput(unit="dB"),
            KNOWN: ValueOutput(unit=""),
        }

    @property
    def measured(self) -> Mapping[str, Any]:
        """What the file says of its accuracy."""
        return self.trained.description.measured

    @property
    def condition(self) -> Condition:
        """Bands of the estimated SNR."""
        return Condition(value=SNR, edges=BAND_EDGES_DB)

    def module(self) -> nn.Module:
        """Windows -> unit features; see Backbone.module."""
        return _FirstOf(self.headed_module())

    def headed_module(self) -> nn.Module:
        """Windows -> unit features, then one tensor for each of `heads`."""
        return HeadedNetwork(self.trained)


class HeadedNetwork(nn.Module):
    """Windows, (n, 2, samples) -> unit features, log-probabilities, SNR in dB, familiarity."""

    def __init__(self, trained: TrainedNetwork) -> None:
        super().__init__()
        self.network = trained.network
        self.familiarity = trained.familiarity
        self.eval()

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See the class."""
        found = self.network(rows)
        unit = functional.normalize(found.features, dim=1, eps=SMALLEST_NORM)
        return unit, torch.log_softmax(found.logits, dim=1), found.snr_db, self.familiarity(found.features)


class _FirstOf(nn.Module):
    def __init__(self, several: nn.Module) -> None:
        super().__init__()
        self.several = several
        self.eval()

    def forward(self, rows: Tensor) -> Tensor:
        first: Tensor = self.several(rows)[0]
        return first
