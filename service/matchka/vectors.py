"""Arithmetic on embeddings; nowhere else are vectors truncated, normalised, averaged or compared by cosine."""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from matchka.errors import DimensionError, ZeroVectorError

FloatArray: TypeAlias = npt.NDArray[np.float32]
ROWS_AT_ONCE: Final = 1_024  # in double precision: 2 MB of 256 components
GROUPS_AT_ONCE: Final = 1 << 14  # in double precision: all of a large training set would be several times its size


def truncate_and_normalise(embeddings: FloatArray, dim: int) -> FloatArray:
    """Keep the first `dim` components of each embedding and rescale to unit length.

    Truncation shortens a unit vector, so thresholds on cosine hold only after the rescale.

    Args:
        embeddings: float32, (batch, full_dim), finite; rows need not be unit length.
        dim: components kept, 1 <= dim <= full_dim.

    Returns: float32, (batch, dim); every row has L2 norm 1. The input is not changed.

    Raises:
        DimensionError: dim out of range.
        ZeroVectorError: a truncated row is all zero.

    Source: Kusupati et al. 2022, arXiv:2205.13147.

    >>> truncate_and_normalise(np.array([[3, 4, 12]], np.float32), 2)
    array([[0.6, 0.8]], dtype=float32)
    """
    full_dim = embeddings.shape[1]
    if not 1 <= dim <= full_dim:
        raise DimensionError(
            f"dim must be between 1 and {full_dim}.", value=dim, remedy="Ask for a dim the embedding has."
        )
    # float64 keeps the norm of a 256-component row within one float32 rounding of 1
    prefixes = embeddings[:, :dim].astype(np.float64)
    # to the bit what np.linalg.norm gives, without its wrappers: every search and embedding comes here with one row
    norms = np.sqrt(np.add.reduce(prefixes * prefixes, axis=1, keepdims=True))
    if not norms.all():
        raise ZeroVectorError(
            f"An embedding is zero in its first {dim} components.", remedy="Use a larger dim or another sample."
        )
    unit: FloatArray = (prefixes / norms).astype(np.float32)
    return unit


def truncate_and_normalise_or_zero(embeddings: FloatArray, dim: int) -> FloatArray:
    """As truncate_and_normalise, but a row without direction in its first `dim` components stays zero.

    A gallery cannot refuse what is already stored; a zero row is similar to nothing.

    >>> truncate_and_normalise_or_zero(np.array([[0, 5], [2, 0]], np.float32), 1)
    array([[0.],
           [1.]], dtype=float32)
    """
    prefixes = embeddings[:, :dim]
    # every reference comes here at a start: one pass in float64 and one in float32, a third of truncate_and_normalise
    unit: FloatArray = prefixes * inverse_lengths(squared_lengths(prefixes))[:, None]
    return unit


def cosine_similarity(a: FloatArray, b: FloatArray, dim: int) -> FloatArray:
    """Cosine of every row of `a` with every row of `b`, on their first `dim` components.

    Args:
        a: float32, (n, full_dim).
        b: float32, (m, full_dim).
        dim: components compared, 1 <= dim <= full_dim.

    Returns: float32, (n, m), each in [-1, 1].

    Raises: DimensionError, ZeroVectorError: as truncate_and_normalise.

    >>> cosine_similarity(np.array([[1, 0, 9]], np.float32), np.array([[1, 1, -9]], np.float32), 2)
    array([[0.70710677]], dtype=float32)
    """
    if a.shape[1] != b.shape[1]:
        raise DimensionError(
            f"Embeddings of {a.shape[1]} and {b.shape[1]} components cannot be compared.",
            remedy="Compare embeddings of one model.",
        )
    products: FloatArray = truncate_and_normalise(a, dim) @ truncate_and_normalise(b, dim).T
    return np.clip(products, -1.0, 1.0)


def cosines_with(references: FloatArray, probe: FloatArray, dim: int) -> FloatArray:
    """Cosine of each reference with one probe, on their first `dim` components.

    A row's cosine is the same whatever other rows there are, to the bit: candidates keep theirs in any company.

    Args:
        references: float32, (n, full_dim); one that has no direction at the dim has 0, as in a gallery.
        probe: float32, (full_dim,).
        dim: components compared, 1 <= dim <= full_dim.

    Returns: float32, (n,), each in [-1, 1].

    Raises: DimensionError, ZeroVectorError: of the probe, as truncate_and_normalise.

    >>> cosines_with(np.array([[2, 0, 9], [1, 1, 9], [0, 0, 9]], np.float32), np.array([1, 0, 5], np.float32), 2)
    array([1.        , 0.70710677, 0.        ], dtype=float32)
    """
    unit = truncate_and_normalise(probe[None, :], dim)[0]
    # a product with a matrix would sum in another order, which depends on the number of rows
    products: FloatArray = np.vecdot(truncate_and_normalise_or_zero(references, dim), unit)
    return np.clip(products, -1.0, 1.0)


