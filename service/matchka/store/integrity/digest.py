"""64-bit digest of a stored embedding, to detect damage."""

import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt

from matchka.vectors import FloatArray

ROWS_AT_ONCE: Final = 512  # 1 MB of 256 components as integers of 8 bytes, which stays in the processor's cache
LITTLE_ENDIAN_FLOAT32: Final = np.dtype("<f4")


def digests(embeddings: FloatArray) -> npt.NDArray[np.int64]:
    """The digest of each row: of its bytes as little-endian float32, so that it is the same on every machine.

    Multilinear hashing: two rows that differ have the same digest with a chance of at most one in 2^32, and never
    where only one component differs. A zero row has a digest too, which no reference can have by more than that chance.
    It finds errors, not forgers: who can write to the data folder can write to the database.

    Args: embeddings: float32, (rows, full_dim).

    Returns: int64, (rows,); databases have no unsigned integers.

    Source: Lemire & Kaser 2014, Strongly universal string hashing is fast, arXiv:1202.4961.
    """
    words = np.ascontiguousarray(embeddings, LITTLE_ENDIAN_FLOAT32).view("<u4")
    factors = _factors(words.shape[1])
    sums = np.empty(len(words), np.uint64)
    for start in range(0, len(words), ROWS_AT_ONCE):
        part = words[start : start + ROWS_AT_ONCE].astype(np.uint64)
        sums[start : start + len(part)] = np.einsum("ij,j->i", part, factors[1:])  # modulo 2^64
    signed: npt.NDArray[np.int64] = (sums + factors[0]).view(np.int64)
    return signed


def digest_of(embedding: bytes) -> int:
    """The digest of one stored embedding: little-endian float32."""
    return int(digests(np.frombuffer(embedding, LITTLE_ENDIAN_FLOAT32)[None, :].astype(np.float32))[0])


def _factors(components: int) -> npt.NDArray[np.uint64]:
    # from a hash function, because the streams of random generators change with the library's version
    drawn = hashlib.shake_256(b"matchka reference digest 1").digest(8 * (components + 1))
    # odd, so that a change of one component never cancels
    return np.frombuffer(drawn, "<u8").astype(np.uint64) | np.uint64(1)
