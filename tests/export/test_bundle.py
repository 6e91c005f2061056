"""A bundle appears whole or not at all, and says what is in it."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from matchka.bundles.bundle import read_bundle
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.errors import BundleError
from matchka_export.bundle import BASE_VERSION, content_version, seal, staged_bundle
from matchka_export.defaults.catalogue import EMBEDDING_MODELS, EmbeddingModel
from matchka_export.gate.evidence import read_evidence
from matchka_train.backbones.speaker.ge2e import Ge2e
from tests.factories.bundles import digest_of, dim_report
from tests.factories.facts import toy_facts

REPORT = json.dumps({"per_dim": {"4": dim_report(), "8": dim_report()}})


def write(target: Path, graph: Path, version: str = "1.0.0+abc") -> None:
    with staged_bundle(target) as folder:
        shutil.copyfile(graph, folder / "model.onnx")
        (folder / "report.json").write_text(REPORT)
        seal(folder, toy_facts(version))


def test_staged_bundle_when_sealed_reads_back_with_the_hash_of_every_file(toy_graph: Path, tmp_path: Path) -> None:
    write(tmp_path / "models" / "toy", toy_graph)
    manifest = json.loads((tmp_path / "models" / "toy" / "manifest.json").read_text())
    assert manifest["files"] == {
        "model.onnx": hashlib.sha256(toy_graph.read_bytes()).hexdigest(),
        "report.json": hashlib.sha256(REPORT.encode()).hexdigest(),
    }
    assert manifest["content_digest"] == digest_of(manifest)
    assert set(manifest["libraries"]) == {"matchka-export", "numpy", "onnx", "onnxruntime", "torch"}
    assert read_bundle(tmp_path / "models" / "toy").manifest.output(EmbeddingOutput).dims == (4, 8)
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["toy"]


def test_staged_bundle_when_repeated_gives_the_same_manifest(toy_graph: Path, tmp_path: Path) -> None:
    write(tmp_path / "a", toy_graph)
    write(tmp_path / "b", toy_graph)
    assert (tmp_path / "a" / "manifest.json").read_bytes() == (tmp_path / "b" / "manifest.json").read_bytes()


def test_staged_bundle_when_a_step_fails_keeps_the_old_bundle(toy_graph: Path, tmp_path: Path) -> None:
    target = tmp_path / "models" / "toy"
    write(target, toy_graph)
    with pytest.raises(ZeroDivisionError), staged_bundle(target) as folder:  # noqa: PT012 - the failing step is inside
        shutil.copyfile(toy_graph, folder / "model.onnx")
        raise ZeroDivisionError
    assert read_bundle(target).manifest.version == "1.0.0+abc"
    assert [path.name for path in target.parent.iterdir()] == ["toy"]


def test_staged_bundle_when_not_sealed_writes_nothing(toy_graph: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError), staged_bundle(tmp_path / "models" / "toy") as folder:
        shutil.copyfile(toy_graph, folder / "model.onnx")
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize("report", [None, "{}", json.dumps({"per_dim": {"4": dim_report()}})])
def test_staged_bundle_when_the_report_is_not_of_its_measurements_writes_nothing(
    toy_graph: Path, tmp_path: Path, report: str | None
) -> None:
    with pytest.raises(BundleError, match="measure"), staged_bundle(tmp_path / "toy") as folder:  # noqa: PT012
        shutil.copyfile(toy_graph, folder / "model.onnx")
        if report is not None:
            (folder / "report.json").write_text(report)
        seal(folder, toy_facts())
    assert list(tmp_path.iterdir()) == []


def test_staged_bundle_when_file_is_added_after_the_seal_writes_nothing(toy_graph: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not list"), staged_bundle(tmp_path / "toy") as folder:  # noqa: PT012
        shutil.copyfile(toy_graph, folder / "model.onnx")
        (folder / "report.json").write_text(REPORT)
        seal(folder, toy_facts())
        (folder / "late.bin").write_bytes(b"?")
    assert list(tmp_path.iterdir()) == []


def test_staged_bundle_when_older_one_is_there_replaces_it(toy_graph: Path, tmp_path: Path) -> None:
    write(tmp_path / "toy", toy_graph, "1.0.0+old")
    write(tmp_path / "toy", toy_graph, "1.0.0+new")
    assert read_bundle(tmp_path / "toy").manifest.version == "1.0.0+new"
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_content_version_when_a_part_changes_changes_and_else_stays() -> None:
    base = content_version("2.1.0", Ge2e(), "c" * 64, (64, 256))
    text = json.dumps(
        {
            "backbone": "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
            "dims": [64, 256],
            "float16": False,
            "input": {
                "context_samples": 200,
                "hop_samples": 12_320,
                "level_dbfs": -30.0,
                "sample_rate_hz": 16_000,
                "window_samples": 25_840,
            },
            "projection": "c" * 64,
        }
    )
    assert base == "2.1.0+" + hashlib.sha256(text.encode()).hexdigest()[:8]
    assert base == content_version("2.1.0", Ge2e(Path("elsewhere")), "c" * 64, (64, 256))
    others = {
        content_version("2.1.0", Ge2e(), "d" * 64, (64, 256)),
        content_version("2.1.0", Ge2e(), "c" * 64, (128, 256)),
        content_version("2.1.0", Ge2e(), "c" * 64, (64, 256), float16=True),
    }
    assert len(others | {base}) == 4


@pytest.mark.parametrize("model", EMBEDDING_MODELS, ids=lambda model: model.name)
def test_content_version_of_a_default_model_is_the_one_that_templates_on_disk_carry(model: EmbeddingModel) -> None:
    evidence = read_evidence(model.evidence)
    backbone = model.open_backbone(Path("elsewhere"))
    found = content_version(BASE_VERSION, backbone, evidence.projection_sha256, evidence.dims, evidence.float16)
    assert found == {"voice": "1.0.0+6a77e2b5", "face": "1.0.0+92edd836", "radio": "1.0.0+9adc89e7"}[model.name]
