"""The digest of a reference by its formula, in whole numbers of any size."""

import hashlib

import numpy as np


def slow_digest(row: np.ndarray) -> int:
    """Signed 64 bits of factor_0 + sum of factor_i * word_i, where a word is the bits of a component."""
    drawn = hashlib.shake_256(b"matchka reference digest 1").digest(8 * (len(row) + 1))
    factors = [int.from_bytes(drawn[start : start + 8], "little") | 1 for start in range(0, len(drawn), 8)]
    data = row.astype("<f4").tobytes()
    words = [int.from_bytes(data[start : start + 4], "little") for start in range(0, len(data), 4)]
    total = (factors[0] + sum(f * w for f, w in zip(factors[1:], words, strict=True))) % 2**64
    return total - 2**64 if total >= 2**63 else total
