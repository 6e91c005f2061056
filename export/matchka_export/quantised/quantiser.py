"""The ways to write a graph in 8 bits: which graphs each takes, and the numbers it learned."""

from abc import abstractmethod
from collections import Counter
from typing import Annotated, ClassVar, Literal, TypeAlias

import onnx
from pydantic import Field

from matchka.modalities.modality import InputArray
from matchka_export.errors import QuantisationError
from matchka_export.quantised.convolutional import calibrate, quantise_convolutional
from matchka_export.quantised.recurrent import quantise_recurrent
from matchka_train.strict_model import StrictModel


class Quantiser(StrictModel):
    """One way, with what it learned. One class for each kind.

    Attributes:
        least_cosine: of a sample's embedding with that of the graph in 32 bits, on people who trained nothing.
        least_cosine_made: of a row's where it is written and served, on rows that may be made up: a mistake is larger.
        marks: operations without which a graph is not its.
    """

    least_cosine: ClassVar[float]
    least_cosine_made: ClassVar[float]
    marks: ClassVar[dict[str, int]]

    kind: str

    @classmethod
    @abstractmethod
    def fit(cls, model: onnx.ModelProto, rows: InputArray) -> "Quantiser":
        """Learn what it needs from rows of people who trained.

        Raises: QuantisationError: the rows show nothing.
        """

    @abstractmethod
    def quantise(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """A copy of the graph in 8 bits.

        Raises: QuantisationError: it is not made for such a graph.
        """


class RecurrentQuantiser(Quantiser):
    """LSTM layers; nothing is learned, as what they take lies in one range always."""

    least_cosine: ClassVar[float] = 0.996
    least_cosine_made: ClassVar[float] = 0.996
    marks: ClassVar[dict[str, int]] = {"LSTM": 2}

    kind: Literal["recurrent"] = "recurrent"

    @classmethod
    def fit(cls, model: onnx.ModelProto, rows: InputArray) -> "RecurrentQuantiser":  # noqa: ARG003
        """Nothing to learn."""
        return cls()

    def quantise(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """See quantise_recurrent."""
        return quantise_recurrent(model)


class ConvolutionalQuantiser(Quantiser):
    """Convolutions over pixels.

    Attributes: ranges: of what passes between the layers.
    """

    least_cosine: ClassVar[float] = 0.9994
    least_cosine_made: ClassVar[float] = 0.999  # made pictures lie somewhat beyond the ranges of real ones: .9994
    marks: ClassVar[dict[str, int]] = {"Conv": 2, "Cast": 1}

    kind: Literal["convolutional"] = "convolutional"
    ranges: dict[str, tuple[float, float]]

    @classmethod
    def fit(cls, model: onnx.ModelProto, rows: InputArray) -> "ConvolutionalQuantiser":
        """Calibrate."""
        return cls(ranges=calibrate(model, rows))

    def quantise(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """See quantise_convolutional."""
        return quantise_convolutional(model, self.ranges)


AnyQuantiser: TypeAlias = Annotated[RecurrentQuantiser | ConvolutionalQuantiser, Field(discriminator="kind")]
_KINDS: tuple[type[RecurrentQuantiser] | type[ConvolutionalQuantiser], ...] = (
    RecurrentQuantiser,
    ConvolutionalQuantiser,
)


def fit_quantiser(model: onnx.ModelProto, rows: InputArray) -> RecurrentQuantiser | ConvolutionalQuantiser:
    """The first way that takes a graph, fitted.

    Raises: QuantisationError: none does, or the rows show nothing.
    """
    operations = Counter(node.op_type for node in model.graph.node)
    for kind in _KINDS:
        if all(operations[operation] >= least for operation, least in kind.marks.items()):
            return kind.fit(model, rows)
    raise QuantisationError(
        "Nothing is known of how to write this graph in 8 bits.",
        value=", ".join(sorted(operations)),
        remedy="Serve it in 32 bits.",
    )
