"""Manifests as they were before outputs had names are still read, and are judged as strictly."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from matchka.bundles.bundle import read_manifest
from matchka.errors import BundleError
from tests.factories.bundles import dim_report, embedding_output, write_bundle

SOURCE = {"name": "made-up", "source": "tests", "version": "1", "sha256": "0" * 64, "licence": "MIT"}
DETECTOR = ("pnet.onnx", "rnet.onnx", "onet.onnx")
PICTURES = {
    "kind": "image",
    "chip_px": 8,
    "template_points": [[float(n), float(n * n)] for n in range(5)],
    "template_weights": [1.0] * 5,
}


def write_schema_1(folder: Path, change: Callable[[dict[str, Any]], object] | None = None) -> Path:
    """A bundle of voices whose manifest is written by hand as it was then."""
    write_bundle(folder)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    (folder / "report.json").unlink()
    del manifest["outputs"], manifest["content_digest"], manifest["files"]["report.json"]
    manifest |= {
        "schema_version": 1,
        "detector": None,
        "speech_activity": {"kind": "silero", "source": SOURCE},
        "output": {"kind": "embedding"},
        "full_dim": 8,
        "dims": [4, 8],
        "per_dim": {"4": dim_report(), "8": dim_report()},
    }
    manifest["files"]["speech.onnx"] = "0" * 64
    if change is not None:
        change(manifest)
    path.write_text(json.dumps(manifest))
    return folder


def pictures(manifest: dict[str, Any]) -> None:
    manifest |= {"input": PICTURES, "speech_activity": None}
    manifest["detector"] = {"kind": "mtcnn", "sources": dict.fromkeys(DETECTOR, SOURCE)}
    manifest["files"] = dict.fromkeys(("model.onnx", *DETECTOR), "0" * 64)


def test_read_manifest_of_schema_1_says_the_same_as_one_of_schema_2(tmp_path: Path):
    old = read_manifest(write_schema_1(tmp_path / "old"))
    outputs = {"embeddings": embedding_output(dims=(4, 8))}
    auxiliary = {"speech_activity": {"kind": "silero", "sources": {"speech.onnx": SOURCE}}}
    new = read_manifest(write_bundle(tmp_path / "new", outputs=outputs, auxiliary=auxiliary, files=old.files))
    assert old.content_digest is None  # nobody could have signed it
    report = {"report.json": new.files["report.json"]}
    assert old.model_copy(update={"files": old.files | report, "content_digest": new.content_digest}) == new
    assert old.schema_version == 2


def test_read_manifest_of_schema_1_with_a_detector_names_its_graphs(tmp_path: Path):
    manifest = read_manifest(write_schema_1(tmp_path / "face", pictures))
    assert manifest.auxiliary_files == set(DETECTOR)
    assert manifest.auxiliary["detector"].kind == "mtcnn"


def test_read_manifest_of_schema_1_from_before_there_were_auxiliary_graphs_has_none(tmp_path: Path):
    def without(manifest: dict[str, Any]) -> None:
        del manifest["detector"], manifest["speech_activity"]

    assert read_manifest(write_schema_1(tmp_path / "voice", without)).auxiliary == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(outputs={}),
        lambda m: m.update(note="hello"),
        lambda m: m.update(output={"kind": "class"}),
        lambda m: m.pop("output"),
        lambda m: m.pop("full_dim"),
        lambda m: m.update(dims=[8, 4]),
        lambda m: m["per_dim"].pop("4"),
        lambda m: m["files"].pop("speech.onnx"),
        lambda m: m.update(speech_activity={"kind": "silero"}),
        lambda m: m.update(detector={"kind": "mtcnn", "sources": dict.fromkeys(DETECTOR, SOURCE)}),
        lambda m: (pictures(m), m.update(detector=None)),
        lambda m: (pictures(m), m["detector"]["sources"].pop("pnet.onnx")),
        lambda m: (pictures(m), m["detector"].update(kind="retinaface")),
    ],
)
def test_read_manifest_of_schema_1_that_contradicts_itself_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object]
):
    with pytest.raises(BundleError, match=r"manifest of .* is not valid at"):
        read_manifest(write_schema_1(tmp_path / "voice", change))


def test_read_manifest_with_a_wrong_value_says_where_it_stands(tmp_path: Path):
    folder = write_schema_1(tmp_path / "voice", lambda m: m["input"].update(window_samples=0))
    with pytest.raises(BundleError, match=r"not valid at input\.audio\.window_samples"):
        read_manifest(folder)
