"""What every frozen backbone offers: where its weights came from, what it takes, and the network itself."""

from dataclasses import dataclass
from typing import Protocol

import torch

from service.media.audio import AudioInput


@dataclass(frozen=True)
class WeightSource:
    """Where weights came from.

    Attributes:
        name: what they are, for people.
        source: the package or hub and the member in it.
        version: of that package, or the hub's revision.
        sha256: of the weights file, 64 hexadecimal digits.
        licence: SPDX identifier.
    """

    name: str
    source: str
    version: str
    sha256: str
    licence: str


class Backbone(Protocol):
    """A frozen pretrained network with its front end inside.

    Attributes:
        name: short name, as a recipe gives it.
        source: where the weights came from.
        input: how a clip becomes the windows the network takes.
        embedding_dim: components of one embedding.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - described above
    @property
    def source(self) -> WeightSource: ...  # noqa: D102
    @property
    def input(self) -> AudioInput: ...  # noqa: D102
    @property
    def embedding_dim(self) -> int: ...  # noqa: D102

    def module(self) -> torch.nn.Module:
        """The network: float32 windows (n, input.window_samples) -> embeddings (n, embedding_dim) of unit length.

        It is in evaluation mode and none of its parameters asks for a gradient.
        """
        ...
