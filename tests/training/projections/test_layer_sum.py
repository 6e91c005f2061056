"""Learned weights of layers: the sum by hand, what training finds, and the file."""

from pathlib import Path

import numpy as np
import pytest
import torch

from matchka_train.errors import ProjectionError
from matchka_train.features.features import Features
from matchka_train.projections.affine import AffineProjection
from matchka_train.projections.families import begin
from matchka_train.projections.layer_sum import (
    LayerSum,
    LayerSumProjection,
    LayerSumRecipe,
    SummedProjection,
    summed_features,
)
from matchka_train.projections.storage import ProjectionInfo, load_projection, save_projection
from tests.factories.features import make_features

LAYERS, DIM, FULL = 3, 12, 6
INFO = ProjectionInfo("layer_sum", "", (2, FULL), "tiny-layers", "0" * 64, ())


def layered(informative: int) -> Features:
    """One layer tells identities apart, the others are noise; each of unit length, together too."""
    features = make_features(10, 6, DIM, spread=0.3)
    generator = np.random.default_rng(8)
    blocks = generator.standard_normal((LAYERS, *features.windows.shape))
    blocks[informative] = features.windows
    blocks /= np.linalg.norm(blocks, axis=2, keepdims=True)
    windows = np.concatenate(list(blocks), axis=1) / np.sqrt(LAYERS)
    return Features(
        windows.astype(np.float32),
        features.window_counts,
        features.subjects,
        features.domains,
        features.paths,
        features.spans,
    )


def test_projection_at_its_start_equals_the_closed_form_on_the_plain_mean_of_layers() -> None:
    features = layered(1)
    projection = begin(features, LayerSumRecipe(layers=LAYERS), FULL, seed=0)
    assert isinstance(projection, LayerSumProjection)
    start = projection.refined.exported()
    for row, found in zip(features.windows[:5], projection(torch.tensor(features.windows[:5])), strict=True):
        mean = np.mean([np.sqrt(LAYERS) * row[k * DIM : (k + 1) * DIM].astype(float) for k in range(LAYERS)], axis=0)
        expected = start.weight.numpy().astype(float) @ mean + start.bias.numpy()
        np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("informative", [0, 2])
def test_projection_when_trained_gives_the_layer_that_tells_identities_apart_most_weight(informative: int) -> None:
    features = layered(informative)
    projection = begin(features, LayerSumRecipe(layers=LAYERS), FULL, seed=0)
    rows = torch.tensor(features.windows)
    labels = torch.tensor(np.repeat(np.unique(features.subjects, return_inverse=True)[1], features.window_counts))
    same = (labels[:, None] == labels).float()
    optimiser = torch.optim.Adam(projection.parameters(), lr=0.05)
    for _ in range(60):
        unit = torch.nn.functional.normalize(projection(rows), dim=1)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(10 * (unit @ unit.T) - 5, same)
        optimiser.zero_grad()
        (loss + projection.penalty()).backward()
        optimiser.step()
    exported = projection.exported()
    weights = exported.layer_sum.weights.numpy()
    assert weights.argmax() == informative
    assert weights[informative] > 0.5
    assert weights.sum() == pytest.approx(1.0, abs=1e-6)
    torch.testing.assert_close(exported(rows), projection(rows).detach(), rtol=0, atol=1e-5)
    # affine: the mean of a clip's projected windows is the projection of their mean
    torch.testing.assert_close(exported(rows[:4]).mean(dim=0), exported(rows[:4].mean(dim=0, keepdim=True))[0])


def test_save_projection_of_a_layer_sum_when_loaded_computes_the_same(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    affine = AffineProjection(
        generator.standard_normal((FULL, DIM)).astype(np.float32), generator.standard_normal(FULL).astype(np.float32)
    )
    module = SummedProjection(LayerSum(torch.tensor([0.2, 0.5, 0.3])), affine)
    save_projection(tmp_path / "p.safetensors", module, INFO)
    loaded, info = load_projection(tmp_path / "p.safetensors")
    rows = torch.randn(4, LAYERS * DIM, generator=torch.Generator().manual_seed(1))
    assert info.kind == "layer_sum"
    torch.testing.assert_close(loaded(rows), module(rows), rtol=0, atol=0)


def test_summed_features_when_the_width_does_not_hold_the_layers_refuses() -> None:
    with pytest.raises(ProjectionError, match="do not hold 5 layers"):
        summed_features(layered(0), 5)
