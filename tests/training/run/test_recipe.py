"""A recipe says everything, and nothing that is not a key."""

import pytest
import yaml

from matchka_train.errors import RecipeError
from matchka_train.projections.storage import load_projection
from matchka_train.run.candidates import AutoRecipe
from matchka_train.run.data import DataSets
from matchka_train.run.recipe import read_recipe, write_recipe
from matchka_train.run.record import record_of
from tests.factories.checkout import ROOT

NOISE = "{folders: [{name: n, source: s, licence: l, layout: musan, path: p, snr_db: {noise: [0, 15]}}]}"
UNEQUAL = "data.train.0.clip_parts=[0.7, 0.2, 0.1]"


def test_read_recipe_with_overrides_changes_only_those_values(recipe_path):
    plain = read_recipe(recipe_path)
    changed = read_recipe(
        recipe_path, ("seed=9", "data.train.1.clip_parts=2", "loss.kind=triplet", "dims=[2, 4]", "as_norm.top=7")
    )
    assert (changed.seed, changed.data.train[1].clip_parts, changed.loss.kind) == (9, 2, "triplet")
    assert (changed.dims, changed.as_norm.top) == ((2, 4), 7)
    assert changed.data.train[0] == plain.data.train[0]
    assert changed.optimisation == plain.optimisation


@pytest.mark.parametrize(
    ("override", "where"),
    [
        ("sed=1", "sed"),
        ("optimisation.epoch=1", "optimisation.epoch"),
        ("projection.centring=1", "centring"),
        ("data.train.0.licens=x", "data.train.0.licens"),
        ("optimisation.large_margin={}", "patience_epochs must be 11 or more"),
        ("loss.sub_centres=1", "loss.sub_centres"),
        ("dims=[8, 4]", "dims"),
        ("dims=[]", "dims"),
        ("optimisation.warmup_epochs=99", "optimisation"),
        ("loss.dim_weights=[1, 2]", "dim_weights"),
        ("augmentation.noise_snr_db=[40, 20]", "noise_snr_db"),
        (f"augmentation.recorded_noise={NOISE.replace('licence: l, ', '')}", "recorded_noise.folders.0.licence"),
        (f"augmentation.recorded_noise={NOISE.replace('source: s, ', '')}", "recorded_noise.folders.0.source"),
        (f"augmentation.recorded_noise={NOISE.replace('licence: l', 'licence: ~')}", "folders.0.licence"),
        (f"augmentation.recorded_noise={NOISE.replace('[0, 15]', '[15, 0]')}", "snr_db.noise"),
        (f"augmentation.recorded_noise={NOISE.replace('noise: [0, 15]', '')}", "snr_db"),
        (f"augmentation.recorded_noise={NOISE.replace('layout: musan', 'layout: kaldi')}", "folders.0.layout"),
        ("augmentation.recorded_noise={folders: []}", "recorded_noise.folders"),
        ("augmentation.rooms={folders: [], share: 2}", "rooms.folders"),
        (f"data.validation.0.augmentation={{views: 1, recorded_noise: {NOISE}}}", "data.validation.0.augmentation"),
        ("data.train.0.folds={fold: 2, folds: 2}", "folds"),
        ("data.train.0.where={a: b}", "where"),
        ("data.train.7.corpus=x", "does not lead"),
        ("data.train.0.clip_parts=0", "data.train.0.clip_parts"),
        ("data.train.0.clip_parts=[0.5, 0.4]", "data.train.0"),
        ("data.train.0.clip_parts=[1.5, -0.5]", "data.train.0.clip_parts"),
        ("data.train.0.clip_parts=[1.0]", "data.train.0.clip_parts"),
        ("data.train.0.clip_parts=[.nan, 0.5]", "data.train.0.clip_parts"),
        ("seed", "key.key=value"),
        ("name=Not A Name", "name"),
    ],
)
def test_read_recipe_with_a_bad_value_stops_and_names_it(recipe_path, override, where):
    with pytest.raises(RecipeError, match=where.replace(".", r"\.")):
        read_recipe(recipe_path, (override,))


@pytest.mark.parametrize(
    ("overrides", "takes"),
    [
        ((), True),
        (("loss.kind=sub_centre_aam",), True),
        (("loss.kind=triplet",), False),
        (("projection={family: auto}",), False),
    ],
)
def test_read_recipe_with_a_large_margin_needs_losses_that_have_one(recipe_path, overrides, takes):
    overrides = ("optimisation.large_margin={}", "optimisation.keep=last", *overrides)
    if takes:
        assert read_recipe(recipe_path, overrides).optimisation.large_margin.margin == 0.5
    else:
        with pytest.raises(RecipeError, match="needs losses with an angular margin"):
            read_recipe(recipe_path, overrides)


@pytest.mark.parametrize("text", ["- a list", "{", "just text"])
def test_read_recipe_of_something_else_stops(tmp_path, text):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError):
        read_recipe(tmp_path / "recipe.yaml", ("seed=1",))


