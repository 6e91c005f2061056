"""What every frozen backbone offers: where its weights came from, what it takes, and the network itself."""

from typing import TYPE_CHECKING, Protocol

from matchka.modalities.modality import InputSpec
from matchka_train.backbones.auxiliary import RequiredPart
from matchka_train.weights.source import WeightSource

if TYPE_CHECKING:
    import torch  # takes seconds, and whoever only names a backbone needs none of it


class Backbone(Protocol):
    """A frozen pretrained network with its front end inside.

    Attributes:
        name: short name, as a recipe gives it.
        source: where the weights came from.
        input: how a sample becomes the rows that the network takes.
        auxiliary: networks without which its samples are not read.
        embedding_dim: components of one embedding.
        published: the network as its makers published it, which accuracy is compared with; itself unless this
            project puts something around it that is no projection.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - described above
    @property
    def source(self) -> WeightSource: ...  # noqa: D102
    @property
    def input(self) -> InputSpec: ...  # noqa: D102
    @property
    def auxiliary(self) -> tuple[RequiredPart, ...]: ...  # noqa: D102
    @property
    def embedding_dim(self) -> int: ...  # noqa: D102
    @property
    def published(self) -> "Backbone": ...  # noqa: D102

    def module(self) -> "torch.nn.Module":
        """The network: rows of the input -> float32 embeddings (n, embedding_dim) of unit length.

        Rows have shape and type of `input.graph_input()`. It is in evaluation mode and none of its parameters asks for
        a gradient.
        """
        ...
