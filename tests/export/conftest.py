"""Exported toys, once for all tests of this folder."""

from pathlib import Path

import pytest
import torch

from matchka_export.graph.trace import RowsToEmbeddings, export_graph
from tests.factories.toy_backbone import TOY_DIM, TOY_INPUT, ToyBackbone


@pytest.fixture(scope="session")
def toy_model() -> RowsToEmbeddings:
    torch.manual_seed(1)
    return RowsToEmbeddings(ToyBackbone(), torch.nn.Linear(TOY_DIM, TOY_DIM))


@pytest.fixture(scope="session")
def toy_graph(toy_model: RowsToEmbeddings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("toy") / "model.onnx"
    export_graph(toy_model, TOY_INPUT.graph_input(), path)
    return path
