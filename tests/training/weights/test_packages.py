"""Packages are fetched by the real pip from a folder that serves as its index; nothing is mocked."""

import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from matchka_train.errors import ChecksumError, DownloadError
from matchka_train.weights.package_catalogue import GE2E_WEIGHTS, POCKETSPHINX, RESEMBLYZER, SILERO_VAD
from matchka_train.weights.packages import DEFAULT_CACHE_DIR, Member, Package, fetch_package, read_archived, read_member
from tests.factories.checkout import ROOT

pytestmark = pytest.mark.slow  # pinned packages are opened

CONTENT = b"\x00weights\xff" * 1000
QUIET = Console(quiet=True)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the whole index: no network is touched."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def publish_wheel(index: Path, content: bytes = CONTENT) -> Package:
    name = "fake_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(index / name, "w") as wheel:
        wheel.writestr("fake_weights/model.pt", content)
        wheel.writestr(
            "fake_weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: fake-weights\nVersion: 1.0\n"
        )
        wheel.writestr("fake_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("fake_weights-1.0.dist-info/RECORD", "")
    data = (index / name).read_bytes()
    return Package("fake-weights", "1.0", name, hashlib.sha256(data).hexdigest(), len(data), False, "MIT")


def publish_source(index: Path, proof: Path) -> Package:
    """A source archive whose build code leaves a proof that it ran."""
    name = "fake-source-1.0.tar.gz"
    setup = (
        f"open({str(proof)!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='fake-source', version='1.0')\n"
    )
    with tarfile.open(index / name, "w:gz") as tar:
        for path, text in (("fake-source-1.0/setup.py", setup), ("fake-source-1.0/PKG-INFO", "Name: fake-source\n")):
            info = tarfile.TarInfo(path)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    data = (index / name).read_bytes()
    return Package("fake-source", "1.0", name, hashlib.sha256(data).hexdigest(), len(data), True, "MIT")


def test_read_member_when_index_serves_the_pinned_wheel_returns_its_bytes(index: Path, tmp_path: Path) -> None:
    member = Member(publish_wheel(index), "fake_weights/model.pt", hashlib.sha256(CONTENT).hexdigest())
    assert read_member(member, tmp_path / "cache", QUIET) == CONTENT
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [member.package.file_name]


def test_fetch_package_when_cached_needs_no_index(index: Path, tmp_path: Path) -> None:
    package = publish_wheel(index)
    first = fetch_package(package, tmp_path / "cache", QUIET)
    (index / package.file_name).unlink()
    assert fetch_package(package, tmp_path / "cache", QUIET) == first


def test_fetch_package_when_index_serves_other_bytes_refuses_and_leaves_nothing(index: Path, tmp_path: Path) -> None:
    package = publish_wheel(index)
    publish_wheel(index, b"someone else's")
    with pytest.raises(ChecksumError, match=package.sha256):
        fetch_package(package, tmp_path / "cache", QUIET)
    assert list((tmp_path / "cache").iterdir()) == []


def test_fetch_package_when_source_archive_is_another_never_runs_its_build_code(index: Path, tmp_path: Path) -> None:
    proof = tmp_path / "build-code-ran"
    package = replace(publish_source(index, proof), sha256="0" * 64)
    with pytest.raises(ChecksumError):
        fetch_package(package, tmp_path / "cache", QUIET)
    assert not proof.exists()


def test_fetch_package_when_index_has_no_such_package_says_what_to_do(index: Path, tmp_path: Path) -> None:
    package = publish_wheel(index)
    (index / package.file_name).unlink()
    with pytest.raises(DownloadError, match="PIP_INDEX_URL") as caught:
        fetch_package(package, tmp_path / "cache", QUIET)
    assert package.file_name in caught.value.remedy
    assert list((tmp_path / "cache").iterdir()) == []


def test_fetch_package_when_cache_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DownloadError, match="cannot be written"):
        fetch_package(RESEMBLYZER, tmp_path / "cache", QUIET)


def test_fetch_package_when_cached_file_was_changed_refuses(index: Path, tmp_path: Path) -> None:
    package = publish_wheel(index)
    cached = fetch_package(package, tmp_path / "cache", QUIET)
    cached.write_bytes(cached.read_bytes()[:-1])
    with pytest.raises(ChecksumError, match="Delete"):
        fetch_package(package, tmp_path / "cache", QUIET)


def test_read_member_when_member_differs_refuses(index: Path, tmp_path: Path) -> None:
    member = Member(publish_wheel(index), "fake_weights/model.pt", "0" * 64)
    with pytest.raises(ChecksumError, match=r"model\.pt"):
        read_member(member, tmp_path / "cache", QUIET)


@pytest.mark.parametrize("publish", ["wheel", "source"])
def test_read_archived_when_member_is_absent_refuses(index: Path, tmp_path: Path, publish: str) -> None:
    package = publish_wheel(index) if publish == "wheel" else publish_source(index, tmp_path / "proof")
    with pytest.raises(ChecksumError, match="does not hold"):
        read_archived(index / package.file_name, ["no/such/file"])


@pytest.mark.network
@pytest.mark.parametrize("package", [RESEMBLYZER, SILERO_VAD, POCKETSPHINX], ids=lambda package: package.name)
def test_fetch_package_when_asked_for_the_pinned_ones_gets_them(package: Package) -> None:
    try:
        found = fetch_package(package, ROOT / DEFAULT_CACHE_DIR, QUIET)
    except DownloadError as error:
        pytest.skip(f"no package index: {error}")
    assert hashlib.sha256(found.read_bytes()).hexdigest() == package.sha256


def test_the_weights_in_the_cache_are_the_pinned_ones(ge2e_weights: bytes) -> None:
    assert hashlib.sha256(ge2e_weights).hexdigest() == GE2E_WEIGHTS.sha256
