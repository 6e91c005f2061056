"""A fusion is what was learned: an edited one is refused, earlier formats are read, other bundles are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from matchka.bundles.bundle import read_manifest
from matchka.bundles.fusion_file import Fusion, read_fusion, read_fusions, require_learned_with
from matchka.bundles.manifest import Manifest
from matchka.errors import BundleError
from tests.factories.bundles import digest_of, edit_bundle, write_bundle, write_fusion
from tests.factories.scorers import write_scored_bundle


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    """What a fusion of the second format says."""
    return json.loads((write_fusion(tmp_path / "written") / "fusion.json").read_text())


def write(folder: Path, document: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "fusion.json").write_text(json.dumps(document))
    return folder / "fusion.json"


def test_read_fusion_of_both_formats_says_the_same(tmp_path: Path):
    first = read_fusion(write_fusion(tmp_path / "1", has_digest=False) / "fusion.json")
    second = read_fusion(write_fusion(tmp_path / "2") / "fusion.json")
    assert first.content_digest is None
    assert second.content_digest is not None
    assert second.model_copy(update={"format": first.format, "content_digest": None}) == first


@pytest.mark.parametrize(
    "changes",
    [
        {"offset": 9.0},
        {"models": {"voice": "3.0.0", "face": "1.0.0"}},
        {"weights": {"voice": 9.0, "face": 0.9}},
        {"content_digest": "0" * 64},
    ],
)
def test_read_fusion_that_was_edited_is_refused(tmp_path: Path, document: dict[str, Any], changes: dict[str, object]):
    with pytest.raises(BundleError, match=r"fusion\.json was edited"):
        read_fusion(write(tmp_path, document | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "matchka-fusion-1"},  # which had no digest
        {"format": "matchka-fusion-3"},  # which says what it was learned with
        {"format": "matchka-fusion-4"},
        {"reports": {"voice": "0" * 64, "face": "1" * 64}},
        {"format": "matchka-fusion-3", "reports": {"voice": "0" * 64}},
        {"format": "matchka-fusion-3", "reports": {"voice": "0" * 64, "face": "report.json"}},
        {"weights": {"voice": 1.1}},
        {"weights": {"voice": 1.1, "face": 0.9, "gait": 0.1}},
        {"content_digest": None},
        {"content_digest": "none"},
        {"offset": float("nan")},
        {"note": "hello"},
    ],
)
def test_read_fusion_that_is_of_no_format_is_refused(
    tmp_path: Path, document: dict[str, Any], changes: dict[str, object]
):
    changed = document | changes
    if "content_digest" not in changes:
        changed["content_digest"] = digest_of(changed)
    with pytest.raises(BundleError, match=r"fusion\.json cannot be read"):
        read_fusion(write(tmp_path, changed))


def test_read_fusions_are_those_of_all_folders_without_links(tmp_path: Path):
    write_fusion(tmp_path / "b")
    write_fusion(tmp_path / "a", has_digest=False)
    assert [path.name for path in read_fusions(tmp_path)] == ["a", "b"]
    (tmp_path / "b" / "signature.json").symlink_to(tmp_path / "a" / "fusion.json")
    with pytest.raises(BundleError, match="holds symbolic links"):
        read_fusions(tmp_path)


@pytest.fixture
def manifests(tmp_path: Path) -> dict[str, Manifest]:
    """Those of the two bundles that the made-up fusion names."""
    return {name: read_manifest(write_bundle(tmp_path / "models" / name, name)) for name in ("voice", "face")}


def learned_with(manifests: dict[str, Manifest], folder: Path) -> Fusion:
    reports = {name: manifest.files["report.json"] for name, manifest in manifests.items()}
    return read_fusion(write_fusion(folder, reports=reports) / "fusion.json")


def test_fusion_beside_the_bundles_it_was_learned_with_is_accepted(tmp_path: Path, manifests: dict[str, Manifest]):
    require_learned_with(learned_with(manifests, tmp_path / "fusion"), manifests)


def test_fusion_beside_a_bundle_that_was_calibrated_anew_is_refused_by_name(
    tmp_path: Path, manifests: dict[str, Manifest]
):
    fusion = learned_with(manifests, tmp_path / "fusion")

    def calibrate_anew(manifest: dict[str, Any]) -> None:
        for report in manifest["outputs"]["embeddings"]["per_dim"].values():
            report["calibration"]["1"]["scale"] += 1.0

    edit_bundle(tmp_path / "models" / "face", calibrate_anew)
    anew = manifests | {"face": read_manifest(tmp_path / "models" / "face")}
    assert anew["face"].version == manifests["face"].version
    with pytest.raises(BundleError, match=r"voice\+face was learned with other measurements of face") as refused:
        require_learned_with(fusion, anew)
    assert "matchka-export fuse" in refused.value.remedy


def test_fusion_of_other_versions_was_not_learned_with_these(tmp_path: Path, manifests: dict[str, Manifest]):
    fusion = learned_with(manifests, tmp_path / "fusion")
    assert fusion.was_learned_with(manifests["voice"])
    assert not fusion.was_learned_with(manifests["voice"].model_copy(update={"version": "3.0.0"}))


@pytest.mark.parametrize("has_digest", [True, False])
def test_fusion_of_an_earlier_format_is_accepted_beside_cosines_only(
    tmp_path: Path, manifests: dict[str, Manifest], has_digest: bool
):
    fusion = read_fusion(write_fusion(tmp_path / "fusion", has_digest) / "fusion.json")
    require_learned_with(fusion, manifests)
    scored = read_manifest(write_scored_bundle(tmp_path / "scored"))
    with pytest.raises(BundleError, match="other measurements of voice"):
        require_learned_with(fusion, manifests | {"voice": scored})
