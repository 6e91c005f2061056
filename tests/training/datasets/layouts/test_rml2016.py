"""RML2016.10a's file: arrays are read, whatever else a pickle can hold is refused before it runs."""

import os
import pickle
import struct
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


class OfPython2:
    """Pickles as Python 2 wrote them: strings are bytes without an encoding.

    Args: text: whether in protocol 0, which escapes them; otherwise in protocol 2.
    """

    def __init__(self, text: bool) -> None:
        self.text = text

    def string(self, data: bytes) -> bytes:
        if not self.text:
            return pickle.BINSTRING + struct.pack("<i", len(data)) + data
        escaped = "".join(chr(one) if 32 <= one < 127 and one not in b"'\\" else f"\\x{one:02x}" for one in data)
        return f"S'{escaped}'\n".encode()

    def numbers(self, *values: int) -> bytes:
        return b"".join(f"I{one}\n".encode() if self.text else b"J" + struct.pack("<i", one) for one in values)

    def array(self, array: np.ndarray) -> bytes:
        made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + self.numbers(0) + b"t" + self.string(b"b")
        order = b"(" + self.numbers(3) + self.string(b"<") + b"NNN" + self.numbers(-1, -1, 0) + b"tb"
        dtype = b"cnumpy\ndtype\n(" + self.string(b"f4") + self.numbers(0, 1) + b"tR" + order
        shape = b"(" + self.numbers(*array.shape) + b"t"
        return made + b"tR(" + self.numbers(1) + shape + dtype + b"I00\n" + self.string(array.tobytes()) + b"tb"

    def dictionary(self, content: dict[tuple[str, int], np.ndarray]) -> bytes:
        entries = (
            b"(" + self.string(name.encode()) + self.numbers(snr) + b"t" + self.array(windows)
            for (name, snr), windows in content.items()
        )
        return (b"" if self.text else b"\x80\x02") + b"(" + b"".join(entries) + b"d."


@pytest.mark.parametrize("text", [True, False])
def test_read_rml2016_when_python_2_wrote_it_returns_its_arrays(tmp_path: Path, text: bool):
    rng = np.random.default_rng(1)
    content = {("8PSK", snr): rng.standard_normal((2, 2, 128)).astype(np.float32) for snr in (-20, 0, 18)}
    path = tmp_path / "RML2016.10a_dict.pkl"
    path.write_bytes(OfPython2(text).dictionary(content))
    found = read_rml2016(path)
    assert found.keys() == content.keys()
    for key, windows in content.items():
        np.testing.assert_array_equal(found[key], windows)


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
