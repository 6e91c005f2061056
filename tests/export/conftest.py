"""Exported toys, once for all tests of this folder."""

from pathlib import Path

import pytest
import torch

from export.graph import WindowsToEmbeddings, export_graph
from tests.export.toy import TOY_DIM, TOY_INPUT, ToyBackbone


@pytest.fixture(scope="session")
def toy_model() -> WindowsToEmbeddings:
    torch.manual_seed(1)
    return WindowsToEmbeddings(ToyBackbone(), torch.nn.Linear(TOY_DIM, TOY_DIM))


@pytest.fixture(scope="session")
def toy_graph(toy_model: WindowsToEmbeddings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("toy") / "model.onnx"
    export_graph(toy_model, TOY_INPUT.window_samples, path)
    return path
