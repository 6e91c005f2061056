"""The recipe of the default enhancer: the people of the face model's recipe, in the same roles."""

import pytest

from matchka_train.cli.tasks import task_of
from matchka_train.errors import RecipeError
from matchka_train.run.enhancer.recipe import EnhancerRecipe
from matchka_train.run.recipe import check_recipe, read_content, read_recipe
from tests.factories.checkout import ROOT

RECIPES = ROOT / "training" / "matchka_train" / "recipes"
PATH = RECIPES / "face-lowres.yaml"


def test_recipe_of_the_enhancer_trains_and_reports_on_the_people_of_the_model_it_is_for() -> None:
    recipe, model = check_recipe(PATH, read_content(PATH), EnhancerRecipe), read_recipe(RECIPES / "face.yaml")
    for use in ("train", "validation"):
        (ours,), (theirs,) = getattr(recipe.data, use), getattr(model.data, use)
        same = {"corpus", "domain", "where", "leave_out", "path", "source", "licence"}
        assert ours.model_dump(include=same) == theirs.model_dump(include=same)
    assert (recipe.backbone, recipe.dims) == (model.backbone, model.dims)
    assert task_of(read_content(PATH)).recipe is EnhancerRecipe


@pytest.mark.parametrize("override", ["dims=[32, 16]", "sizes_px=[]", "optimisation.steps=0", "network.depth=3"])
def test_recipe_of_the_enhancer_with_a_value_that_makes_no_sense_is_refused(override: str) -> None:
    with pytest.raises(RecipeError, match="not valid"):
        check_recipe(PATH, read_content(PATH, (override,)), EnhancerRecipe)
