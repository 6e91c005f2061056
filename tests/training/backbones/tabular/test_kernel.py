"""Features of named numbers against the formula, number by number, and against the kernel that they stand for."""

import math

import numpy as np
import pytest
import torch

from matchka.modalities.tabular.spec import TabularField, TabularInputSpec
from matchka_train.backbones.tabular.kernel import KernelFeatures
from matchka_train.backbones.tabular.recipe import TabularRecipe
from matchka_train.errors import RecipeError
from matchka_train.run.recipe import read_recipe
from tests.factories.checkout import ROOT
from tests.factories.named_numbers import LENGTH_AND_FORCE

RECIPE = ROOT / "training/matchka_train/recipes/tabular.yaml"


def features(embedding_dim: int = 32, length_scale: float = 0.7, seed: int = 5) -> KernelFeatures:
    return KernelFeatures(LENGTH_AND_FORCE, embedding_dim, length_scale, seed)


def embed(backbone: KernelFeatures, rows: list[list[float]]) -> np.ndarray:
    with torch.inference_mode():
        return backbone.module()(torch.tensor(rows, dtype=torch.float32)).numpy()


def standard(length_m: float, force_n: float) -> tuple[float, float]:
    """In standard deviations of even numbers: a range is sqrt(12) of them."""
    shares = ((length_m + 2) / 8, (math.log10(force_n) + 2) / 5)
    return tuple(math.sqrt(12) * (share - 0.5) for share in shares)


def test_module_gives_what_the_formula_gives_and_unit_length():
    rows = [[-2.0, 0.01], [6.0, 1000.0], [0.5, 3.0], [2.0, 31.6227766]]
    found = embed(features(), rows)
    generator = np.random.default_rng(5)
    frequencies = generator.standard_normal((2, 32)) / 0.7
    phases = generator.uniform(0, 2 * np.pi, 32)
    for row, embedding in zip(rows, found, strict=True):
        a, b = standard(*row)
        waves = [math.cos(a * frequencies[0, k] + b * frequencies[1, k] + phases[k]) for k in range(32)]
        norm = math.sqrt(sum(wave * wave for wave in waves))
        np.testing.assert_allclose(embedding, [wave / norm for wave in waves], atol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_cosine_falls_with_the_distance_as_the_kernel_does():
    rows = LENGTH_AND_FORCE.example(40, seed=1)
    found = embed(features(4096, 2.0), rows.tolist())
    at = np.array([standard(*row) for row in rows.astype(np.float64)])
    expected = [[math.exp(-sum((a - b) ** 2) / 8) for b in at] for a in at]
    np.testing.assert_allclose(found @ found.T, expected, atol=0.08)


def test_module_of_the_widest_ranges_is_finite_at_their_ends():
    widest = TabularField(name="wide", unit="", low=-1e38, high=1e38)
    ratio = TabularField(name="ratio", unit="", low=2e-38, high=1e38, scale="log")
    backbone = KernelFeatures(TabularInputSpec(fields=(widest, ratio)), 16, 1.0, 0)
    found = embed(backbone, [[-1e38, 2e-38], [1e38, 1e38], [0.0, 1.0]])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_source_is_known_by_the_values_drawn_and_by_nothing_else():
    known = {features(seed=seed, length_scale=scale).source.sha256 for seed in (5, 6) for scale in (0.7, 0.8)}
    assert len(known) == 4
    assert features().source == features().source
    assert features().source.licence == "Apache-2.0"


def test_tabular_recipe_when_read_as_shipped_gives_its_features():
    recipe = read_recipe(RECIPE)
    assert isinstance(recipe.backbone, TabularRecipe)
    backbone = recipe.backbone.open()
    assert [field.name for field in backbone.input.fields][:3] == ["palm_width", "palm_length", "middle_finger"]
    assert [field.scale for field in backbone.input.fields].count("log") == 2
    assert recipe.dims[-1] <= backbone.embedding_dim == 256
    assert backbone.published is backbone


@pytest.mark.parametrize(
    ("override", "where"),
    [
        ("backbone.fields.0.low=120", "backbone.tabular.fields.0"),
        ("backbone.fields.3.low=0", "backbone.tabular.fields.3"),
        ("backbone.fields=[]", "backbone.tabular.fields"),
        ("backbone.length_scale=0", "backbone.tabular.length_scale"),
        ("backbone.features=0", "backbone.tabular.features"),
        ("backbone.layers=3", "backbone.tabular.layers"),
    ],
)
def test_tabular_recipe_when_a_value_is_out_of_range_names_it(override: str, where: str):
    with pytest.raises(RecipeError, match=where):
        read_recipe(RECIPE, (override,))