def mean_reference(embeddings: FloatArray) -> FloatArray:
    """The reference of a subject: the mean of its unit-length full embeddings (DESIGN: stored once, not rescaled).

    Args:
        embeddings: float32, (templates, full_dim); rows need not be unit length.

    Returns: float32, (full_dim,); its first d components, rescaled, are the reference at dim d.

    Raises: ZeroVectorError: a row is zero, or the rows cancel.

    >>> mean_reference(np.array([[2, 0], [0, 5]], np.float32))
    array([0.5, 0.5], dtype=float32)
    """
    mean: FloatArray = (
        truncate_and_normalise(embeddings, embeddings.shape[1]).mean(axis=0, dtype=np.float64).astype(np.float32)
    )
    if not np.any(mean):
        raise ZeroVectorError("The templates cancel each other.", remedy="Enrol samples of one subject.")
    return mean


def mean_by_group(rows: FloatArray, group_sizes: list[int]) -> FloatArray:
    """Average consecutive rows group by group: the windows of each clip become that clip's embedding.

    Args:
        rows: float32, (sum(group_sizes), full_dim).
        group_sizes: rows of each group, each >= 1.

    Returns: float32, (len(group_sizes), full_dim), not rescaled.

    >>> mean_by_group(np.array([[2.0], [4.0], [7.0]], np.float32), [2, 1])
    array([[3.],
           [7.]], dtype=float32)
    """
    sizes = np.asarray(group_sizes, np.int64)
    ends = np.cumsum(sizes)
    means = np.empty((len(sizes), rows.shape[1]), np.float32)
    for first in range(0, len(sizes), GROUPS_AT_ONCE):
        here = slice(first, first + GROUPS_AT_ONCE)
        starts = ends[here] - sizes[here]
        if ends[here][-1] - starts[0] == len(starts):  # one row each: its mean is itself, without double precision
            means[here] = rows[starts[0] : ends[here][-1]]
            continue
        sums = np.add.reduceat(rows[starts[0] : ends[here][-1]].astype(np.float64), starts - starts[0], axis=0)
        means[here] = sums / sizes[here, None]
    return means


def squared_lengths(rows: FloatArray) -> npt.NDArray[np.float64]:
    """The square of each row's L2 norm, in float64; those of a row's parts add up to that of the row.

    Args: rows: float32, (n, dim).

    >>> squared_lengths(np.array([[3, 4], [0, 0]], np.float32))
    array([25.,  0.])
    """
    squares = np.empty(len(rows))
    for start in range(0, len(rows), ROWS_AT_ONCE):
        # einsum(dtype=float64) would widen each row twice, as if it were two
        wide = rows[start : start + ROWS_AT_ONCE].astype(np.float64)
        np.vecdot(wide, wide, out=squares[start : start + len(wide)])
    return squares


def inverse_lengths(squared: npt.NDArray[np.float64]) -> FloatArray:
    """What an inner product with each row has to be multiplied by to be a cosine; 0 for a row without direction.

    Args: squared: float64, (n,), as squared_lengths gives it.

    >>> inverse_lengths(np.array([25.0, 0.0]))
    array([0.2, 0. ], dtype=float32)
    """
    # a length whose inverse float32 cannot hold is no direction either
    has_direction = squared > float(np.finfo(np.float32).tiny) ** 2
    inverse: FloatArray = np.where(has_direction, 1 / np.sqrt(np.where(has_direction, squared, 1)), 0).astype(
        np.float32
    )
    return inverse


def quantise(components: FloatArray) -> npt.NDArray[np.uint8]:
    """Components of unit vectors in one byte each: the integer nearest to 127 times the component, plus 128.

    Args: components: float32, (n, dim), each in [-1, 1].

    >>> quantise(np.array([[-1, 0, 0.5]], np.float32))
    array([[  1, 128, 192]], dtype=uint8)
    """
    codes: npt.NDArray[np.uint8] = (np.rint(components * np.float32(127)) + np.float32(128)).astype(np.uint8)
    return codes


def widen(vector: FloatArray) -> FloatArray:
    """A vector scaled until its largest component is 127 or -127, and rounded: the order of inner products stays.

    Args: vector: float32, (dim,); zero stays zero.

    >>> widen(np.array([-0.5, 0.25, 0.0], np.float32))
    array([-127.,   64.,    0.], dtype=float32)
    """
    largest = np.max(np.abs(vector))
    return vector if largest == 0 else np.rint(vector * (np.float32(127) / largest))
