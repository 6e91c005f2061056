"""Cards of the default bundles, read by the Hub's own library and compared with the manifest as it lies on the disk."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from matchka.bundles.bundle import read_bundle
from matchka.bundles.outputs import OUTPUT_KINDS
from matchka_export.card.card import model_card
from matchka_export.card.kinds import _TELLERS
from matchka_export.card.markdown import table

pytestmark = pytest.mark.slow
NAMES = ("voice", "face", "radio", "phonemes", "equalizer")
TIMEOUT_S = 180.0


def rows_of(text: str, first_column: str) -> list[list[str]]:
    """Cells of the table whose first column has this heading."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(f"| {first_column} |"):
            break
    next(lines)
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_card_names_every_source_licence_and_file_of_the_manifest(models_dir: Path, name: str):
    manifest = json.loads((models_dir / name / "manifest.json").read_text())
    text = model_card(read_bundle(models_dir / name).manifest)
    sources = [manifest["backbone"], manifest["projection"]]
    sources += [source for part in manifest["auxiliary"].values() for source in part["sources"].values()]
    assert [source["sha256"] for source in sources if source["sha256"] not in text] == []
    assert dict(rows_of(text, "file")) == manifest["files"]
    assert [data[1:4] for data in rows_of(text, "data set")] == [
        [data["source"], data["licence"], data["use"]] for data in manifest["datasets"]
    ]


@pytest.mark.parametrize("name", NAMES)
def test_header_is_read_by_the_hubs_library_with_the_rates_of_the_manifest(models_dir: Path, name: str):
    manifest = json.loads((models_dir / name / "manifest.json").read_text())
    card = ModelCard(model_card(read_bundle(models_dir / name).manifest))
    expected = {
        (domain, f"EER at {dim} components (%)"): round(100 * found["eer"], 3)
        for dim, report in manifest["outputs"].get("embeddings", {"per_dim": {}})["per_dim"].items()
        for domain, found in report["metrics"].items()
    } | {
        (domain, "phone error rate (%)"): round(100 * found["per"], 3)
        for domain, found in manifest["outputs"].get("log_posteriors", {"metrics": {}})["metrics"].items()
    }
    assert card.data.datasets == sorted({data["name"] for data in manifest["datasets"]})
    assert f"## What it is for\n\nIts task, {manifest['task']}, on samples like" in card.text
    found = {(one.dataset_name, one.metric_name): one.metric_value for one in card.data.eval_results}
    assert found == expected
    assert expected


@pytest.mark.parametrize("name", ["voice", "face", "radio", "equalizer"])
def test_table_has_a_row_for_each_domain_and_dim_beside_the_backbone(models_dir: Path, name: str):
    output = json.loads((models_dir / name / "manifest.json").read_text())["outputs"]["embeddings"]
    rows = rows_of(model_card(read_bundle(models_dir / name).manifest), "domain")
    expected = {
        (domain, dim, f"{100 * found['eer']:.3g} %", f"{100 * report['backbone_metrics'][domain]['eer']:.3g} %")
        for dim, report in output["per_dim"].items()
        for domain, found in report["metrics"].items()
    }
    assert {tuple(row[:4]) for row in rows} == expected
    assert {row[-1] for row in rows} == {"passed"}


def test_graph_that_failed_the_gate_says_so_first_and_a_sole_licence_has_the_hubs_name(models_dir: Path):
    manifest = read_bundle(models_dir / "radio").manifest
    text = model_card(manifest.model_copy(update={"accepted_worse": "a trial"}))
    assert text.index("failed the gate** and was shipped all the same, for this reason: a trial") < text.index("## ")
    header = yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)[1])
    assert header["license"] == "apache-2.0"


def test_header_leaves_out_data_sets_that_the_hub_would_refuse(models_dir: Path):
    manifest = read_bundle(models_dir / "radio").manifest
    names = ("calls of 2024", "mozilla/common_voice", "a/b/c")
    data = tuple(manifest.datasets[0].model_copy(update={"name": name}) for name in names)
    text = model_card(manifest.model_copy(update={"datasets": data}))
    assert ModelCard(text).data.datasets == ["mozilla/common_voice"]
    assert [row[0] for row in rows_of(text, "data set")] == list(names)


def test_command_writes_the_card_beside_what_it_prints(models_dir: Path, tmp_path: Path):
    command = [sys.executable, "-m", "matchka_export", "card", str(models_dir / "radio")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT_S).stdout
    subprocess.run([*command, "--out", str(tmp_path / "README.md")], check=True, timeout=TIMEOUT_S)
    assert (tmp_path / "README.md").read_text() == printed == model_card(read_bundle(models_dir / "radio").manifest)


def test_every_kind_of_output_is_told():
    assert set(_TELLERS) == set(OUTPUT_KINDS)


def test_bars_and_line_breaks_do_not_end_a_cell():
    assert table(("a",), [("one | two\nthree",)]).splitlines()[-1] == "| one \\| two three |"
