"""Memory of a block's columns: aligned to large pages, kept as long as it is used, given back at once."""

import gc
import mmap
import sys
from pathlib import Path

import numpy as np
import pytest

from matchka.gallery.faiss_cpu.memory import LARGE_PAGE, fresh

COMPONENTS = 8


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


@pytest.mark.parametrize("rows", [0, 1, 1_000, LARGE_PAGE // 32 - 1, LARGE_PAGE // 32, LARGE_PAGE // 8 + 5])
def test_arrays_of_any_size_hold_what_is_written_to_each(rows: int):
    arrays = [fresh((rows, COMPONENTS), np.float32) for _ in range(3)]
    for number, array in enumerate(arrays):
        assert array.shape == (rows, COMPONENTS)
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        array[:] = number
    gc.collect()  # nothing but the arrays holds their memory
    assert [bool((array == number).all()) for number, array in enumerate(arrays)] == [True] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="large pages are asked for on Linux")
def test_large_array_begins_at_a_large_page_and_is_resident_only_once_it_is_written_to():
    before = resident_bytes()
    array = fresh((LARGE_PAGE * 32,), np.uint8)
    assert array.ctypes.data % LARGE_PAGE == 0
    assert resident_bytes() - before < array.nbytes // 2
    array[:] = 1
    assert resident_bytes() - before > array.nbytes // 2
    del array
    gc.collect()
    assert resident_bytes() - before < LARGE_PAGE * 16
