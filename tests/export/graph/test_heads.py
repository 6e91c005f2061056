"""A backbone that says more than its embedding becomes one graph with all of it."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from matchka_export.errors import ParityError
from matchka_export.gate.parity import deal_batches, made_rows, require_parity
from matchka_export.graph.build import build_graph
from matchka_train.backbones.backbone import heads_of
from matchka_train.backbones.iq.backbone import RadioBackbone
from matchka_train.backbones.iq.file import write_network
from matchka_train.backbones.served_graph import serve_graph, value_of
from matchka_train.features.embedding import embed_windows
from tests.factories.radio import tiny_network

pytestmark = pytest.mark.slow  # whole graphs are exported


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("radio")
    write_network(folder / "network.safetensors", tiny_network())
    backbone = RadioBackbone(folder / "network.safetensors")
    model = build_graph(backbone, torch.nn.Linear(8, 4), folder / "model.onnx")
    return backbone, model, folder / "model.onnx"


def test_build_graph_when_the_backbone_has_heads_returns_all_of_them_as_torch_does(built):
    backbone, model, path = built
    served = serve_graph(path, backbone.input, 4, heads_of(backbone))
    assert require_parity(model, served.session, deal_batches(made_rows(backbone.input))) < 1e-4
    assert [output.name for output in onnx.load(str(path)).graph.output] == ["embeddings", "class", "snr_db", "known"]


def test_require_parity_when_a_head_differs_is_refused(built):
    backbone, model, path = built
    served = serve_graph(path, backbone.input, 4, heads_of(backbone))
    other = tiny_network()
    other.familiarity.means.add_(1.0)
    wrong = type(model)(replace(backbone, path=backbone.path).headed_module(), model.projection)
    wrong.backbone.familiarity = other.familiarity
    with pytest.raises(ParityError):
        require_parity(wrong, served.session, deal_batches(made_rows(backbone.input)))


def test_value_of_when_asked_for_the_snr_returns_it_in_the_embeddings_place(built):
    backbone, _, path = built
    rows = made_rows(backbone.input)
    served = serve_graph(path, backbone.input, 4, heads_of(backbone))
    expected = backbone.trained.network(torch.from_numpy(rows)).snr_db.numpy()
    np.testing.assert_allclose(embed_windows(value_of(served, "snr_db").module(), rows), expected, atol=1e-4)
