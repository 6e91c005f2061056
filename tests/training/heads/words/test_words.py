"""Words of settings on a made-up table of 40 numbers: the map has an inverse, the axis is found, ranges are kept."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.optimize import minimize

from matchka_train.errors import DatasetError, ProjectionError, RecipeError
from matchka_train.heads.words.axis import LEAST_SLOPE, fit_axis
from matchka_train.heads.words.fit import fit_words
from matchka_train.heads.words.network import WordsModel
from matchka_train.heads.words.recipe import WordsRecipe, read_words_recipe
from matchka_train.heads.words.storage import Fitted, Word, load_words, save_words
from matchka_train.heads.words.table import Presets, read_presets, split_by_contributor
from tests.factories.checkout import ROOT
from tests.factories.settings_table import PEOPLE, ROWS_EACH, graphic_equalizer_recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> WordsRecipe:
    return graphic_equalizer_recipe(tmp_path_factory.mktemp("settings"))


@pytest.fixture(scope="module")
def presets(recipe: WordsRecipe) -> Presets:
    return read_presets(recipe)


@pytest.fixture(scope="module")
def model(recipe: WordsRecipe, presets: Presets) -> WordsModel:
    return fit_words(recipe, split_by_contributor(presets, 2, 0)[0])


def as_rows(presets: Presets) -> torch.Tensor:
    return torch.tensor(presets.values, dtype=torch.float32)


def test_axis_tells_the_words_of_people_that_it_was_not_fitted_on(model: WordsModel, presets: Presets):
    held = split_by_contributor(presets, 2, 0)[1]
    _, logits, axis, _ = model(as_rows(held))
    assert ((axis[:, 0] > 0).numpy() == (held.words == "bright")).mean() > 0.95
    assert torch.equal(logits[:, 1] - logits[:, 0], axis[:, 0])


def test_settings_are_found_again_from_the_whole_embedding_and_in_range_from_any_part(
    model: WordsModel, presets: Presets, recipe: WordsRecipe
):
    values = as_rows(presets)
    *_, settings = model(values)
    assert settings.shape == (len(values), 3, 40)
    assert (settings[:, -1] - values).abs().max() < 1e-2
    low, high = recipe.fields[0].low, recipe.fields[0].high
    wild = model.settings(1000 * torch.randn(50, 40), 2), model.settings(1000 * torch.randn(50, 40), 40)
    assert all(((found >= low) & (found <= high)).all() for found in (settings, *wild))


def test_rotation_keeps_distances_between_all_numbers_but_the_one_kept_aside(model: WordsModel, presets: Presets):
    places = model.features.places(as_rows(presets))[:, model.features.others]
    embeddings = model.embed(as_rows(presets))[:, 1:]
    # by differences: products of rows leave a thousandth of a row's length beside itself on some CPUs
    between = partial(torch.cdist, compute_mode="donot_use_mm_for_euclid_dist")
    assert between(embeddings, embeddings).numpy() == pytest.approx(between(places, places).numpy(), abs=1e-3)


def test_axis_is_the_least_of_its_cost_and_its_slope_aside_is_never_small():
    generator = np.random.default_rng(2)
    features = generator.normal(size=(60, 3))
    is_second = (features[:, 0] + generator.normal(size=60) > 0).astype(float)
    weights = generator.uniform(0.2, 1, 60)
    weight, offset = fit_axis(features, is_second, weights, 0.1, None)

    def cost(slopes: np.ndarray) -> float:
        standard = (features - np.average(features, axis=0, weights=weights)) / np.sqrt(
            np.average((features - np.average(features, axis=0, weights=weights)) ** 2, axis=0, weights=weights)
        )
        odds = standard @ slopes[:3] + slopes[3]
        losses = np.log1p(np.exp(-np.where(is_second == 1, odds, -odds)))
        return float(np.average(losses, weights=weights) + 0.1 * np.sum(slopes[:3] ** 2))

    slow = minimize(cost, np.zeros(4), method="Nelder-Mead", options={"maxiter": 5000, "xatol": 1e-7, "fatol": 1e-12}).x
    spread = np.sqrt(
        np.average((features - np.average(features, axis=0, weights=weights)) ** 2, axis=0, weights=weights)
    )
    assert weight == pytest.approx(slow[:3] / spread, abs=1e-3)
    held, moved = fit_axis(features, is_second, weights, 0.1, 2)
    assert abs(held[2]) == LEAST_SLOPE
    mean = np.average(features, axis=0, weights=weights)
    assert moved + mean @ held == pytest.approx(offset + mean @ weight)


def test_weights_cap_what_one_person_says_of_one_word():
    presets = Presets(np.zeros((5, 1)), np.array(["a", "a", "a", "b", "a"]), np.array(["x", "x", "x", "x", "y"]))
    assert presets.weights(2).tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 1, 1])
    assert len(presets.at_most(2, 0).words) == 3


def test_split_shares_nobody_and_loses_nobody(presets: Presets):
    parts = [split_by_contributor(presets, 3, fold) for fold in range(3)]
    people = [set(held.contributors.tolist()) for _, held in parts]
    assert [len(each) for each in people] == [PEOPLE // 3] * 3
    assert len(set.union(*people)) == PEOPLE
    assert all(not set(train.contributors.tolist()) & held for (train, _), held in zip(parts, people, strict=True))
    assert sum(len(held.words) for _, held in parts) == PEOPLE * ROWS_EACH


def test_saved_model_is_read_back_whole_and_the_same_model_gives_the_same_bytes(
    model: WordsModel, presets: Presets, recipe: WordsRecipe, tmp_path: Path
):
    fitted = Fitted(recipe, model, {"warm": Word(9, ((0.0,) * 40, (1.0,) * 40))})
    for name in ("a", "b"):
        save_words(tmp_path / f"{name}.safetensors", fitted)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    found = load_words(tmp_path / "a.safetensors")
    assert (found.recipe, found.words) == (recipe, fitted.words)
    for one, other in zip(model(as_rows(presets)), found.model(as_rows(presets)), strict=True):
        assert torch.equal(one, other)


def test_file_that_holds_no_model_is_refused(tmp_path: Path):
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(ProjectionError, match="cannot be read"):
        load_words(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("contributor,descriptor\na,b\n", "needs rows, and columns"),
        ("contributor,descriptor,GAINS\na,warm,ZEROS\n", "within -24"),
        ("contributor,descriptor,GAINS\na,warm,WORDS\n", "no number"),
    ],
)
def test_table_that_does_not_hold_settings_is_refused(tmp_path: Path, text: str, match: str):
    recipe = graphic_equalizer_recipe(tmp_path)
    filled = text.replace("GAINS", ",".join(recipe.names)).replace("ZEROS", "24.5," + ",".join(["0"] * 39))
    recipe.table.path.write_text(filled.replace("WORDS", "loud," + ",".join(["0"] * 39)))
    with pytest.raises(DatasetError, match=match):
        read_presets(recipe)
    recipe.table.path.unlink()
    with pytest.raises(DatasetError, match="cannot be read"):
        read_presets(recipe)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"kept_aside": "mix"}, "name fields that there are not: mix"),
        ({"dims": [1, 40]}, "dims must rise"),
        ({"dims": [2, 39]}, "dims must rise"),
        ({"strengths": [0, 0.5]}, "strengths must rise"),
    ],
)
def test_recipe_that_contradicts_itself_is_refused(tmp_path: Path, changes: dict[str, object], match: str):
    with pytest.raises(ValidationError, match=match):
        graphic_equalizer_recipe(tmp_path, **changes)


def test_recipe_that_cannot_be_read_is_refused(tmp_path: Path):
    (tmp_path / "recipe.yaml").write_text("name: x\n")
    with pytest.raises(RecipeError, match="not valid at dims"):
        read_words_recipe(tmp_path / "recipe.yaml")
    with pytest.raises(RecipeError, match="cannot be read"):
        read_words_recipe(tmp_path / "absent.yaml")


def test_recipe_of_the_default_model_states_where_every_range_comes_from():
    found = read_words_recipe(ROOT / "training/matchka_train/recipes/equalizer.yaml")
    assert len(found.fields) == 13
    assert all("semanticaudio/SAFE" in (field.source or "") for field in found.fields)
    assert {field.scale for field in found.fields if field.unit == "Hz"} == {"log"}
    assert max(field.high for field in found.fields) == 20000
