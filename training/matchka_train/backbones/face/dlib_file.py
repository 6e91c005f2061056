"""The published file of dlib's face descriptor: layers stand in it from input to output behind their name tags."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from matchka.vectors import FloatArray
from matchka_train.errors import ChecksumError
from matchka_train.weights.packages import WRONG_PIN

EMBEDDING_DIM: Final = 128
CONVOLUTIONS: Final = 29
TENSOR_VERSION: Final = 2


@dataclass(frozen=True)
class ConvLayer:
    """One convolution with the affine layer after it folded in.

    Attributes:
        weight: float32, (filters, channels, rows, cols).
        bias: float32, (filters,).
    """

    weight: FloatArray
    bias: FloatArray


@dataclass(frozen=True)
class DlibWeights:
    """All parameters of the network: 29 convolutions, input to output, and the (256, 128) head."""

    convolutions: tuple[ConvLayer, ...]
    head: FloatArray


class _Cursor:
    """Reads dlib's integers and tensors from a buffer, one after the other."""

    def __init__(self, buffer: bytes, position: int) -> None:
        self.buffer = buffer
        self.position = position

    def integer(self) -> int:
        """Read one integer: a control byte (sign, byte count), then little-endian bytes."""
        control = self.buffer[self.position]
        count = control & 0x0F
        start = self.position + 1
        self.position = start + count
        value = int.from_bytes(self.buffer[start : self.position], "little")
        return -value if control & 0x80 else value

    def tensor(self) -> FloatArray:
        """Read one tensor: version, four sizes, raw float32. Returns it flattened."""
        version = self.integer()
        if version != TENSOR_VERSION:
            raise _unexpected(f"tensor version {version} at byte {self.position}")
        size = int(np.prod([self.integer() for _ in range(4)], dtype=np.int64))
        end = self.position + 4 * size
        if end > len(self.buffer):
            raise _unexpected(f"a tensor of {size} floats in {len(self.buffer)} bytes")
        values = np.frombuffer(self.buffer, "<f4", size, self.position).astype(np.float32)
        self.position = end
        return values


def _cursors(buffer: bytes, tag: str) -> Iterator[_Cursor]:
    """Yield a cursor behind every occurrence of a layer tag (a length-prefixed string), in file order."""
    needle = bytes([1, len(tag)]) + tag.encode()
    at = buffer.find(needle)
    while at >= 0:
        yield _Cursor(buffer, at + len(needle))
        at = buffer.find(needle, at + len(needle))


def _read_convolution(cursor: _Cursor) -> tuple[FloatArray, FloatArray]:
    params = cursor.tensor()
    filters, rows, cols = (cursor.integer() for _ in range(3))
    weight = params[:-filters].reshape(filters, -1, rows, cols)
    return weight, params[-filters:]


def _fold(weight: FloatArray, bias: FloatArray, affine: FloatArray) -> ConvLayer:
    """Fold `gamma * conv(x) + beta` into the convolution (in float64, rounded once)."""
    gamma, beta = np.split(affine.astype(np.float64), 2)
    if len(gamma) != len(bias):
        raise _unexpected(f"an affine layer of {len(gamma)} channels behind a convolution of {len(bias)}")
    return ConvLayer(
        weight=(weight * gamma[:, None, None, None]).astype(np.float32),
        bias=(bias * gamma + beta).astype(np.float32),
    )


def read_dlib_weights(buffer: bytes) -> DlibWeights:
    """Read `dlib_face_recognition_resnet_model_v1.dat`.

    Args: buffer: the whole file, its sha256 already checked.

    Returns: the parameters, affine layers folded into the convolutions.

    Raises: ChecksumError: the layers are not the expected ones.

    Source: dlib 19, serialize.h and dnn/layers.h; weights CC0 1.0, dlib.net.
    """
    convolutions = [_read_convolution(cursor) for cursor in _cursors(buffer, "con_4")]
    affines = [cursor.tensor() for cursor in _cursors(buffer, "affine_")]
    heads = list(_cursors(buffer, "fc_2"))
    if (len(convolutions), len(affines), len(heads)) != (CONVOLUTIONS, CONVOLUTIONS, 1):
        raise _unexpected(f"{len(convolutions)} convolutions, {len(affines)} affine layers, {len(heads)} heads")
    head = heads[0]
    head.integer(), head.integer()  # number of outputs and bias mode; the tensor's shape says both
    layers = tuple(_fold(w, b, a) for (w, b), a in zip(convolutions, affines, strict=True))
    return DlibWeights(layers, head.tensor().reshape(-1, EMBEDDING_DIM))


def _unexpected(value: str) -> ChecksumError:
    return ChecksumError(
        "The file is not dlib's face descriptor.",
        value=value,
        remedy=WRONG_PIN,
    )