def test_write_recipe_is_read_back_the_same(recipe_path, tmp_path):
    for overrides in (
        (),
        ("data.train.0.clip_parts=[0.7, 0.2, 0.1]",),
        ("projection={family: auto}",),
        ("projection={family: refined}", "as_norm={}"),
        (f"augmentation.recorded_noise={NOISE}",),
    ):
        recipe = read_recipe(recipe_path, overrides)
        write_recipe(tmp_path / "again.yaml", recipe)
        assert read_recipe(tmp_path / "again.yaml") == recipe


def test_recipe_is_frozen(recipe_path):
    with pytest.raises(ValueError, match="frozen"):
        read_recipe(recipe_path).seed = 4


def test_auto_candidates_of_one_name_stop(recipe_path):
    one = {"name": "x", "projection": {"family": "rotation"}}
    with pytest.raises(RecipeError, match="own name"):
        read_recipe(
            recipe_path,
            (f"projection={yaml.safe_dump({'family': 'auto', 'candidates': [one, one]}, default_flow_style=True)}",),
        )


def test_auto_tries_every_family_and_every_loss():
    candidates = AutoRecipe().candidates
    families = {candidate.projection.family for candidate in candidates}
    assert families == {"rotation", "whitening", "near_rotation", "orthogonal", "linear", "mlp", "refined"}
    losses = {candidate.loss.kind for candidate in candidates if not candidate.is_closed_form}
    assert losses == {"aam_softmax", "sup_con", "info_nce", "triplet", "pairwise_logistic"}


def test_read_recipe_with_limits_where_they_were_until_limits_was_a_section_still_reads_them(recipe_path):
    recipe = read_recipe(recipe_path, ("data.max_duration_s=30", "data.min_speech_s=0.2"))
    assert recipe == read_recipe(recipe_path, ("data.limits.max_duration_s=30",))
    assert recipe.data.limits == {"max_duration_s": 30}


@pytest.mark.parametrize("limits", ["5", "null", "[a]"])
def test_read_recipe_with_limits_that_are_no_section_beside_one_where_it_was_stops(recipe_path, limits):
    with pytest.raises(RecipeError, match=r"data\.limits"):
        read_recipe(recipe_path, ("data.max_duration_s=30", f"data.limits={limits}"))


def test_read_recipe_of_a_checkpoint_of_pictures_drops_the_default_limits_of_clips_it_holds():
    path = ROOT / "training" / "matchka_train" / "recipes" / "face.yaml"
    written_then = read_recipe(path, ("data.max_duration_s=600.0", "data.min_speech_s=0.2"))
    assert written_then == read_recipe(path)
    assert written_then.data.limits == {}


@pytest.mark.parametrize("name", ["speaker", "face"])
def test_recipes_of_the_default_models_leave_validation_nothing_to_choose(name):
    assert not read_recipe(ROOT / f"training/matchka_train/recipes/{name}.yaml").validation_chooses


@pytest.mark.parametrize(
    ("overrides", "chooses"),
    [
        ((), True),
        (("optimisation.keep=last",), False),
        (("projection={family: whitening}",), False),
        (("projection={family: auto}", "optimisation.keep=last"), True),
    ],
)
def test_validation_chooses_where_it_decides_on_an_epoch_or_a_family(recipe_path, overrides, chooses):
    assert read_recipe(recipe_path, overrides).validation_chooses is chooses


def test_read_recipe_without_a_backbone_stops_and_names_it(recipe_path):
    content = yaml.safe_load(recipe_path.read_text())
    del content["backbone"]
    recipe_path.write_text(yaml.safe_dump(content))
    with pytest.raises(RecipeError, match="backbone: Field required"):
        read_recipe(recipe_path)


def recipe_record(recipe):
    nothing = DataSets(recipe.data, [[] for _ in recipe.data.train], [[] for _ in recipe.data.validation], {})
    return record_of(recipe, nothing)["recipe"]


@pytest.mark.parametrize(("recipe", "shipped"), [("speaker", "voice"), ("face", "face")])
def test_records_of_shipped_projections_are_those_of_their_recipes(recipe, shipped):
    """Whatever recipes can say since they were trained."""
    _, info = load_projection(ROOT / f"export/matchka_export/defaults/{shipped}.safetensors")
    found = read_recipe(ROOT / f"training/matchka_train/recipes/{recipe}.yaml")
    assert recipe_record(found) == info.record["recipe"]


def test_record_of_a_recipe_leaves_out_where_noise_lies_and_has_all_else_of_it(recipe_path):
    def record(noise):
        overrides = (f"augmentation.recorded_noise={noise}", f"data.train.0.augmentation={{recorded_noise: {noise}}}")
        return recipe_record(read_recipe(recipe_path, overrides))

    assert record(NOISE) == record(NOISE.replace("path: p", "path: elsewhere"))
    assert record(NOISE) != record(NOISE.replace("[0, 15]", "[0, 14]"))
    assert record(NOISE) != record(NOISE.replace("licence: l", "licence: another"))
