"""ReDimNet as one ONNX file with its front end inside: clips of any length, the same numbers."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from matchka.modalities.modality import GraphInput
from matchka_export.graph.trace import tidy_graph, trace_graph
from matchka_train.backbones.speaker.redimnet.config import parse_config
from matchka_train.backbones.speaker.redimnet.frozen import FrozenRedimnet
from matchka_train.backbones.speaker.redimnet.network import Redimnet
from tests.factories.redimnet_cases import CASES, made_clip
from tests.factories.redimnet_files import fill

pytestmark = pytest.mark.slow

LENGTHS = (257, 400, 4_001, 16_000, 31_111, 70_003)
TRACED = 16_000


@pytest.fixture(scope="module")
def module() -> FrozenRedimnet:
    return FrozenRedimnet(fill(Redimnet(parse_config(CASES["tiny"]))), "embedding")


@pytest.fixture(scope="module")
def graph(module: FrozenRedimnet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "redimnet.onnx"
    trace_graph(module, GraphInput("windows", (TRACED,), "float32"), path, free_axes=(1,))
    tidy_graph(path)
    return path


@pytest.fixture(scope="module")
def session(graph: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("rows", [1, 3])
def test_graph_when_clips_have_any_length_gives_what_torch_gives(
    session: onnxruntime.InferenceSession, module: FrozenRedimnet, samples: int, rows: int
) -> None:
    windows = np.stack([made_clip(samples + row)[:samples] for row in range(rows)])
    windows[-1, samples - samples // 3 :] = 0  # a clip that ends inside its window
    with torch.inference_mode():
        expected = module(torch.from_numpy(windows)).numpy()
    (found,) = session.run(None, {"windows": windows})
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_graph_when_a_clip_is_too_short_says_which_index_is_missing(session: onnxruntime.InferenceSession) -> None:
    with pytest.raises(Exception, match="idx=256 must be within the inclusive range"):  # ONNX Runtime's own class
        session.run(None, {"windows": np.ones((1, 256), np.float32)})


def test_graph_when_read_holds_only_standard_operations_and_free_axes(graph: Path) -> None:
    model = onnx.load(str(graph))
    assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx"}
    assert not {node.op_type for node in model.graph.node} & {"STFT", "DFT", "Loop", "If"}
    assert all(not axis.HasField("dim_value") for axis in model.graph.input[0].type.tensor_type.shape.dim)
