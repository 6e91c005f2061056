"""From a made-up table of 40 gains to a bundle, by the commands; and what keeps a bundle from being written."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from matchka.bundles.outputs.parameters import ParametersOutput
from matchka.errors import MatchkaError
from matchka_export.errors import EvidenceError, GateError, ParityError
from matchka_export.words.build import build_words_bundle, require_good, write_graph
from matchka_export.words.evidence import WordsEvidence, read_words_evidence, write_words_evidence
from matchka_export.words.measure import measure_words
from matchka_train.cli.train import app
from matchka_train.heads.words.storage import load_words
from tests.factories.checkout import ROOT
from tests.factories.settings_table import PEOPLE, graphic_equalizer_recipe

SHIPPED = ROOT / "export" / "matchka_export" / "defaults"


@pytest.fixture(scope="module")
def evidence() -> WordsEvidence:
    return read_words_evidence(SHIPPED / "equalizer.json")


@pytest.mark.slow
def test_table_of_forty_gains_becomes_a_bundle_by_the_same_recipe(tmp_path: Path):
    decoder = {"hidden": 16, "steps": 150}
    # more people than one fold has: words are solved once, for the bundle, and not for each fold as well
    recipe = graphic_equalizer_recipe(tmp_path, decoder=decoder, least_contributors=20)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    done = CliRunner().invoke(app, ["words", str(tmp_path / "recipe.yaml"), "--threads", "1"])
    assert done.exit_code == 0, done.output
    assert f"of {PEOPLE} unseen contributors" in done.output
    files = measure_words(recipe.output_dir, tmp_path / "measured")
    bundle = build_words_bundle(tmp_path / "models" / "graphic", *files)
    output = bundle.manifest.output(ParametersOutput)
    assert set(output.words) == {"warm", "bright"}
    gains = {word: np.array(found.settings[-1]) for word, found in output.words.items()}
    low, high = gains["bright"][:15].mean(), gains["bright"][-15:].mean()
    assert low < -1 < 1 < high  # as the words were made


def test_measurements_of_other_learned_numbers_are_refused(tmp_path: Path, evidence: WordsEvidence):
    write_words_evidence(tmp_path / "x.json", evidence.model_copy(update={"projection_sha256": "0" * 64}))
    with pytest.raises(EvidenceError, match="other learned numbers"):
        build_words_bundle(tmp_path / "m" / "x", SHIPPED / "equalizer.safetensors", tmp_path / "x.json")
    assert not (tmp_path / "m").exists()


def test_file_that_holds_no_measurements_is_refused(tmp_path: Path):
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(EvidenceError, match="cannot be read"):
        read_words_evidence(tmp_path / "x.json")


@pytest.mark.parametrize(("dim", "error_db"), [("13", 0.11), ("4", 3.0)])
def test_settings_that_are_found_again_worse_than_the_floor_are_refused(
    evidence: WordsEvidence, dim: str, error_db: float
):
    assert evidence.words is not None
    require_good(evidence)
    per_dim = evidence.words.per_dim | {dim: replace(evidence.words.per_dim[dim], error_db=error_db)}
    worse = evidence.model_copy(update={"words": replace(evidence.words, per_dim=per_dim)})
    with pytest.raises(GateError, match=f"At dim {dim}"):
        require_good(worse)


def test_words_that_are_told_apart_worse_than_by_the_floor_are_refused(evidence: WordsEvidence):
    report = evidence.per_dim["4"]
    ((domain, gate),) = report.gate.items()
    refused = report.model_copy(update={"gate": {domain: gate.model_copy(update={"verdict": "refused"})}})
    with pytest.raises(GateError, match="principal components of the scaled numbers, cut to 4"):
        require_good(evidence.model_copy(update={"per_dim": evidence.per_dim | {"4": refused}}))


@pytest.mark.slow
def test_graph_that_does_not_compute_what_torch_computes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fitted = load_words(SHIPPED / "equalizer.safetensors")
    write_graph(fitted, tmp_path / "model.onnx")
    monkeypatch.setattr("matchka_export.words.build.trace_graph", lambda *_: _moved(fitted.model.axis_bias))
    monkeypatch.setattr("matchka_export.words.build.tidy_graph", lambda _: None)
    with pytest.raises(ParityError, match="may differ from torch") as refused:
        write_graph(fitted, tmp_path / "model.onnx")
    assert isinstance(refused.value, MatchkaError)


def _moved(bias: torch.Tensor) -> None:
    """The graph on disk is now of another model."""
    bias += 1.0
