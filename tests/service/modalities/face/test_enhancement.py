"""Enhancement: only the listed sizes, each chip by itself, and no bundle whose enhancer is another graph."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from matchka.bundles.bundle import read_bundle
from matchka.errors import BundleError
from matchka.inference.model import BundleGraphs
from matchka.modalities.face.enhancement import Enhancer, open_enhancer
from matchka.modalities.face.example import face_like
from matchka.modalities.face.reader import FaceReading
from matchka.modalities.face.spec import DETECTOR_GRAPH_NAMES, ImageInputSpec
from tests.factories.bundles import edit_bundle, write_bundle
from tests.factories.face_bundles import SOURCE, slow_enhanced, write_enhancer

SIDE = 24
SIZES = [[14, 20], [28, 40]]
INPUT = {
    "kind": "image",
    "chip_px": SIDE,
    "template_points": [[7, 7], [17, 7], [12, 12], [8, 17], [16, 17]],
    "template_weights": [1, 1, 1, 1, 1],
}


def bundle_of(folder: Path, sizes: list[list[float]] | None, has_graph: bool = True) -> tuple[ImageInputSpec, Any]:
    """The input and the graphs of a bundle that has the files in a folder; of its detector there is but the name."""
    names = [*DETECTOR_GRAPH_NAMES, *(["sr.onnx"] if has_graph else [])]
    for name in DETECTOR_GRAPH_NAMES:
        (folder / name).write_bytes(b"")
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    source = SOURCE.model_dump()
    auxiliary = {"detector": {"kind": "mtcnn", "sources": dict.fromkeys(DETECTOR_GRAPH_NAMES, source)}}
    if has_graph:
        auxiliary["enhancer"] = {"kind": "face-enhancer", "sources": {"sr.onnx": source}}
    content = INPUT if sizes is None else {**INPUT, "enhancer": {"sizes": sizes}}
    path = write_bundle(folder / "bundle", "face")
    for name in names:
        (folder / name).rename(path / name)
    edit_bundle(path, lambda manifest: _take(manifest, input=content, auxiliary=auxiliary, files=files))
    bundle = read_bundle(path)
    assert isinstance(bundle.manifest.input, ImageInputSpec)
    return bundle.manifest.input, BundleGraphs(bundle, 1)


def _take(manifest: dict[str, Any], files: dict[str, str], **changes: Any) -> None:
    manifest.update(changes, files=manifest["files"] | files)


def readings(*sizes: float | None) -> list[FaceReading]:
    generator = np.random.default_rng(3)
    return [FaceReading(face_like(SIDE, generator), None, None, native_px=size) for size in sizes]


def opened(tmp_path: Path, **names: Any) -> Enhancer | None:
    write_enhancer(tmp_path / "sr.onnx", SIDE, **names)
    return open_enhancer(*bundle_of(tmp_path, SIZES))


def test_enhance_changes_the_listed_sizes_and_no_others(tmp_path: Path):
    enhancer = opened(tmp_path)
    assert enhancer is not None
    given = readings(13.9, 14.0, 19.9, 20.0, 28.5, 40.0, 150.0, None)
    found = enhancer.enhance(given)
    assert [reading.enhanced for reading in found] == [False, True, True, False, True, False, False, False]
    for before, after in zip(given, found, strict=True):
        size = before.native_px
        expected = slow_enhanced(before.chip, size) if after.enhanced and size is not None else before.chip
        np.testing.assert_array_equal(after.chip, expected)
        assert after.native_px == size
    assert enhancer.applies_to(given)
    assert not enhancer.applies_to([given[0], given[3], given[-1]])


def test_enhance_of_a_chip_gives_the_same_alone_and_in_company(tmp_path: Path):
    enhancer = opened(tmp_path)
    assert enhancer is not None
    given = readings(15, 16, 35, 150)
    together = enhancer.enhance(given)
    for number, reading in enumerate(given):
        (alone,) = enhancer.enhance([reading])
        assert alone.chip.tobytes() == together[number].chip.tobytes()
        assert replace(alone, chip=reading.chip) == replace(together[number], chip=reading.chip)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ({"chips": "faces"}, "must take uint8 chips"),
        ({"native_px": "size"}, "must take uint8 chips"),
        ({"enhanced": "out"}, "must take uint8 chips"),
        ({"dtype": TensorProto.FLOAT}, "must take uint8 chips"),
        ({"batch": 1}, "must take uint8 chips"),
        ({"returned": 20}, "must return chips of"),
        ({"returned": 20, "stated": ["rows", "columns", 3]}, "must return chips of"),
        ({"stated": [30, SIDE, 3], "returned": 0}, "must return|does not run"),
    ],
)
def test_open_of_an_enhancer_that_takes_or_returns_something_else_is_refused(
    tmp_path: Path, names: dict[str, Any], told: str
):
    with pytest.raises(BundleError, match=told) as refused:
        opened(tmp_path, **names)
    assert "sr.onnx" in refused.value.detail
    assert "enhancer" in refused.value.remedy


def test_open_of_an_enhancer_whose_chips_have_another_size_than_the_bundles_is_refused(tmp_path: Path):
    write_enhancer(tmp_path / "sr.onnx", SIDE + 2)
    with pytest.raises(BundleError, match="must take uint8 chips"):
        open_enhancer(*bundle_of(tmp_path, SIZES))


def test_open_of_what_is_no_graph_is_refused(tmp_path: Path):
    (tmp_path / "sr.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match="not a graph"):
        open_enhancer(*bundle_of(tmp_path, SIZES))


def test_open_of_sizes_without_a_graph_or_a_graph_without_sizes_is_refused(tmp_path: Path):
    refused = [(SIZES, False, "needs enhancer"), (None, True, "or neither"), ([], True, "or neither")]
    for number, (sizes, has_graph, told) in enumerate(refused):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_enhancer(folder / "sr.onnx", SIDE)
        with pytest.raises(BundleError, match=told):
            open_enhancer(*bundle_of(folder, sizes, has_graph))


@pytest.mark.parametrize("sizes", [None, []])
def test_open_of_a_bundle_without_both_has_no_enhancer(tmp_path: Path, sizes: list[list[float]] | None):
    assert open_enhancer(*bundle_of(tmp_path, sizes, has_graph=False)) is None
