"""What an embedding is, out of what a graph returns."""

from pathlib import Path

import pytest

from matchka.bundles.bundle import read_bundle
from matchka.bundles.manifest import Manifest
from matchka.errors import UntrainedDimError
from matchka.tasks.embedding.embedding import require_dim
from tests.factories.bundles import write_bundle


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return read_bundle(write_bundle(tmp_path / "voice")).manifest


def test_require_dim_of_trained_dims_returns_them_and_of_none_full_dim(manifest: Manifest):
    assert [require_dim(manifest, dim) for dim in (2, 4, 8, None)] == [2, 4, 8, 8]


@pytest.mark.parametrize("dim", [-1, 0, 1, 3, 7, 9, 256])
def test_require_dim_of_an_untrained_dim_is_refused(manifest: Manifest, dim: int):
    with pytest.raises(UntrainedDimError, match="2, 4, 8") as refused:
        require_dim(manifest, dim)
    assert refused.value.value == str(dim)
