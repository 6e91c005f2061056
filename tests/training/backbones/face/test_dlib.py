"""dlib's descriptor in torch against dlib itself, and the mirrored view against two calls."""

from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from matchka_train.backbones.face.dlib import DlibFace
from matchka_train.backbones.face.dlib_file import read_dlib_weights
from matchka_train.errors import ChecksumError, DownloadError
from matchka_train.weights.package_catalogue import DLIB_WEIGHTS
from matchka_train.weights.packages import read_member
from tests.factories.checkout import ROOT

pytestmark = pytest.mark.slow

DOWNLOADS = ROOT / "build" / "downloads"


@pytest.fixture(scope="module")
def weights() -> bytes:
    try:
        return read_member(DLIB_WEIGHTS, DOWNLOADS, Console(stderr=True))
    except DownloadError as error:
        pytest.skip(f"dlib's weights are neither in the cache nor to be fetched: {error}")


@pytest.fixture(scope="module")
def chips() -> np.ndarray:
    """Noise, a flat chip, black, white, and a smooth one."""
    generator = np.random.default_rng(0)
    smooth = np.linspace(0, 255, 150, dtype=np.uint8)
    made = [
        generator.integers(0, 256, (150, 150, 3), dtype=np.uint8),
        np.full((150, 150, 3), 127, np.uint8),
        np.zeros((150, 150, 3), np.uint8),
        np.full((150, 150, 3), 255, np.uint8),
        np.stack([np.tile(smooth, (150, 1)), np.tile(smooth[:, None], (1, 150)), np.full((150, 150), 90, np.uint8)], 2),
    ]
    return np.stack(made)


def test_network_when_given_chips_equals_dlib(weights: bytes, chips: np.ndarray, tmp_path: Path) -> None:
    dlib = pytest.importorskip("dlib", reason="dlib, the reference, is not installed (pip install dlib-bin)")
    path = tmp_path / "resnet.dat"
    path.write_bytes(weights)
    reference = dlib.face_recognition_model_v1(str(path))
    expected = np.array([reference.compute_face_descriptor(chip) for chip in chips])
    found = DlibFace(DOWNLOADS, mirrored=False).module().network(torch.from_numpy(chips)).numpy()
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.usefixtures("weights")
def test_module_when_mirrored_is_the_direction_of_the_sum_of_both_views(chips: np.ndarray) -> None:
    module = DlibFace(DOWNLOADS).module()
    batch = module(torch.from_numpy(chips)).numpy()
    for number, chip in enumerate(chips):
        turned = np.ascontiguousarray(chip[:, ::-1])
        both = [module.network(torch.from_numpy(view[None])).numpy()[0].astype(float) for view in (chip, turned)]
        expected = (both[0] + both[1]) / np.linalg.norm(both[0] + both[1])
        np.testing.assert_allclose(batch[number], expected, atol=1e-6)


@pytest.mark.usefixtures("weights")
def test_published_when_asked_for_is_one_view_of_unit_length(chips: np.ndarray) -> None:
    published = DlibFace(DOWNLOADS).published
    embeddings = published.module()(torch.from_numpy(chips)).numpy()
    np.testing.assert_allclose((embeddings**2).sum(axis=1), 1.0, atol=1e-5)
    assert not np.allclose(embeddings, DlibFace(DOWNLOADS).module()(torch.from_numpy(chips)).numpy(), atol=1e-3)
    assert published.published == published


def test_read_dlib_weights_when_another_file_refuses(weights: bytes) -> None:
    with pytest.raises(ChecksumError, match="not dlib's face descriptor"):
        read_dlib_weights(b"no layers here")
    with pytest.raises(ChecksumError, match="bytes"):
        read_dlib_weights(weights[: len(weights) // 2])
