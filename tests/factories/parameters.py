"""A bundle whose graph returns settings, with words that stand for some."""

from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from matchka.bundles.bundle import sha256_of
from tests.factories.bundles import edit_bundle, write_bundle
from tests.factories.graphs import write_graph
from tests.factories.named_numbers import FREQUENCY, GAIN

SETTING = {"frequency": 440.0, "gain": 1.5}
STRENGTHS = [0, 0.5, 1]
WORDS = {"warm": {"contributors": 9, "settings": [[200.0, 0.0], [100.0, 3.0], [50.0, 12.0]]}}


def parameters_output(**changes: Any) -> dict[str, Any]:
    """The manifest's entry, of the numbers of tests.factories.named_numbers."""
    parameters = [{**FREQUENCY}, {**GAIN, "scale": "linear"}]
    stated = {"kind": "parameters", "dims": [4], "parameters": parameters, "strengths": STRENGTHS, "words": WORDS}
    return stated | changes


def write_parameters_bundle(folder: Path, name: str) -> Path:
    """A bundle that takes a frequency and a gain, and returns settings; it does not embed."""
    bundle = write_bundle(folder, name, input={"kind": "tabular", "fields": [FREQUENCY, GAIN]})
    write_graph(bundle / "model.onnx", input_name="values", window=2)
    add_settings_output(bundle / "model.onnx")
    outputs = {"settings": parameters_output()}
    (bundle / "report.json").unlink()
    files = {"model.onnx": sha256_of(bundle / "model.onnx")}
    edit_bundle(bundle, lambda manifest: manifest.update(outputs=outputs, files=files))
    return bundle


def add_settings_output(path: Path) -> None:
    """Replace a graph's output by one of the shape (batch, 1, 2): its input with one axis more."""
    model = onnx.load(str(path))
    graph = model.graph
    del graph.output[:]
    graph.initializer.append(helper.make_tensor("settings_axis", TensorProto.INT64, [1], [1]))
    graph.node.append(helper.make_node("Unsqueeze", [graph.input[0].name, "settings_axis"], ["settings"]))
    graph.output.append(helper.make_tensor_value_info("settings", TensorProto.FLOAT, ["batch", 1, 2]))
    onnx.checker.check_model(model)
    onnx.save_model(model, str(path))
