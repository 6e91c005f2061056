"""The shipped recipe of the face model, read as a run reads it."""

from pathlib import Path

import pytest
from rich.progress import Progress

from matchka_train.backbones.face.dlib import DlibFace
from matchka_train.backbones.face.recipes import DlibRecipe
from matchka_train.errors import DuplicateSampleError, RecipeError
from matchka_train.modalities.face import FACE
from matchka_train.projections.closed_form.near_rotation import NearRotationRecipe
from matchka_train.projections.storage import load_projection
from matchka_train.run.data import read_data
from matchka_train.run.recipe import read_recipe
from tests.factories.checkout import ROOT

RECIPE = ROOT / "training" / "matchka_train" / "recipes" / "face.yaml"


def test_face_recipe_when_read_asks_for_both_views_and_validates_on_other_people() -> None:
    recipe = read_recipe(RECIPE)
    assert recipe.dims == (8, 16, 32, 64, 128)
    assert recipe.backbone == DlibRecipe(kind="dlib", mirrored=True)
    assert recipe.projection == NearRotationRecipe(whitening=0.05, identity_cap=1)
    assert [part.where for part in (*recipe.data.train, *recipe.data.validation)] == [
        {"split": "train"},
        {"split": "dev"},
    ]
    assert all("research use only" in part.licence for part in (*recipe.data.train, *recipe.data.validation))


@pytest.mark.shared_data
def test_face_recipe_leaves_out_the_photograph_that_has_two_names(shared_data: Path) -> None:
    recipe = read_recipe(
        RECIPE, tuple(f"data.{part}.0.path={shared_data / 'face/images.csv'}" for part in ("train", "validation"))
    )
    with Progress(disable=True) as progress:
        kept = read_data(recipe.data, FACE.copies, None, progress)
        assert sum(map(len, (*kept.train, *kept.validation))) == 3_222 - 4
        (dev,) = recipe.data.validation
        whole = recipe.data.model_copy(update={"validation": (dev.model_copy(update={"leave_out": ()}),)})
        with pytest.raises(DuplicateSampleError, match=r"1 recordings or pictures .*Andrew_Caldecott.*Andrew_Gilligan"):
            read_data(whole, FACE.copies, None, progress)


def test_open_backbone_when_dlib_is_asked_for_looks_once_or_twice() -> None:
    for mirrored, name in ((True, "dlib-mirrored"), (False, "dlib")):
        backbone = DlibRecipe(kind="dlib", mirrored=mirrored).open()
        assert isinstance(backbone, DlibFace)
        assert backbone.name == name  # a part of every cache key and of the bundle's version
        assert backbone.published.name == "dlib"
        assert backbone.input.chip_px == 150


def test_face_recipe_when_a_value_is_out_of_range_names_it() -> None:
    with pytest.raises(RecipeError, match="projection"):
        read_recipe(RECIPE, ("projection.whitening=1.5",))
    with pytest.raises(RecipeError, match="backbone"):
        read_recipe(RECIPE, ("backbone.mirored=true",))


def test_shipped_face_projection_when_loaded_is_what_the_recipe_says() -> None:
    _, info = load_projection(ROOT / "export" / "matchka_export" / "defaults" / "face.safetensors")
    recipe = read_recipe(RECIPE)
    assert (info.family, info.dims) == (recipe.projection.family, recipe.dims)
    assert info.backbone_sha256 == "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
    assert [dataset["source"] for dataset in info.datasets] == [
        part.source for part in (*recipe.data.train, *recipe.data.validation)
    ]
