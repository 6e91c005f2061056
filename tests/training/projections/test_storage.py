"""A projection file gives back what was put in, and refuses everything else."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from matchka_train.errors import ProjectionError
from matchka_train.projections.affine import AffineProjection
from matchka_train.projections.mlp import MlpProjection, MlpRecipe
from matchka_train.projections.storage import ProjectionInfo, load_projection, save_projection
from matchka_train.projections.trained.linear import LinearProjection, LinearRecipe

INFO = ProjectionInfo(
    family="rotation",
    kind="affine",
    dims=(2, 4),
    backbone="tiny",
    backbone_sha256="0" * 64,
    datasets=({"name": "n", "source": "s", "licence": "l", "use": "u"},),
)


def test_affine_projection_round_trips_with_what_it_says_of_itself(tmp_path):
    generator = np.random.default_rng(0)
    weight, bias = generator.standard_normal((4, 6)).astype(np.float32), generator.standard_normal(4).astype(np.float32)
    save_projection(tmp_path / "p.safetensors", AffineProjection(weight, bias), INFO)
    module, info = load_projection(tmp_path / "p.safetensors")
    assert info == INFO
    rows = generator.standard_normal((3, 6)).astype(np.float32)
    expected = [[sum(w * x for w, x in zip(line, row, strict=True)) for line in weight] for row in rows]
    assert np.allclose(module(torch.tensor(rows)).numpy(), np.array(expected) + bias, atol=1e-5)


def test_mlp_projection_round_trips_with_its_own_kind(tmp_path):
    module = MlpProjection(6, 4, MlpRecipe(hidden=5))
    module(torch.randn(32, 6) * 3 + 1)
    save_projection(tmp_path / "p.safetensors", module.exported(), INFO)
    loaded, info = load_projection(tmp_path / "p.safetensors")
    assert info == replace(INFO, kind="mlp")
    rows = torch.randn(5, 6)
    assert torch.equal(loaded(rows), module.eval()(rows))


def test_save_projection_of_a_module_that_is_still_training_refuses(tmp_path):
    with pytest.raises(ProjectionError, match="LinearProjection"):
        save_projection(tmp_path / "p.safetensors", LinearProjection(4, 2, LinearRecipe()), INFO)


@pytest.mark.parametrize("content", [b"", b"not safetensors", None])
def test_load_projection_of_something_else_refuses(tmp_path, content):
    path = tmp_path / "p.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ProjectionError, match="cannot be read"):
        load_projection(path)


def test_load_projection_of_tensors_of_another_program_refuses(tmp_path):
    save_file({"weight": torch.zeros(2, 2)}, tmp_path / "p.safetensors", {"family": '"x"'})
    with pytest.raises(ProjectionError, match="not a projection of this project"):
        load_projection(tmp_path / "p.safetensors")


def test_save_projection_when_repeated_writes_the_same_bytes(tmp_path):
    """Versions of bundles follow the sha256 of this file."""
    module = AffineProjection(np.eye(4, dtype=np.float32), np.zeros(4, np.float32))
    written = set()
    for number in range(8):
        save_projection(tmp_path / f"{number}.safetensors", module, INFO)
        written.add((tmp_path / f"{number}.safetensors").read_bytes())
    assert len(written) == 1
