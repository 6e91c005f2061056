"""The head as one module: layers -> fusion -> context -> log-posteriors of the blank and the phones."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from matchka_train.errors import HeadError
from matchka_train.heads.phones.context import clear_padding
from matchka_train.heads.phones.layers import OneLayer, WeightedLayers
from matchka_train.heads.phones.masking import Masking
from matchka_train.heads.phones.recipe import HeadRecipe


@dataclass(frozen=True)
class EncoderShape:
    """What a head has to know of an encoder.

    Attributes:
        layers: of each frame.
        dim: components of each layer.
    """

    layers: int
    dim: int


class PhoneHead(nn.Module):
    """Frames of frozen encoders -> log-posteriors.

    Args:
        recipe: its parts.
        encoders: what each encoder gives, in the order in which they are handed over.
        classes: how many come out, the blank among them.

    Raises: HeadError: an encoder has no such layer.
    """

    def __init__(self, recipe: HeadRecipe, encoders: Sequence[EncoderShape], classes: int) -> None:
        super().__init__()
        self._choices = tuple(_layers(recipe, encoder.layers) for encoder in encoders)  # the same, with their type
        self.layers = nn.ModuleList(self._choices)
        self.fusion = recipe.fusion.build(tuple(encoder.dim for encoder in encoders))
        self.context = recipe.context.build(self.fusion.out_dim)
        self.classes = nn.Linear(self.context.out_dim, classes)

    def forward(
        self, encoded: Sequence[Tensor], lengths: Tensor | None = None, masking: Masking | None = None
    ) -> Tensor:
        """Read clips; a clip alone and in company give the same.

        Args:
            encoded: of each encoder, (n, frames, layers, dim); beyond a clip's length anything.
            lengths: int64, (n,), frames of each clip; None where all are as long as the batch.
            masking: hides parts of what is read, in training.

        Returns: float32, (n, frames, classes), natural logarithms; beyond a clip's length nothing of use.
        """
        parts = [layers(frames) for layers, frames in zip(self.layers, encoded, strict=True)]
        if masking is not None:
            parts = masking.hide(parts, lengths)
        fused = clear_padding(self.fusion(parts), lengths)
        logits: Tensor = self.classes(self.context(fused, lengths))
        return logits.float().log_softmax(dim=-1)

    def layer_weights(self) -> list[list[float]]:
        """What each layer of each encoder counts, 0 for those that are left out."""
        return [layers.shares() for layers in self._choices]


def _layers(recipe: HeadRecipe, count: int) -> WeightedLayers | OneLayer:
    if count == 1:
        return OneLayer(0, 1)
    if recipe.layers == "weighted":
        return WeightedLayers(count)
    if not -count <= recipe.layers < count:
        raise HeadError(
            f"The encoder has {count} layers.",
            value=recipe.layers,
            remedy=f"Set head.layers to weighted, or from {-count} to {count - 1}.",
        )
    return OneLayer(recipe.layers, count)
