"""RML2016.10a's file: arrays are read, whatever else a pickle can hold is refused before it runs."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from matchka_train.datasets.layouts.rml2016 import read_rml2016
from matchka_train.errors import WeightsFileError


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("protocol", [2, 4])
def test_read_rml2016_when_in_the_files_shape_returns_its_arrays(tmp_path: Path, protocol: int):
    rng = np.random.default_rng(0)
    content = {(name, snr): rng.random((3, 2, 128), np.float32) for name in ("QPSK", "WBFM") for snr in (-20, 18)}
    path = tmp_path / "RML2016.10a_dict.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    found = read_rml2016(path)
    assert set(found) == set(content)
    for key, windows in content.items():
        np.testing.assert_array_equal(found[key], windows)


def test_read_rml2016_when_the_pickle_is_malicious_refuses_it_and_runs_nothing(tmp_path: Path):
    path = tmp_path / "bad.pkl"
    path.write_bytes(pickle.dumps({("QPSK", 0): Malicious(tmp_path / "made")}))
    with pytest.raises(WeightsFileError, match="mkdir"):
        read_rml2016(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"QPSK": np.zeros((1, 2, 128))},
        {("QPSK", 0): np.zeros((1, 2, 64))},
        {("QPSK", 0): np.full((1, 2, 128), np.nan)},
        {("QPSK", 0): [1.0]},
    ],
)
def test_read_rml2016_when_it_holds_something_else_refuses(tmp_path: Path, content: object):
    path = tmp_path / "other.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(WeightsFileError):
        read_rml2016(path)
    with pytest.raises(WeightsFileError):
        read_rml2016(tmp_path / "absent.pkl")
