"""Convolutions with 8-bit numbers: unsigned between the layers, signed weights with one scale for each filter.

The ranges between the layers are learned numbers: calibrated on samples of training people once, and shipped.
"""

import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QDQQuantizer, QuantType, create_calibrator
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData

from matchka.modalities.modality import InputArray
from matchka.vectors import FloatArray
from matchka_export.errors import QuantisationError

OPERATIONS: Final = ("Conv", "Add", "AveragePool", "MaxPool", "Pad", "Relu")
CALIBRATED: Final = CalibrationMethod.MinMax
BATCH: Final = 16  # rows that calibration runs at once; every tensor between the layers is kept meanwhile
LEAST_SPREAD: Final = 1.0  # of the values of a row of pixels, 0 to 255: less is a picture of nothing
PIXEL_RANGE: Final = (0.0, 255.0)  # of the input's own 8 bits: its scale is 1, so that they are taken as they are

Ranges = Mapping[str, tuple[float, float]]  # place between the layers (places_of) -> lowest and highest value


def calibrate(model: onnx.ModelProto, rows: InputArray) -> dict[str, tuple[float, float]]:
    """The ranges of what passes between the layers.

    Args:
        model: with the scaling of pixels inside its first convolution (matchka_export.graph.rewrite).
        rows: of its input, (n, ...), of people who trained.

    Raises: QuantisationError: a row is of one colour, such as all black: ranges of nothing would be shipped.
    """
    spread = rows.std(axis=tuple(range(1, rows.ndim)), dtype=np.float32)
    if not len(rows) or spread.min() < LEAST_SPREAD:
        raise QuantisationError(
            "Samples to calibrate on show nothing.",
            value=f"{int((spread < LEAST_SPREAD).sum())} of {len(rows)} of one colour",
            remedy="Give samples that show something.",
        )
    places = places_of(model)
    with tempfile.TemporaryDirectory(prefix="matchka-calibrate-") as folder, _without_advice():
        path = Path(folder) / "model.onnx"
        onnx.save_model(model, path)
        calibrator = create_calibrator(
            path,
            OPERATIONS,
            (Path(folder) / "augmented.onnx").as_posix(),
            CALIBRATED,
            providers=["CPUExecutionProvider"],
        )
        calibrator.collect_data(_Rows(model.graph.input[0].name, rows))
        found = calibrator.compute_data().data
    ends = {place: found[tensor].range_value for place, tensor in places.items()}
    return {place: (float(np.min(low)), float(np.max(high))) for place, (low, high) in ends.items()}


def places_of(model: onnx.ModelProto) -> dict[str, str]:
    """What ranges are of, by names that do not depend on the exporter's: `Conv 0` is what the first one gives.

    Returns: place -> name of the tensor.
    """
    counts: Counter[str] = Counter()
    places = {}
    for node in model.graph.node:
        if node.op_type in OPERATIONS:
            places[f"{node.op_type} {counts[node.op_type]}"] = node.output[0]
            counts[node.op_type] += 1
    return places


def quantise_convolutional(model: onnx.ModelProto, ranges: Ranges) -> onnx.ModelProto:
    """A copy of a graph whose convolutions, and what lies between them, compute in 8 bits.

    Args:
        model: as for calibrate(); its pixels go from the input to the first convolution as they are.
        ranges: of calibrate(), of this graph or of one with the same layers.

    Raises: QuantisationError: the ranges are of other layers.
    """
    places = places_of(model)
    if places.keys() != ranges.keys():
        raise QuantisationError(
            "The calibrated ranges are of a graph with other layers.",
            value=", ".join(sorted(places.keys() ^ ranges.keys())[:5]),
            remedy="Calibrate again with `matchka-export quantise`.",
        )
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    for number, node in enumerate(copied.graph.node):
        node.name = node.name or f"node_{number}"  # nodes are quantised by name
    pixels = _pixels_of(copied.graph)
    data = {tensor: _ends(ranges[place]) for place, tensor in places.items()} | {pixels.output[0]: _ends(PIXEL_RANGE)}
    with _without_advice():
        quantiser = QDQQuantizer(
            copied,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CALIBRATED, data),
            nodes_to_quantize=[],
            nodes_to_exclude=[],
            op_types_to_quantize=list(OPERATIONS),
            extra_options={},
        )
        quantiser.quantize_model()
        quantiser.model.topological_sort()
    quantised: onnx.ModelProto = quantiser.model.model
    _take_as_they_are(quantised.graph, pixels)
    return quantised


class _Rows(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
    """Rows in batches, as the calibrator asks for them."""

    def __init__(self, name: str, rows: InputArray) -> None:
        self._batches = ({name: rows[start : start + BATCH]} for start in range(0, len(rows), BATCH))

    def get_next(self) -> dict[str, InputArray] | None:
        return next(self._batches, None)


def _ends(ends: tuple[float, float]) -> tuple[FloatArray, FloatArray]:
    low, high = np.asarray(ends, np.float32)
    return np.asarray(low), np.asarray(high)


def _pixels_of(graph: onnx.GraphProto) -> onnx.NodeProto:
    """The conversion of the input's 8-bit pixels to what the first convolution takes.

    Raises: QuantisationError: something else stands before it.
    """
    first = next((node for node in graph.node if node.op_type == "Conv"), None)
    before: list[onnx.NodeProto] = [
        node for node in graph.node if first is not None and node.output[0] == first.input[0]
    ]
    if [node.op_type for node in before] != ["Cast"]:
        raise QuantisationError(
            "Pixels do not reach the first convolution as they are.",
            value=[node.op_type for node in before],
            remedy="Rewrite the graph first, with the scaling inside the convolution, or leave it in 32 bits.",
        )
    return before[0]


def _take_as_they_are(graph: onnx.GraphProto, pixels: onnx.NodeProto) -> None:
    """Take out the way of pixels from 8 bits to 32 and, with a scale of 1, back to the same 8."""
    (back,) = (node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == pixels.output[0])
    for node in graph.node:
        node.input[:] = [pixels.input[0] if name == back.output[0] else name for name in node.input]
    kept = [node for node in graph.node if node.output[0] not in (pixels.output[0], back.output[0])]
    del graph.node[:]
    graph.node.extend(kept)


@contextmanager
def _without_advice() -> Iterator[None]:
    """Hold back the library's advice to prepare graphs, which this one has been."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
