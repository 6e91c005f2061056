"""A fusion is what was learned: an edited one is refused, and one of the first format is still read."""

import json
from pathlib import Path
from typing import Any

import pytest

from matchka.bundles.fusion_file import read_fusion, read_fusions
from matchka.errors import BundleError
from tests.factories.bundles import digest_of, write_fusion


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
        {"format": "matchka-fusion-3"},
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
