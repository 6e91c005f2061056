"""Search method by gallery size and dim, from measurements (docs/decisions/051-search.md)."""

from typing import Final, Literal, TypeAlias

Method: TypeAlias = Literal["flat", "two_stage", "gpu", "onnx", "milvus"]

PREFIX_DIM: Final = 64  # at 32 the shortlist takes a third less time and misses one best subject in seventy
TWO_STAGE_FROM_COMPONENTS: Final = 5_000_000  # subjects x dim; below it the exact search takes about half a millisecond
SHORTLIST: Final = 512  # of the whole gallery; where it was 128, one in a hundred of the ten best was missed
SHORTLIST_OF_EACH_BLOCK: Final = 64
SHORTLIST_PER_CANDIDATE: Final = 2
PARALLEL_FROM_BYTES: Final = 250_000_000  # a second thread gained nothing on two stages over 64 MB, a tenth on a GB


def choose_method(subjects: int, dim: int, prefix_dim: int) -> Method:
    """Flat where the gallery is small or the dim short, else in two stages.

    The shortlist's products are not rescaled to the dim. At half the prefix they still find the best; at a quarter one
    in six is missed.

    >>> choose_method(1_000, 256, 64), choose_method(1_000_000, 256, 64), choose_method(1_000_000, 16, 64)
    ('flat', 'two_stage', 'flat')
    """
    return "two_stage" if 2 * dim >= prefix_dim and subjects * dim >= TWO_STAGE_FROM_COMPONENTS else "flat"


def shortlist_of_each_block(top_k: int, blocks: int) -> int:
    """Rows of each block that the second stage compares exactly, for so many candidates in all.

    >>> shortlist_of_each_block(5, 2), shortlist_of_each_block(5, 16), shortlist_of_each_block(100, 16)
    (256, 64, 200)
    """
    return max(SHORTLIST // max(1, blocks), SHORTLIST_OF_EACH_BLOCK, SHORTLIST_PER_CANDIDATE * top_k)


def threads_for(method: Method, subjects: int, dim: int, prefix_dim: int, threads: int) -> int:
    """Threads that share one search: one where the work is less than handing it over.

    >>> threads_for("two_stage", 1_000_000, 256, 64, 2), threads_for("flat", 1_000_000, 256, 64, 2)
    (1, 2)
    """
    bytes_read = subjects * (prefix_dim if method == "two_stage" else 4 * dim)
    return threads if bytes_read >= PARALLEL_FROM_BYTES else 1
