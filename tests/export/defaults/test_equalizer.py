"""The default `equalizer`: what it promises, over a real server, with and without what was learned from people."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from matchka.bundles.bundle import read_bundle
from matchka.bundles.outputs.classes import ClassOutput
from matchka.bundles.outputs.parameters import Parameter, ParametersOutput
from matchka_export.defaults.catalogue import DEFAULT_MODELS
from matchka_export.defaults.equalizer import WITHOUT
from matchka_export.defaults.shipped import current_bundle
from matchka_export.words.evidence import WordsEvidence, read_words_evidence
from matchka_train.heads.words.recipe import read_words_recipe
from matchka_train.heads.words.storage import load_words
from tests.factories.checkout import ROOT
from tests.factories.small_server import SmallServer, serving, small_settings

SHIPPED = ROOT / "export" / "matchka_export" / "defaults"
JSON = {"Content-Type": "application/json"}
EVIDENCE = read_words_evidence(SHIPPED / "equalizer.json")
OUTPUT = load_words(SHIPPED / "equalizer.safetensors")


@pytest.fixture(scope="module")
def server(equalizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """A server of the default bundle, and of nothing else."""
    folder = tmp_path_factory.mktemp("equalizer")
    (folder / "models").mkdir()
    (folder / "models" / "equalizer").symlink_to(equalizer, target_is_directory=True)
    with serving(small_settings(folder, models_dir=equalizer.parent, models=["equalizer"])) as running:
        yield running


def test_figures_on_people_who_were_left_out_meet_what_was_asked_for():
    words = EVIDENCE.words
    assert words is not None
    assert words.auc >= 0.93
    assert words.accuracy >= 0.86
    assert words.per_dim["2"].eer <= 0.255
    assert words.per_dim["2"].silhouette >= 0.5
    assert all(found.error_db <= found.pca_error_db for dim, found in words.per_dim.items() if dim != "13")
    assert words.per_dim["13"].error_db <= 0.1
    assert words.generated_db["warm"] <= 1.7
    assert words.generated_db["bright"] <= 1.1
    assert words.morphs_rise


def test_shipped_recipe_is_the_one_of_the_repository():
    ours = read_words_recipe(ROOT / "training" / "matchka_train" / "recipes" / "equalizer.yaml")
    assert ours == OUTPUT.recipe


def test_shipped_files_hold_no_setting_of_a_person_and_name_their_source():
    assert {each.licence for each in EVIDENCE.datasets} == {"no licence given"}
    assert "SAFE project user data" in EVIDENCE.datasets[0].source
    assert sum(tensor.numel() for tensor in OUTPUT.model.learned().values()) < 8000  # 1,368 settings are 17,784 numbers


def test_word_is_classified_and_its_place_on_the_axis_told(server: SmallServer):
    client = server.client()
    for word, other in (("warm", "bright"), ("bright", "warm")):
        setting = client.generate(word).parameters
        answer = post(server, "classify", {"file": setting})
        assert answer["label"] == word
        assert [each["label"] for each in answer["classes"]] == [word, other]
        odds = np.log(answer["classes"][0]["probability"] / answer["classes"][1]["probability"])
        assert answer["values"]["axis"] == pytest.approx(odds if word == "bright" else -odds, rel=1e-4)


def test_setting_is_enrolled_found_again_and_told_from_another(server: SmallServer):
    client = server.client()
    warm, bright = (client.generate(word).parameters for word in ("warm", "bright"))
    client.enroll("mine", [warm], "equalizer")
    nearly = {**warm, "low_shelf_gain_db": warm["low_shelf_gain_db"] + 0.1}
    assert client.identify(nearly, "equalizer").candidates[0].subject_id == "mine"
    assert client.verify("mine", warm, "equalizer").match
    assert not client.verify("mine", bright, "equalizer", max_fmr=0.1).match


@pytest.mark.parametrize("word", ["airy", "tinny", ""])
def test_word_of_few_people_has_no_curve(server: SmallServer, word: str):
    problem = post(server, "generate", {"descriptor": word})
    assert problem["code"] == ("unknown_descriptor" if word else "invalid_field")


@settings(max_examples=30)
@given(st.data())
def test_everything_generated_or_morphed_is_within_range(server: SmallServer, data: st.DataObject):
    client = server.client()
    fields = OUTPUT.recipe.fields
    known = {each.name: Parameter(**each.model_dump(exclude={"source"})) for each in fields}
    shares = st.floats(0, 1)
    one, other = (
        {each.name: data.draw(st.floats(each.low, each.high, width=32)) for each in fields if _ends_are_float32(each)}
        | {each.name: each.low for each in fields if not _ends_are_float32(each)}
        for _ in range(2)
    )
    found = [
        client.generate(data.draw(st.sampled_from(["warm", "bright"])), data.draw(shares)).parameters,
        client.morph(one, other, data.draw(shares)).parameters,
    ]
    for setting in found:
        assert all(known[name].low <= value <= known[name].high for name, value in setting.items())
    assert client.morph(one, other, 0).parameters == pytest.approx(one, rel=1e-6, abs=1e-30)
    assert client.morph(one, other, 1).parameters == pytest.approx(other, rel=1e-6, abs=1e-30)


def test_graph_finds_settings_again_in_range_from_any_part_of_their_embedding(equalizer: Path):
    bundle = read_bundle(equalizer)
    rows = bundle.manifest.input.example(200, seed=4)
    session = onnxruntime.InferenceSession(str(bundle.graph_path))
    (found,) = session.run(["parameters"], {"values": rows})
    output = bundle.manifest.output(ParametersOutput)
    assert found[:, -1] == pytest.approx(rows, rel=2e-3, abs=2e-3)
    low, high = (np.array([getattr(each, end) for each in output.parameters], np.float32) for end in ("low", "high"))
    assert ((found >= low) & (found <= high)).all()


@pytest.mark.slow
def test_bundle_without_learned_numbers_embeds_morphs_and_enrols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = tmp_path / "models" / "equalizer"
    monkeypatch.setenv(WITHOUT, "1")
    bundle = DEFAULT_MODELS["equalizer"].build(target, tmp_path, tmp_path, Console(quiet=True))
    assert current_bundle(target, "equalizer") is not None
    monkeypatch.delenv(WITHOUT)
    assert current_bundle(target, "equalizer") is None
    assert not bundle.manifest.has_output(ClassOutput)
    assert "SAFE project" not in json.dumps(bundle.manifest.model_dump(mode="json", exclude={"input"}))
    setting = {each.name: each.low for each in bundle.manifest.output(ParametersOutput).parameters}
    other = {each.name: each.high for each in bundle.manifest.output(ParametersOutput).parameters}
    with serving(small_settings(tmp_path)) as server:
        client = server.client()
        assert len(client.embed([setting], "equalizer", 4).embeddings[0]) == 4
        client.enroll("mine", [setting], "equalizer")
        assert client.verify("mine", setting, "equalizer").match
        assert not client.verify("mine", other, "equalizer", max_fmr=0.1).match
        assert client.morph(setting, other, 0).parameters == setting
        assert post(server, "generate", {"descriptor": "warm"})["code"] == "unknown_descriptor"
        assert post(server, "classify", {"file": setting})["code"] == "output_not_available"


def test_evidence_is_read_back_whole():
    assert WordsEvidence.model_validate_json(EVIDENCE.model_dump_json()) == EVIDENCE
    assert asdict(EVIDENCE.words)["contributors"] == 32 if EVIDENCE.words else False


def _ends_are_float32(field: object) -> bool:
    return all(float(np.float32(getattr(field, end))) == getattr(field, end) for end in ("low", "high"))


def post(server: SmallServer, call: str, fields: dict[str, object]) -> dict[str, object]:
    body = json.dumps({"model": "equalizer", **fields})
    answer: dict[str, object] = requests.post(f"{server.url}/v1/{call}", data=body, headers=JSON, timeout=60).json()
    return answer
