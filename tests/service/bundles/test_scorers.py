"""A bundle's scorer is read from its files, or the bundle is refused."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from matchka.bundles.bundle import read_bundle
from matchka.bundles.scorers import open_scorer
from matchka.errors import BundleError
from matchka.scorers import COSINE, counted
from tests.factories.bundles import write_bundle
from tests.factories.scorers import FILE, covariances, section, slow_similarity, with_hashes, write_scored_bundle
from tests.factories.unit_vectors import unit_vectors


def test_bundle_that_names_no_scorer_compares_by_cosine(tmp_path: Path):
    bundle = read_bundle(write_bundle(tmp_path / "voice"))
    assert open_scorer(bundle.path, bundle.manifest) is COSINE


def test_bundle_with_two_covariances_compares_by_them(tmp_path: Path):
    bundle = read_bundle(write_scored_bundle(tmp_path / "voice"))
    scorer = open_scorer(bundle.path, bundle.manifest)
    x, y = unit_vectors(2, 6, dim=8)
    found = scorer.similarities(counted(x[None], [2]), counted(y[None], [5]), 4)[0, 0]
    assert found == pytest.approx(slow_similarity(x, y, 2, 5, 4), abs=1e-6)


def spoilt(change: Callable[[dict[str, np.ndarray]], None]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        within, between = covariances()
        arrays = {"within": within.copy(), "between": between.copy()}
        change(arrays)
        np.savez(path, **arrays)

    return write


def unsymmetric(arrays: dict[str, np.ndarray]) -> None:
    arrays["within"][0, 1] += 1


def infinite(arrays: dict[str, np.ndarray]) -> None:
    arrays["between"][0, 0] = np.inf


def negative(arrays: dict[str, np.ndarray]) -> None:
    arrays["within"] *= -1


def vanishing(arrays: dict[str, np.ndarray]) -> None:
    arrays["within"] *= np.float32(1e-18)


def bare(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, covariances()[0])


def with_text(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("within", b"text")


def too_large(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive, archive.open("within.npy", "w") as member:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**7, 10**7)}
        np.lib.format.write_array_header_1_0(member, header)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: path.write_bytes(b"no archive"), "cannot be read"),
        (bare, "cannot be read"),
        (with_text, "must hold within and between"),
        (too_large, "cannot be read"),
        (lambda path: np.savez(path, within=covariances()[0]), "must hold within and between"),
        (lambda path: np.savez(path, within=np.eye(8), between=np.eye(8)), "must hold within and between"),
        (lambda path: np.savez(path, *[np.array([{}], object)]), "cannot be read"),
        (spoilt(unsymmetric), "a covariance that is none"),
        (spoilt(infinite), "a covariance that is none"),
        (spoilt(negative), "do not suit the dim 2"),
        (spoilt(vanishing), "do not suit the dim 2"),
    ],
    ids=[
        "no archive",
        "an array alone",
        "text",
        "too large",
        "one is missing",
        "float64",
        "pickled",
        "not symmetric",
        "infinite",
        "not positive",
        "next to nothing",
    ],
)
def test_scorer_file_that_is_none_is_refused(tmp_path: Path, write: Callable[[Path], None], said: str):
    folder = write_scored_bundle(tmp_path / "voice")
    write(folder / FILE)
    bundle = read_bundle(with_hashes(folder))
    with pytest.raises(BundleError, match=said):
        open_scorer(bundle.path, bundle.manifest)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"file": "other.npz"}, "files must hold the sha256 of other.npz"),
        ({"per_dim": {"8": {"scale": 1, "slope": 0.1, "offset": 0}}}, "scorer.per_dim must have exactly one entry"),
        ({"kind": "unknown"}, "kind"),
        ({"row_noise": -1}, "row_noise"),
    ],
    ids=["file not listed", "a dim is missing", "unknown kind", "negative noise"],
)
def test_manifest_whose_scorer_is_not_whole_is_refused(tmp_path: Path, change: dict[str, object], said: str):
    folder = write_scored_bundle(tmp_path / "voice")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["outputs"]["embeddings"]["scorer"] = section() | change
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=said):
        read_bundle(folder)
