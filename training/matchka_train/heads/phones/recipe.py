"""How a recipe describes a head that reads phones."""

from typing import Annotated, Literal

from pydantic import Field

from matchka_train.heads.phones.context import ConvolutionContext, NoContext, RecurrentContext
from matchka_train.heads.phones.fusion import EarlyFusion, GatedFusion
from matchka_train.strict_model import StrictModel

Width = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class LinearContextRecipe(StrictModel):
    """Each frame is read by itself."""

    kind: Literal["linear"]

    def build(self, in_dim: int) -> NoContext:
        """Nothing between the fused frames and the classes."""
        return NoContext(in_dim)


class ConvolutionContextRecipe(StrictModel):
    """Convolutions over five frames each.

    Attributes: width, layers, dropout: as ConvolutionContext.
    """

    kind: Literal["convolution"]
    width: Width = 160
    layers: Width = 2
    dropout: Share = 0.3

    def build(self, in_dim: int) -> ConvolutionContext:
        """The convolutions, at a random start."""
        return ConvolutionContext(in_dim, self.width, self.layers, self.dropout)


class RecurrentContextRecipe(StrictModel):
    """A convolution and LSTM layers in both directions.

    Attributes: width, layers, dropout, skip: as RecurrentContext.
    """

    kind: Literal["bilstm"] = "bilstm"
    width: Width = 160
    layers: Width = 2
    dropout: Share = 0.3
    skip: bool = False

    def build(self, in_dim: int) -> RecurrentContext:
        """The layers, at a random start."""
        return RecurrentContext(in_dim, self.width, self.layers, self.dropout, skip=self.skip)


class EarlyFusionRecipe(StrictModel):
    """Encoders behind one another; also what one encoder alone takes."""

    kind: Literal["early"] = "early"

    def build(self, dims: tuple[int, ...]) -> EarlyFusion:
        """No parameters."""
        return EarlyFusion(dims)


class GatedFusionRecipe(StrictModel):
    """Encoders projected, normalised and weighed for each frame.

    Attributes: width: components of the sum.
    """

    kind: Literal["gated"]
    width: Width = 256

    def build(self, dims: tuple[int, ...]) -> GatedFusion:
        """The projections and the gate, at a random start."""
        return GatedFusion(dims, self.width)


class HeadRecipe(StrictModel):
    """From the frames of encoders to phones.

    Attributes:
        layers: `weighted` learns how much each layer of an encoder counts; a number is that layer alone, from 0,
            or from the last where negative. Encoders of one layer are unchanged.
        fusion: how several encoders become one.
        context: what a frame is read from.
    """

    layers: Literal["weighted"] | int = "weighted"
    fusion: Annotated[EarlyFusionRecipe | GatedFusionRecipe, Field(discriminator="kind")] = EarlyFusionRecipe()
    context: Annotated[
        LinearContextRecipe | ConvolutionContextRecipe | RecurrentContextRecipe, Field(discriminator="kind")
    ] = RecurrentContextRecipe()
