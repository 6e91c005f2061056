"""A bundle checks itself: whatever is tampered with is refused, with the reason."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from matchka.bundles.bundle import read_bundle, sha256_of
from matchka.bundles.outputs.classes import ClassOutput
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.bundles.repository import read_bundles
from matchka.errors import BundleError, OutputNotAvailableError
from tests.factories.bundles import DIMS, dim_report, edit_bundle, write_bundle
from tests.factories.graphs import FULL_DIM

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "models" / "voice")


def test_read_bundle_that_is_whole_returns_what_its_manifest_says(folder: Path):
    bundle = read_bundle(folder)
    embedding = bundle.manifest.output(EmbeddingOutput)
    assert (bundle.manifest.name, embedding.full_dim, embedding.dims) == ("voice", FULL_DIM, DIMS)
    assert bundle.manifest.output_name(EmbeddingOutput) == "embeddings"
    assert embedding.per_dim["4"].operating_points["3"][1].threshold == 0.85
    assert bundle.manifest.input.hop_samples == 800
    assert bundle.graph_path.read_bytes()


@pytest.mark.parametrize("at", [0, 1000, -1])
def test_read_bundle_with_one_changed_byte_is_refused(folder: Path, at: int):
    graph = bytearray((folder / "model.onnx").read_bytes())
    graph[at] ^= 1
    (folder / "model.onnx").write_bytes(graph)
    with pytest.raises(BundleError, match=r"model\.onnx.*is not the one") as refused:
        read_bundle(folder)
    assert refused.value.value == hashlib.sha256(graph).hexdigest()


def test_read_bundle_with_a_missing_file_is_refused(folder: Path):
    (folder / "model.onnx").unlink()
    with pytest.raises(BundleError, match="lacks a file") as refused:
        read_bundle(folder)
    assert refused.value.value == "model.onnx"


@pytest.mark.parametrize("name", ["extra.txt", "deep/er/extra.bin", ".hidden"])
def test_read_bundle_with_a_file_it_does_not_list_is_refused(folder: Path, name: str):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"x")
    with pytest.raises(BundleError, match="does not list") as refused:
        read_bundle(folder)
    assert name in str(refused.value)


def test_read_bundle_with_a_listed_second_file_is_read(folder: Path):
    (folder / "notes.json").write_text("{}")
    edit_bundle(folder, lambda m: m["files"].update({"notes.json": hashlib.sha256(b"{}").hexdigest()}))
    assert set(read_bundle(folder).manifest.files) == {"model.onnx", "report.json", "notes.json"}


@pytest.mark.parametrize("kind", ["parent", "absolute", "within"])
def test_read_bundle_with_a_path_that_leads_out_of_it_is_refused(folder: Path, kind: str):
    outside = folder.parent.parent / "secret"
    outside.write_text("secret")
    name = {"parent": "../../secret", "absolute": str(outside), "within": "../voice/model.onnx"}[kind]
    edit_bundle(folder, lambda m: m["files"].update({name: sha256_of(folder / name)}))
    with pytest.raises(BundleError, match="lacks a file"):
        read_bundle(folder)


def test_read_bundle_with_a_folder_in_place_of_a_file_is_refused(folder: Path):
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").mkdir()
    with pytest.raises(BundleError, match="lacks a file"):
        read_bundle(folder)


@pytest.mark.parametrize("name", ["a" * 300, "nul\0", ""])
def test_read_bundle_that_lists_a_name_no_file_can_have_is_refused(folder: Path, name: str):
    edit_bundle(folder, lambda m: m["files"].update({name: "0" * 64}))
    with pytest.raises(BundleError, match="lacks a file"):
        read_bundle(folder)


def put(*path: str, value: object) -> Change:
    def change(manifest: dict[str, Any]) -> None:
        place = manifest
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value

    return change


def drop(name: str) -> Change:
    return lambda manifest: manifest.pop(name)


EMBEDDINGS = ("outputs", "embeddings")
ONE_TEMPLATE = (*EMBEDDINGS, "per_dim", "8", "operating_points", "1")
SOURCE = {"name": "made-up", "source": "tests", "version": "1", "sha256": "0" * 64, "licence": "MIT"}
SILERO = {"kind": "silero", "sources": {"speech.onnx": SOURCE}}
POINT = {"fmr": 0.01, "threshold": 0.5, "measured": True}
BAD_MANIFESTS = {
    "another schema": put("schema_version", value=3),
    "an unknown key": put("note", value="hello"),
    "an unknown key of the input": put("input", "least_coverage", value=0.75),
    "a missing key": drop("backbone"),
    "a name with a slash": put("name", value="../voice"),
    "a name in capitals": put("name", value="Voice"),
    "an empty version": put("version", value=""),
    "another kind of input": put("input", "kind", value="image"),
    "another kind of output": put(*EMBEDDINGS, "kind", value="thoughts"),
    "no schema": drop("schema_version"),
    "no outputs": put("outputs", value={}),
    "an output without a name": lambda m: m["outputs"].update({"": m["outputs"].pop("embeddings")}),
    "two outputs of one kind": lambda m: m["outputs"].update(more=m["outputs"]["embeddings"]),
    "an embedding with labels": put(*EMBEDDINGS, "labels", value=["a", "b"]),
    "classes without labels": put("outputs", "classes", value={"kind": "class"}),
    "one label": put("outputs", "classes", value={"kind": "class", "labels": ["a"]}),
    "repeated labels": put("outputs", "classes", value={"kind": "class", "labels": ["a", "b", "a"]}),
    "an empty label": put("outputs", "classes", value={"kind": "class", "labels": ["a", ""]}),
    "no dims": put(*EMBEDDINGS, "dims", value=[]),
    "falling dims": put(*EMBEDDINGS, "dims", value=[8, 4, 2]),
    "repeated dims": put(*EMBEDDINGS, "dims", value=[2, 4, 4, 8]),
    "dims that end below full_dim": put(*EMBEDDINGS, "dims", value=[2, 4]),
    "another full_dim": put(*EMBEDDINGS, "full_dim", value=16),
    "a full_dim of zero": put(*EMBEDDINGS, "full_dim", value=0),
    "a dim without report": lambda m: m["outputs"]["embeddings"]["per_dim"].pop("4"),
    "a report of no dim": put(*EMBEDDINGS, "per_dim", "3", value=dim_report()),
    "no points for one template": lambda m: m["outputs"]["embeddings"]["per_dim"]["8"]["operating_points"].pop("1"),
    "an empty list of points": put(*ONE_TEMPLATE, value=[]),
    "rising rates": lambda m: m["outputs"]["embeddings"]["per_dim"]["8"]["operating_points"]["3"].reverse(),
    "repeated rates": put(*ONE_TEMPLATE, value=[POINT, POINT]),
    "a rate of one": put(*ONE_TEMPLATE, value=[{**POINT, "fmr": 1.0}]),
    "a rate of zero": put(*ONE_TEMPLATE, value=[{**POINT, "fmr": 0.0}]),
    "a threshold that is no cosine": put(*ONE_TEMPLATE, value=[{**POINT, "threshold": 7}]),
    "a threshold that is no number": put(*ONE_TEMPLATE, value=[{**POINT, "threshold": float("nan")}]),
    "a falling calibration": put(*EMBEDDINGS, "per_dim", "8", "calibration", "1", "scale", value=-1.0),
    "an error rate above one": put(*EMBEDDINGS, "per_dim", "8", "metrics", "made-up", "eer", value=5.52),
    "no hash of the graph": put("files", value={}),
    "a source without sha256": put("backbone", "sha256", value="unknown"),
    "a window of no samples": put("input", "window_samples", value=0),
    "a detector of speech without its file": put("auxiliary", value={"speech_activity": SILERO}),
    "a detector of speech without its source": lambda m: (
        m.update(auxiliary={"speech_activity": {"kind": "silero", "sources": {}}}),
        m["files"].update({"speech.onnx": "0" * 64}),
    ),
    "a graph that the input does not know": put("auxiliary", value={"detector": SILERO}),
    "a detector of speech at another rate": lambda m: (
        m.update(auxiliary={"speech_activity": SILERO}),
        m["input"].update(sample_rate_hz=8000),
        m["files"].update({"speech.onnx": "0" * 64}),
    ),
}


@pytest.mark.parametrize("change", BAD_MANIFESTS.values(), ids=BAD_MANIFESTS.keys())
def test_read_bundle_with_a_manifest_that_contradicts_itself_is_refused(folder: Path, change: Change):
    edit_bundle(folder, change)
    with pytest.raises(BundleError, match=r"manifest of .* is not valid at") as refused:
        read_bundle(folder)
    assert "matchka-export" in refused.value.remedy


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00bad", b'{"name": "voice"}'])
def test_read_bundle_with_a_manifest_that_is_no_manifest_is_refused(folder: Path, content: bytes):
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match="manifest"):
        read_bundle(folder)


def test_read_bundle_of_a_folder_that_does_not_exist_is_refused(tmp_path: Path):
    with pytest.raises(BundleError, match="cannot be read"):
        read_bundle(tmp_path / "nowhere")


def test_read_bundles_reads_every_folder_with_a_manifest(tmp_path: Path):
    write_bundle(tmp_path / "b", "second", seed=2)
    write_bundle(tmp_path / "a", "first", seed=1)
    (tmp_path / "notes").mkdir()
    bundles = read_bundles(tmp_path)
    assert [bundle.manifest.name for bundle in bundles] == ["first", "second"]
    assert bundles[0].manifest.files != bundles[1].manifest.files


@pytest.mark.parametrize("exists", [True, False])
def test_read_bundles_of_a_folder_without_bundles_is_refused(tmp_path: Path, exists: bool):
    folder = tmp_path if exists else tmp_path / "nowhere"
    with pytest.raises(BundleError, match="no bundle") as refused:
        read_bundles(folder)
    assert "MATCHKA_MODELS_DIR" in refused.value.remedy


def test_read_bundles_of_two_versions_takes_the_one_in_the_folder_of_the_models_name_as_current(tmp_path: Path):
    write_bundle(tmp_path / "voice", "voice", version="1.9.0")
    write_bundle(tmp_path / "a", "voice", version="1.0.0")
    write_bundle(tmp_path / "z", "voice", version="3.0.0")
    write_bundle(tmp_path / "elsewhere", "alone")
    found = [(b.manifest.name, b.manifest.version, b.is_current) for b in read_bundles(tmp_path)]
    assert found == [
        ("alone", "1.0.0", True),
        ("voice", "1.9.0", True),
        ("voice", "3.0.0", False),
        ("voice", "1.0.0", False),
    ]


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        ({"a": "1.0.0", "b": "2.0.0"}, "cannot be said which version of voice is current"),
        ({"voice": "1.0.0", "b": "1.0.0"}, "the same version"),
    ],
)
def test_read_bundles_of_versions_that_cannot_stand_side_by_side_is_refused(
    tmp_path: Path, folders: dict[str, str], said: str
):
    for folder, version in folders.items():
        write_bundle(tmp_path / folder, "voice", version=version)
    with pytest.raises(BundleError, match=said) as refused:
        read_bundles(tmp_path)
    assert refused.value.remedy


def test_read_bundles_of_versions_of_different_kinds_of_samples_is_refused(tmp_path: Path):
    write_bundle(tmp_path / "voice")
    folder = write_bundle(tmp_path / "newer", version="2.0.0")
    points = [[float(n), float(n * n)] for n in range(5)]
    graphs = ("pnet.onnx", "rnet.onnx", "onet.onnx")
    takes_pictures = {
        "input": {"kind": "image", "chip_px": 8, "template_points": points, "template_weights": [1.0] * 5},
        "auxiliary": {"detector": {"kind": "mtcnn", "sources": dict.fromkeys(graphs, SOURCE)}},
    }
    edit_bundle(folder, lambda m: (m.update(takes_pictures), m["files"].update(dict.fromkeys(graphs, "0" * 64))))
    with pytest.raises(BundleError, match="different kinds"):
        read_bundles(tmp_path)


def test_read_bundles_of_some_names_are_all_versions_of_those_and_no_other_bundle_is_verified(tmp_path: Path):
    write_bundle(tmp_path / "voice", version="2.0.0")
    write_bundle(tmp_path / "older", version="1.0.0")
    write_bundle(tmp_path / "alto", "alto")
    (write_bundle(tmp_path / "bass", "bass") / "model.onnx").write_bytes(b"other")
    write_bundle(tmp_path / "one", "tenor", version="1.0.0")  # which of the two is current cannot be said
    write_bundle(tmp_path / "two", "tenor", version="2.0.0")
    found = [(b.manifest.name, b.manifest.version, b.is_current) for b in read_bundles(tmp_path, ("voice", "alto"))]
    assert found == [("alto", "1.0.0", True), ("voice", "2.0.0", True), ("voice", "1.0.0", False)]


def test_read_bundles_of_a_name_that_is_not_there_is_refused_and_says_which_are(tmp_path: Path):
    write_bundle(tmp_path / "voice")
    write_bundle(tmp_path / "alto", "alto")
    with pytest.raises(BundleError, match="no bundle of a model") as refused:
        read_bundles(tmp_path, ("voice", "nose", "ear"))
    assert refused.value.value == "ear, nose"
    assert "alto, voice" in refused.value.remedy
    assert "MATCHKA_MODELS" in refused.value.remedy


def test_read_bundles_with_one_bad_bundle_among_good_ones_is_refused(tmp_path: Path):
    write_bundle(tmp_path / "a", "first")
    (write_bundle(tmp_path / "b", "second") / "model.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match="is not the one"):
        read_bundles(tmp_path)


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_sha256_of_files_around_the_block_size_is_that_of_their_bytes(tmp_path: Path, size: int):
    data = (b"0123456789" * (size // 10 + 1))[:size]
    (tmp_path / "file").write_bytes(data)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_output_of_a_kind_that_the_graph_lacks_is_refused_and_says_what_it_has(folder: Path):
    edit_bundle(folder, put("outputs", value={"logits": {"kind": "class", "labels": ["tone", "noise"]}}))
    manifest = read_bundle(folder).manifest
    assert (manifest.has_output(ClassOutput), manifest.has_output(EmbeddingOutput)) == (True, False)
    assert manifest.output(ClassOutput).labels == ("tone", "noise")
    with pytest.raises(OutputNotAvailableError, match="no output of the kind embedding; it has class") as refused:
        manifest.output(EmbeddingOutput)
    assert refused.value.value == "voice"
