"""LSTM layers with 8-bit weights, one scale for each gate of each unit, on inputs of one fixed range.

The first layer stays in 32 bits: what it takes, linear mel power, has a median of .001 and a largest value of 42.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, helper, numpy_helper

from matchka.vectors import FloatArray
from matchka_export.errors import QuantisationError

MICROSOFT: Final = "com.microsoft"
GATES: Final = 4  # input, output, forget, cell, in ONNX's order
# Two units of each layer hold +1 and -1 at every step, whatever the sample. ONNX Runtime takes the scale of an input
# from the whole batch; with both ends of tanh always there it is the same in every batch, and company changes nothing.
HELD: Final = (1.0, -1.0)
HELD_CELLS: Final = (20.0, -20.0)  # whose tanh is 1 in 32 bits
OPEN, SHUT = 40.0, -40.0  # of a gate: its sigmoid is 1, and 0
LARGEST_WEIGHT: Final = 127
STEPS: Final = 127.5  # of 8 bits from 0 to 1, where the range is -1 to 1
# The second layer takes numbers that are mostly small (median .016 of 1), of which 8 bits keep two or three. It gets
# what they round away as well, four times as large: the lowest cosine of 1,229 windows rises from .972 to .996.
FINER: Final = 4.0

PASSES_ON: Final = ("Transpose", "Reshape", "Squeeze")


def quantise_recurrent(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph whose LSTM layers after the first compute in 8 bits.

    Args: model: constants folded (matchka_export.graph.rewrite); its LSTM layers feed each other.

    Raises: QuantisationError: it has fewer than two such layers, or they are of another kind.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    layers = [node for node in graph.node if node.op_type == "LSTM"]
    if len(layers) < 2:
        raise QuantisationError(
            "Only LSTM layers that stand on another one become 8-bit ones.",
            value=f"{len(layers)} LSTM layers",
            remedy="Leave the graph in 32 bits.",
        )
    known = {tensor.name: tensor for tensor in graph.initializer}
    if not all(_feeds(graph, one, next_) for one, next_ in pairwise(layers)):
        raise QuantisationError(
            "An LSTM layer takes something else than the output of the one before.",
            value=[layer.name for layer in layers],
            remedy="Leave the graph in 32 bits.",
        )
    replaced = {
        id(layer): list(_Layer.of(layer, known).nodes(graph, number, is_last=layer is layers[-1]))
        for number, layer in enumerate(layers)
    }
    nodes = [new for node in graph.node for new in replaced.get(id(node), [node])]
    kept = [_copy(node) for node in nodes]  # a graph's own nodes end with the list that they are in
    del graph.node[:]
    graph.node.extend(kept)
    _drop_unused(graph)
    changed.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    return changed


@dataclass(frozen=True)
class _Layer:
    """One LSTM node and its weights in ONNX's layout, of one direction.

    Attributes:
        inputs: (gates * hidden, width).
        recurrent: (gates * hidden, hidden).
        bias: (2 * gates * hidden).
    """

    node: NodeProto
    inputs: FloatArray
    recurrent: FloatArray
    bias: FloatArray

    @classmethod
    def of(cls, node: NodeProto, known: dict[str, onnx.TensorProto]) -> "_Layer":
        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        plain = (
            attributes.get("direction", b"forward") == b"forward"
            and not attributes.get("layout", 0)
            and not attributes.get("input_forget", 0)
            and "activations" not in attributes
            and "clip" not in attributes
            and len(node.input) == 7
            and node.input[4] == ""
        )
        if not plain or any(name not in known for name in node.input[1:4]):
            raise QuantisationError(
                "An LSTM layer is not a plain forward one with constant weights and a state to begin with.",
                value=node.name,
                remedy="Fold the graph's constants first, or leave it in 32 bits.",
            )
        weights = [numpy_helper.to_array(known[name])[0] for name in node.input[1:4]]
        return cls(node, *weights)

    @property
    def hidden(self) -> int:
        return int(self.recurrent.shape[1])

    def nodes(self, graph: onnx.GraphProto, number: int, *, is_last: bool) -> Iterator[NodeProto]:
        """What takes its place: the state with the units that are held, the layer, and its output without them.

        Args:
            graph: gets the weights.
            number: of the layer, from 0; the first stays in 32 bits.
            is_last: whether nothing but its last step is needed.

        Raises: QuantisationError: every step of the last layer is.
        """
        node = self.node
        if is_last and node.output[0]:
            raise QuantisationError(
                "The last LSTM layer gives every step, not the last one alone.",
                value=node.name,
                remedy="Leave the graph in 32 bits.",
            )
        names = _Names(graph, f"layer_{number}")
        state_nodes, states = self._states(names)
        yield from state_nodes
        last_step = node.output[1] if len(node.output) > 1 else ""
        outputs = [node.output[0], names.of("wide_state") if last_step else ""]
        if number == 0:
            yield self._in_32_bits(names, states, outputs)
        else:
            yield from self._in_8_bits(names, states, outputs, is_fine=number == 1)
        if last_step:
            ends = [
                names.add(part, np.array([at], np.int64))
                for part, at in (("start", 0), ("end", self.hidden), ("axis", 2))
            ]
            yield helper.make_node("Slice", [outputs[1], *ends], [last_step])

    def _states(self, names: "_Names") -> tuple[list[NodeProto], list[str]]:
        """What it begins with, (1, batch, hidden), with the units that are held behind."""
        shape, batch = names.of("layer_and_batch"), names.of("held_shape")
        nodes = [
            helper.make_node("Shape", [self.node.input[5]], [shape], start=0, end=2),
            helper.make_node("Concat", [shape, names.add("one", np.ones(1, np.int64))], [batch], axis=0),
        ]
        states = []
        for part, given, held in (("state", self.node.input[5], HELD), ("cell", self.node.input[6], HELD_CELLS)):
            constant, of_batch = names.add(f"held_{part}", np.array([[held]], np.float32)), names.of(f"{part}_held")
            nodes.append(helper.make_node("Expand", [constant, batch], [of_batch]))
            states.append(names.of(f"first_{part}"))
            nodes.append(helper.make_node("Concat", [given, of_batch], [states[-1]], axis=2))
        return nodes, states

    def _in_32_bits(self, names: "_Names", states: list[str], outputs: list[str]) -> NodeProto:
        inputs, recurrent, bias = self._widened(0)
        weights = [names.add(part, array[None]) for part, array in (("inputs", inputs), ("recurrent", recurrent))]
        given = [self.node.input[0], *weights, names.add("bias", bias[None]), "", *states]
        return helper.make_node("LSTM", given, outputs, hidden_size=self.hidden + len(HELD))

    def _in_8_bits(
        self, names: "_Names", states: list[str], outputs: list[str], *, is_fine: bool
    ) -> Iterator[NodeProto]:
        inputs, recurrent, bias = self._widened(len(HELD))
        given = self.node.input[0]
        if is_fine:
            yield from _finely(names, given)
            given, inputs = names.of("fine"), np.concatenate([inputs, inputs / FINER], axis=1)
        weights, scales = [], []
        for part, array in (("inputs", inputs), ("recurrent", recurrent)):
            rounded, scale = _rounded(array)
            weights.append(names.add(part, rounded[None]))
            scales.append(names.add(f"{part}_scales", scale[None]))
        zeros = names.add("zero_points", np.zeros((1, len(recurrent)), np.int8))
        biased = [names.add("bias", bias[None]), "", *states, ""]
        yield helper.make_node(
            "DynamicQuantizeLSTM",
            [given, *weights, *biased, scales[0], zeros, scales[1], zeros],
            outputs,
            domain=MICROSOFT,
            hidden_size=self.hidden + len(HELD),
        )

    def _widened(self, further_inputs: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The weights with units that nothing reaches and whose gates hold what they begin with."""
        hidden, held = self.hidden, len(HELD)

        def gates(array: FloatArray, columns: int) -> FloatArray:
            parts = array.reshape(GATES, hidden, -1)
            wide: FloatArray = np.pad(parts, ((0, 0), (0, held), (0, columns))).reshape(GATES * (hidden + held), -1)
            return wide

        of_inputs, of_state = (
            np.pad(part.reshape(GATES, hidden), ((0, 0), (0, held))) for part in np.split(self.bias, 2)
        )
        for gate, value in ((0, SHUT), (1, OPEN), (2, OPEN)):
            of_inputs[gate, hidden:] = value
        bias = np.concatenate([of_inputs.ravel(), of_state.ravel()])
        return gates(self.inputs, further_inputs), gates(self.recurrent, held), bias


