"""Exact rewrites of an exported graph: the same function in operations that ONNX Runtime runs faster on a CPU.

Each is equal up to the rounding of 32-bit floats; whoever rewrites a file proves it against torch afterwards.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnxscript import ir, optimizer
from onnxscript.rewriter import RewriteRule, RewriteRuleSet, rewrite

from matchka.vectors import FloatArray
from matchka_export.graph.trace import tidy_graph

WHOLE_GRAPH: Final = 1 << 31  # bytes: weights of a whole LSTM are folded, too, which the library's bound leaves alone


def rewrite_exactly(path: Path, *, to_the_bit: bool = False) -> None:
    """Fold constants, take PRelu apart, and move the scaling of pixels into the first convolution.

    Args:
        path: an exported graph, replaced.
        to_the_bit: leave the scaling where it is, which alone changes the last bits.
    """
    model = ir.serde.deserialize_model(onnx.load(str(path)))
    optimizer.fold_constants(model, input_size_limit=WHOLE_GRAPH, output_size_limit=WHOLE_GRAPH)
    rules = [RewriteRule(_prelu, _maximum, _has_known_slopes, name="PRelu as a maximum")]
    if not to_the_bit:
        rules.append(RewriteRule(_scaled_convolution, _convolution, _is_unpadded, name="scaling into a convolution"))
    rewritten = rewrite(model, pattern_rewrite_rules=RewriteRuleSet(rules))
    onnx.save_model(ir.serde.serialize_model(rewritten), path, save_as_external_data=False)
    tidy_graph(path)


def share_equal_parts(path: Path) -> None:
    """Let a graph compute once what it was exported with twice: equal constants become one, then equal operations do.

    The same numbers, to the bit.

    Args: path: an exported graph, replaced.
    """
    model = ir.serde.deserialize_model(onnx.load(str(path)))
    once = ir.passes.common
    for share in (once.DeduplicateHashedInitializersPass(), once.CommonSubexpressionEliminationPass()):
        share(model)
    onnx.save_model(ir.serde.serialize_model(model), path, save_as_external_data=False)
    tidy_graph(path)


def _prelu(op: Any, x: ir.Value, slope: ir.Value) -> Any:
    return op.PRelu(x, slope)


def _has_known_slopes(_context: Any, slope: ir.Value, **_: Any) -> bool:
    return slope.const_value is not None


def _maximum(op: Any, x: ir.Value, slope: ir.Value) -> Any:
    """The larger of x and slope x; where a slope is above 1, max(x, 0) + slope min(x, 0): the same numbers, to the bit.

    ONNX Runtime 1.31 takes about twice as long for PRelu, which earlier releases did not.
    """
    slopes = _array(slope)
    if np.all(slopes <= 1):
        return op.Max(x, op.Mul(x, slope))
    zero = op.initializer(ir.tensor(np.zeros((), np.float32)), f"{slope.name}/zero")
    return op.Add(op.Max(x, zero), op.Mul(op.Min(x, zero), slope))


def _scaled_convolution(
    op: Any, x: ir.Value, mean: ir.Value, divisor: ir.Value, weight: ir.Value, bias: ir.Value
) -> Any:
    return op.Conv(op.Div(op.Sub(x, mean), divisor), weight, bias, _outputs=["convolved"])


def _is_unpadded(
    _context: Any, mean: ir.Value, divisor: ir.Value, weight: ir.Value, bias: ir.Value, convolved: ir.Value, **_: Any
) -> bool:
    """Whether nothing is padded, as zeros would have to become means, and there is one mean for each channel."""
    if any(value.const_value is None for value in (mean, divisor, weight, bias)) or _array(divisor).size > 1:
        return False
    if _array(weight).ndim != 4:
        return False
    attributes = _attributes(convolved)
    padding = [attributes[name] for name in ("pads", "auto_pad") if name in attributes]
    one_group = attributes["group"].as_int() == 1 if "group" in attributes else True
    channels = _array(weight).shape[1]
    per_channel = _array(mean).size == 1 or _array(mean).shape in ((channels, 1, 1), (1, channels, 1, 1))
    return one_group and per_channel and all(one.value in ("NOTSET", (0,) * 4) for one in padding)


def _convolution(
    op: Any, x: ir.Value, mean: ir.Value, divisor: ir.Value, weight: ir.Value, bias: ir.Value, convolved: ir.Value
) -> Any:
    """(x - mean) / divisor before a convolution as another convolution of x."""
    weights = _array(weight).astype(np.float64) / float(_array(divisor).reshape(()))
    of_channels = weights.sum(axis=(2, 3))
    shift = of_channels @ np.broadcast_to(_array(mean).reshape(-1).astype(np.float64), of_channels.shape[1:])
    scaled = op.initializer(ir.tensor(weights.astype(np.float32)), f"{weight.name}/scaled")
    shifted = op.initializer(ir.tensor((_array(bias) - shift).astype(np.float32)), f"{bias.name}/shifted")
    return op.Conv(x, scaled, shifted, **_attributes(convolved))


def _attributes(output: ir.Value) -> dict[str, ir.Attr]:
    node = output.producer()
    return {} if node is None else dict(node.attributes)


def _array(value: ir.Value) -> FloatArray:
    """A value that is known to be constant."""
    if value.const_value is None:
        raise ValueError(f"{value.name} is no constant")
    found: FloatArray = value.const_value.numpy()
    return found
