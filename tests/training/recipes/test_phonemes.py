"""The shipped recipe of the phoneme head, read as a run reads it."""

from pathlib import Path

import pytest

from matchka_train.datasets.reader import read_datasets
from matchka_train.datasets.splits import identity_fold
from matchka_train.datasets.transcripts import read_transcripts
from matchka_train.errors import RecipeError
from matchka_train.run.phonemes.prepared import require_one_period
from matchka_train.run.phonemes.recipe import PhonemeRecipe
from matchka_train.run.recipe import check_recipe, read_content
from tests.factories.checkout import ROOT

RECIPE = ROOT / "training" / "matchka_train" / "recipes" / "phonemes.yaml"


def recipe_of(*overrides: str) -> PhonemeRecipe:
    return check_recipe(RECIPE, read_content(RECIPE, overrides), PhonemeRecipe)


def test_phoneme_recipe_fuses_encoders_of_one_period_and_reports_on_other_people():
    recipe = recipe_of()
    encoders = [encoder.open() for encoder in recipe.encoders]
    require_one_period(encoders)
    assert [(encoder.name, encoder.layers, encoder.dim) for encoder in encoders] == [
        ("ge2e", 3, 256),
        ("log_mel", 1, 240),
    ]
    assert [part.where for part in (*recipe.data.train, *recipe.data.validation)] == [
        {"split": "train"},
        {"split": "dev"},
    ]


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("encoders.0.kind=whisper", "encoders.0"),
        ("head.context.widht=3", "head.context"),
        ("data.train.0.layout=folder", "layout"),
        ("optimisation.masking={until: 0}", "optimisation.masking.until"),
        ("optimisation.masking={until: 1.5}", "optimisation.masking.until"),
    ],
)
def test_phoneme_recipe_when_a_value_is_wrong_names_it(override, named):
    with pytest.raises(RecipeError, match=named):
        recipe_of(override)


@pytest.mark.slow
@pytest.mark.shared_data
def test_phoneme_recipe_on_its_data_holds_out_13_speakers_and_finds_every_transcript(shared_data: Path):
    place = shared_data / "speech/utterances.csv"
    recipe = recipe_of(f"data.train.0.path={place}", f"data.validation.0.path={place}")
    parts = (recipe.data.train[0], recipe.data.validation[0])
    samples = read_datasets(parts)
    fold = recipe.data.held_out
    assert len({sample.subject for sample in identity_fold(samples[0], fold.fold, fold.folds, fold.seed)}) == 13
    train, dev = (read_transcripts(part, clips) for part, clips in zip(parts, samples, strict=True))
    assert (len(train), len(dev)) == (2_500, 1_200)
    assert sum(said.text in {other.text for other in train} for said in dev) == 25
