"""docs/radio.md names the thresholds that the shipped bundle has, where it says which rates to ask for."""

from pathlib import Path

from matchka.bundles.bundle import read_bundle
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.tasks.embedding.thresholds import identification_threshold, threshold_at
from tests.docs.markdown import ROOT

DIM, WAVEFORMS, TEMPLATES = "32", 10, 1


def test_thresholds_of_both_rates_are_those_of_the_bundle(models_dir: Path):
    bands = read_bundle(models_dir / "radio").manifest.output(EmbeddingOutput).per_dim[DIM].bands
    assert bands is not None
    best = bands[-1]
    searches = {fpir: identification_threshold(best, TEMPLATES, fpir, WAVEFORMS).value for fpir in (0.01, 0.1)}
    comparisons = {fmr: threshold_at(best, TEMPLATES, fmr).value for fmr in (0.001, 0.01)}
    page = " ".join((ROOT / "docs" / "radio.md").read_text(encoding="utf-8").split())
    by_default, wider = (f"{searches[fpir]:.3f}".lstrip("0") for fpir in (0.01, 0.1))
    usual, asked = (f"{comparisons[fmr]:.3f}".lstrip("0") for fmr in (0.001, 0.01))
    assert f"is {by_default} by default (`max_fpir` 0.01), which is above the {usual} of `verify`'s default" in page
    assert f"and {wider} with `max_fpir` 0.1, about the {asked} of `max_fmr` 0.01" in page
