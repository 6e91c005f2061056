"""What somebody who can write into a bundle's folder tries: nothing but what was measured and sealed is read."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from matchka.bundles.bundle import read_bundle, read_manifest
from matchka.bundles.repository import read_bundles
from matchka.bundles.signature import TrustedKeys, public_key_text, sign
from matchka.errors import BundleError
from tests.factories.bundles import digest_of, edit_bundle, write_bundle
from tests.factories.graphs import write_graph

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TRUSTED = TrustedKeys.parse(public_key_text(KEY))
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle that was signed."""
    written = write_bundle(tmp_path / "models" / "voice")
    sign(written, read_bundle(written).manifest.content_digest or "", KEY)
    assert read_bundle(written, TRUSTED).manifest.name == "voice"
    return written


def edit(folder: Path, change: Change, is_digested: bool = False) -> None:
    """Change a manifest as with an editor."""
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    if is_digested:
        manifest["content_digest"] = digest_of(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def report_of(manifest: dict[str, Any]) -> Any:
    return manifest["outputs"]["embeddings"]["per_dim"]["8"]


def lower_the_threshold(manifest: dict[str, Any]) -> None:
    report_of(manifest)["operating_points"]["1"] = [{"fmr": 0.001, "threshold": -0.9, "measured": True}]


def improve_the_eer(manifest: dict[str, Any]) -> None:
    report_of(manifest)["metrics"]["made-up"]["eer"] = 0.0001


def rename_the_version(manifest: dict[str, Any]) -> None:
    manifest["version"] = "9.9.9"


@pytest.mark.parametrize("change", [lower_the_threshold, improve_the_eer, rename_the_version])
def test_read_bundle_with_an_edited_manifest_is_refused(folder: Path, change: Change):
    edit(folder, change)
    with pytest.raises(BundleError, match=r"voice/manifest\.json was edited"):
        read_bundle(folder)
    with pytest.raises(BundleError, match="was edited"):  # no list of bundles shows it either
        read_manifest(folder)


@pytest.mark.parametrize("change", [lower_the_threshold, improve_the_eer])
def test_read_bundle_with_an_edited_manifest_and_its_new_digest_differs_from_the_report(folder: Path, change: Change):
    edit(folder, change, is_digested=True)
    with pytest.raises(BundleError, match=r"does not state what was measured: report\.json") as refused:
        read_bundle(folder)
    assert refused.value.value == "dims 8"


@pytest.mark.parametrize("change", [lower_the_threshold, improve_the_eer, rename_the_version])
def test_read_bundle_that_was_edited_throughout_lacks_the_signature_of_what_it_says(folder: Path, change: Change):
    edit_bundle(folder, change)
    assert read_bundle(folder).manifest.name == "voice"  # without a key nothing shows it
    with pytest.raises(BundleError, match=r"signature of .*voice is of other content"):
        read_bundle(folder, TRUSTED)
    with pytest.raises(BundleError, match="of other content"):
        read_bundles(folder.parent, (), TRUSTED)


def test_read_bundle_with_an_edited_report_is_refused(folder: Path):
    text = (folder / "report.json").read_text()
    (folder / "report.json").write_text(text.replace("0.05", "0.01"))
    with pytest.raises(BundleError, match=r"report\.json of the bundle .* is not the one its manifest names"):
        read_bundle(folder)


@pytest.mark.parametrize("name", ["report.json", "model.onnx"])
def test_read_bundle_with_a_swapped_file_whose_sha256_was_updated_is_refused(folder: Path, name: str):
    if name == "model.onnx":
        write_graph(folder / name, seed=8)
    else:
        (folder / name).write_text('{"per_dim": {}}')
    found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    edit(folder, lambda manifest: manifest["files"].update({name: found}))
    with pytest.raises(BundleError, match="was edited"):
        read_bundle(folder)


@pytest.mark.parametrize("value", [None, "", "0" * 64])
def test_read_bundle_with_another_digest_is_refused(folder: Path, value: str | None):
    edit(folder, lambda manifest: manifest.update(content_digest=value))
    with pytest.raises(BundleError, match=r"was edited|not valid at content_digest"):
        read_bundle(folder)


def test_read_bundle_without_a_digest_is_refused(folder: Path):
    edit(folder, lambda manifest: manifest.pop("content_digest"))
    with pytest.raises(BundleError, match="not valid at content_digest: Field required"):
        read_bundle(folder)


def test_read_bundle_of_an_embedding_without_its_report_is_refused(folder: Path):
    (folder / "report.json").unlink()
    edit(folder, lambda manifest: manifest["files"].pop("report.json"), is_digested=True)
    with pytest.raises(BundleError, match="lacks the report of its measurements"):
        read_bundle(folder)


@pytest.mark.parametrize("report", [b"", b"{}", b'{"per_dim": 1}', b'{"per_dim": {"8": {}}}'])
def test_read_bundle_with_a_report_that_is_none_is_refused(folder: Path, report: bytes):
    (folder / "report.json").write_bytes(report)
    found = hashlib.sha256(report).hexdigest()
    edit(folder, lambda manifest: manifest["files"].update({"report.json": found}), is_digested=True)
    with pytest.raises(BundleError, match=r"report\.json cannot be read"):
        read_bundle(folder)


@pytest.mark.parametrize(("before", "said"), [(True, None), (False, "was edited")])
def test_read_bundle_with_a_name_that_stands_twice_reads_what_was_digested(
    folder: Path, before: bool, said: str | None
):
    text = (folder / "manifest.json").read_text()
    again = '"version": "9.9.9"'
    (folder / "manifest.json").write_text(f"{{{again}, {text[1:]}" if before else f"{text[:-1]}, {again}}}")
    if said is None:  # the later of the two is read, and is the one that was sealed
        assert read_bundle(folder, TRUSTED).manifest.version == "1.0.0"
        return
    with pytest.raises(BundleError, match=said):
        read_bundle(folder)


def test_read_bundle_with_a_number_that_is_not_finite_is_refused(folder: Path):
    edit(folder, lambda manifest: report_of(manifest)["metrics"]["made-up"].update(min_dcf=float("inf")))
    with pytest.raises(BundleError, match="not finite"):
        read_bundle(folder)


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "report.json", "signature.json"])
def test_read_bundle_with_a_link_in_place_of_a_file_is_refused(folder: Path, tmp_path: Path, name: str):
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(BundleError, match="holds symbolic links") as refused:
        read_bundle(folder)
    assert refused.value.value == name
    with pytest.raises(BundleError, match="holds symbolic links"):
        read_bundles(folder.parent)


