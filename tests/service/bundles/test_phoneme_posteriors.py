"""A bundle whose graph takes whole clips and returns posteriors of phones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from matchka.bundles.bundle import read_bundle, sha256_of
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.bundles.outputs.phoneme_posteriors import PhonemePosteriorsOutput
from matchka.errors import BundleError, OutputNotAvailableError, VariableLengthError
from tests.factories.bundles import digest_of, edit_bundle
from tests.factories.spoken_tones import PHONES, write_phoneme_bundle

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_phoneme_bundle(tmp_path / "phonemes")


def output_of(manifest: dict[str, Any]) -> Any:
    return manifest["outputs"]["log_posteriors"]


def test_read_bundle_of_phonemes_returns_what_its_manifest_says(folder: Path):
    manifest = read_bundle(folder).manifest
    output = manifest.output(PhonemePosteriorsOutput)
    assert (output.phones, output.row_shape, manifest.output_name(PhonemePosteriorsOutput)) == (
        PHONES,
        (None, 1 + len(PHONES)),
        "log_posteriors",
    )
    assert output.phrase_points["6"][1].threshold == -1.0
    assert manifest.input.graph_input().shape == (None,)
    with pytest.raises(OutputNotAvailableError, match="it has phoneme_posteriors"):
        manifest.output(EmbeddingOutput)
    with pytest.raises(VariableLengthError):
        manifest.input.graph_input().fixed_shape  # noqa: B018


WRONG: dict[str, Change] = {
    "a phone twice": lambda m: output_of(m).update(phones=[*PHONES[:-1], PHONES[0]]),
    "points that rise": lambda m: output_of(m)["phrase_points"]["6"].reverse(),
    "points for three words": lambda m: output_of(m)["phrase_points"].update({"3": output_of(m)["phrase_points"]["4"]}),
    "no points": lambda m: output_of(m)["phrase_points"].update({"4": []}),
    "thresholds that fall": lambda m: output_of(m)["phrase_points"]["4"][2].update(threshold=-3.0),
    "a lexicon that files do not list": lambda m: output_of(m).update(lexicon="other.txt"),
    "hops of whole clips": lambda m: m["input"].update(hop_samples=100),
    "windows of one length": lambda m: m["input"].update(window_samples=1600, hop_samples=800),
    "windows without a hop": lambda m: m["input"].update(window_samples=100),
    "an unknown key": lambda m: output_of(m).update(accent="northern"),
}


@pytest.mark.parametrize("what", WRONG)
def test_read_bundle_of_phonemes_with_something_wrong_is_refused(folder: Path, what: str):
    edit_bundle(folder, WRONG[what])
    with pytest.raises(BundleError, match="is not valid"):
        read_bundle(folder)


@pytest.mark.parametrize("name", ["lexicon.txt", "vocabulary.txt"])
def test_read_bundle_of_phonemes_with_a_changed_file_is_refused(folder: Path, name: str):
    (folder / name).write_text("a AA\n")
    with pytest.raises(BundleError, match=name):
        read_bundle(folder)


REPORTS: dict[str, tuple[Change, str]] = {
    "another threshold": (lambda r: r["phrase_points"]["6"][1].update(threshold=-1.5), "so many words: 6"),
    "other metrics": (lambda r: r["metrics"]["made-up"].update(per=0.1), "metrics of made-up"),
    "another floor": (lambda r: r["baseline_metrics"].clear(), "the floor's metrics of made-up"),
}


@pytest.mark.parametrize("what", REPORTS)
def test_read_bundle_of_phonemes_whose_report_says_something_else_is_refused(folder: Path, what: str):
    change, said = REPORTS[what]
    report = json.loads((folder / "report.json").read_text())
    change(report)
    rewrite_report(folder, json.dumps(report).encode())
    with pytest.raises(BundleError, match="does not state what was measured") as refused:
        read_bundle(folder)
    assert said in str(refused.value.value)


@pytest.mark.parametrize("report", [b"", b"[]", b"{}", b'{"metrics": 1}'])
def test_read_bundle_of_phonemes_with_a_report_that_is_none_is_refused(folder: Path, report: bytes):
    rewrite_report(folder, report)
    with pytest.raises(BundleError, match="cannot be read"):
        read_bundle(folder)


def rewrite_report(folder: Path, report: bytes) -> None:
    """Write another report, which the manifest names."""
    (folder / "report.json").write_bytes(report)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["report.json"] = sha256_of(folder / "report.json")
    manifest["content_digest"] = digest_of(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
