"""Prefixes of references in one byte a component, of which FAISS makes shortlists."""

import faiss
import numpy as np
import numpy.typing as npt

from matchka.vectors import FloatArray, widen


class PrefixCodes:
    """Prefixes of one byte a component in an index of FAISS, whose memory is written through `codes`."""

    def __init__(self, dim: int, rows: int) -> None:
        self.index = faiss.IndexScalarQuantizer(
            dim, faiss.ScalarQuantizer.QT_8bit_direct_signed, faiss.METRIC_INNER_PRODUCT
        )
        # add() would make codes of so many zeros, on threads that then spin
        self.index.codes.resize(rows * dim)
        self.codes: npt.NDArray[np.uint8] = (
            faiss.rev_swig_ptr(self.index.codes.data(), rows * dim).reshape(rows, dim)
            if rows
            else np.empty((0, dim), np.uint8)
        )
        self.index.ntotal = 0

    def search(self, prefix: FloatArray, count: int) -> npt.NDArray[np.int64]:
        """The rows of the largest inner products, count <= rows in use."""
        faiss.omp_set_num_threads(1)  # of the calling thread; a single query gains nothing from more
        # FAISS cuts the query's components to whole numbers for codes of this kind
        _, rows = self.index.search(widen(prefix)[None, :], count)
        found: npt.NDArray[np.int64] = rows[0]
        return found