def test_read_bundle_with_links_to_a_folder_and_to_nothing_is_refused(folder: Path, tmp_path: Path):
    (tmp_path / "plots").mkdir()
    (folder / "plots").symlink_to(tmp_path / "plots")
    (folder / "later").symlink_to(tmp_path / "nothing")
    with pytest.raises(BundleError, match="holds symbolic links") as refused:
        read_bundle(folder)
    assert refused.value.value == "later, plots"


def test_read_bundle_whose_folder_is_itself_a_link_is_read(folder: Path, tmp_path: Path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "voice").symlink_to(folder)
    assert [bundle.manifest.name for bundle in read_bundles(tmp_path / "served", (), TRUSTED)] == ["voice"]


def test_read_bundles_where_one_of_two_is_not_signed_is_refused_unless_the_other_alone_is_wanted(folder: Path):
    write_bundle(folder.parent / "alto", "alto")
    with pytest.raises(BundleError, match="alto has no signature"):
        read_bundles(folder.parent, (), TRUSTED)
    assert len(read_bundles(folder.parent, ("voice",), TRUSTED)) == 1


def to_schema_1(manifest: dict[str, Any]) -> None:
    """As it was before there were digests."""
    embedding = manifest.pop("outputs")["embeddings"]
    del manifest["content_digest"]
    manifest |= {"schema_version": 1, "output": {"kind": embedding.pop("kind")}, **embedding}


def test_read_bundle_of_schema_1_is_read_unless_keys_are_trusted(folder: Path):
    (folder / "signature.json").unlink()
    edit(folder, to_schema_1)
    assert read_bundle(folder).manifest.content_digest is None
    with pytest.raises(BundleError, match="states no content digest") as refused:
        read_bundle(folder, TRUSTED)
    assert "matchka-export defaults" in refused.value.remedy


def test_read_bundle_of_schema_1_without_a_report_is_read(folder: Path):
    (folder / "report.json").unlink()
    edit(folder, lambda manifest: (to_schema_1(manifest), manifest["files"].pop("report.json")))
    assert read_bundle(folder).manifest.version == "1.0.0"


def test_read_bundle_of_schema_1_whose_report_says_something_else_is_refused(folder: Path):
    edit(folder, lambda manifest: (lower_the_threshold(manifest), to_schema_1(manifest)))
    with pytest.raises(BundleError, match="does not state what was measured"):
        read_bundle(folder)
