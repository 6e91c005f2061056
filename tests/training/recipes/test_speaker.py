"""The shipped recipe names data sets that exist, in parts that share nobody."""

import pytest

from matchka_train.datasets.reader import read_datasets
from matchka_train.datasets.splits import flat, require_disjoint
from matchka_train.run.recipe import read_recipe
from tests.factories.checkout import ROOT

RECIPE = ROOT / "training/matchka_train/recipes/speaker.yaml"


@pytest.mark.shared_data
def test_speaker_recipe_splits_its_data_by_identity(shared_data):
    recipe = read_recipe(RECIPE)
    sets = {}
    for part in ("train", "validation"):
        moved = [
            dataset.model_copy(update={"path": shared_data / "speech" / dataset.path.name})
            for dataset in getattr(recipe.data, part)
        ]
        sets[part] = read_datasets(moved)
    assert [len({sample.subject for sample in samples}) for samples in sets["train"]] == [125, 126, 126]
    assert [len({sample.subject for sample in samples}) for samples in sets["validation"]] == [60, 125]
    assert [len(samples) for samples in sets["validation"]] == [1200, 500]
    require_disjoint(flat(sets["train"]), flat(sets["validation"]))


def test_speaker_recipe_states_the_licence_of_everything_it_uses():
    data = read_recipe(RECIPE).data
    assert {dataset.licence for dataset in (*data.train, *data.validation)} == {"CC-BY-4.0"}
    assert all("not stated" not in dataset.source for dataset in (*data.train, *data.validation))
