"""What every frozen backbone offers: where its weights came from, what it takes, and the network itself."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from matchka.bundles.outputs.condition import Condition
from matchka.bundles.outputs.output import Output
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


@runtime_checkable
class ConditionedBackbone(Backbone, Protocol):
    """A backbone whose error rates depend on a value that is known of a sample.

    Attributes: condition: bands of the value; each gets thresholds of its own.
    """

    @property
    def condition(self) -> Condition: ...  # noqa: D102 - described above


@runtime_checkable
class HeadedBackbone(ConditionedBackbone, Protocol):
    """A backbone that says more of a row than its embedding.

    Attributes:
        heads: what else it returns, by the names that the graph gives it, in the order of headed_module().
        measured: what was found of the heads on data that trained nothing, by name; plain values.
        condition: bands of one of the heads' values.
    """

    @property
    def heads(self) -> Mapping[str, Output]: ...  # noqa: D102 - described above
    @property
    def measured(self) -> Mapping[str, Any]: ...  # noqa: D102

    def headed_module(self) -> "torch.nn.Module":
        """The network with its heads: rows of the input -> embeddings as of module(), then a tensor for each head."""
        ...


@runtime_checkable
class CoveredBackbone(Backbone, Protocol):
    """A backbone behind something that changes poor samples only: what it embeds of all others stays as it is.

    Attributes: plain: the backbone without it.
    """

    @property
    def plain(self) -> Backbone: ...  # noqa: D102 - described above


def plain_of(backbone: Backbone) -> Backbone:
    """The backbone that names the embedding space: without what only changes poor samples."""
    return backbone.plain if isinstance(backbone, CoveredBackbone) else backbone


def condition_of(backbone: Backbone) -> Condition | None:
    """The bands in which its error rates differ; of most, none are known."""
    return backbone.condition if isinstance(backbone, ConditionedBackbone) else None


def measured_heads(backbone: Backbone) -> Mapping[str, Any]:
    """What was measured of its heads; of most, which have none, nothing."""
    return backbone.measured if isinstance(backbone, HeadedBackbone) else {}


def heads_of(backbone: Backbone) -> Mapping[str, Output]:
    """What a backbone says beside its embedding; of most, nothing."""
    return backbone.heads if isinstance(backbone, HeadedBackbone) else {}