@dataclass(frozen=True)
class _Names:
    """Names of one layer's tensors. Attributes: graph: gets the constants; layer: stands before each name."""

    graph: onnx.GraphProto
    layer: str

    def of(self, part: str) -> str:
        return f"{self.layer}/{part}"

    def add(self, part: str, array: npt.NDArray[Any]) -> str:
        self.graph.initializer.append(numpy_helper.from_array(array, self.of(part)))
        return self.of(part)


def _finely(names: _Names, given: str) -> Iterator[NodeProto]:
    """A layer's input in two parts behind one another: rounded to the 8 bits' own steps, and what is left, enlarged."""
    steps, finer = names.add("steps", np.array(STEPS, np.float32)), names.add("finer", np.array(FINER, np.float32))
    counted, whole, coarse, rest, enlarged = (
        names.of(part) for part in ("counted", "whole", "coarse", "rest", "enlarged")
    )
    yield helper.make_node("Mul", [given, steps], [counted])
    yield helper.make_node("Round", [counted], [whole])
    yield helper.make_node("Div", [whole, steps], [coarse])
    yield helper.make_node("Sub", [given, coarse], [rest])
    yield helper.make_node("Mul", [rest, finer], [enlarged])
    yield helper.make_node("Concat", [coarse, enlarged], [names.of("fine")], axis=2)


def _rounded(weights: FloatArray) -> tuple[npt.NDArray[np.int8], FloatArray]:
    """Weights (outputs, inputs) as DynamicQuantizeLSTM takes them: int8 (inputs, outputs), and a scale each output."""
    largest = np.abs(weights).max(axis=1)
    scales = np.where(largest > 0, largest / LARGEST_WEIGHT, 1.0).astype(np.float32)
    return np.rint(weights / scales[:, None]).astype(np.int8).T.copy(), scales


def _copy(node: NodeProto) -> NodeProto:
    copied = NodeProto()
    copied.CopyFrom(node)
    return copied


def _feeds(graph: onnx.GraphProto, layer: NodeProto, next_layer: NodeProto) -> bool:
    """Whether a layer's output reaches the next one alone, and nothing but its axes is changed on the way."""
    producers = {output: node for node in graph.node for output in node.output}
    name = next_layer.input[0]
    while name in producers and producers[name].op_type in PASSES_ON:
        name = producers[name].input[0]
    takers = sum(list(node.input).count(layer.output[0]) for node in graph.node)
    return bool(name == layer.output[0]) and takers == 1


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
