"""The digest of a reference, against its formula in whole numbers of any size."""

import numpy as np
import pytest

from matchka.store.integrity.digest import digests
from tests.factories.slow_digest import slow_digest


@pytest.mark.parametrize("dim", [1, 5, 128, 256])
def test_digests_of_more_rows_than_one_part_are_those_of_the_formula(dim: int):
    rows = np.random.default_rng(dim).normal(size=(520, dim)).astype(np.float32)
    found = digests(rows)
    for at in (0, 1, 511, 512, 519):
        assert found[at] == slow_digest(rows[at])


def test_digests_of_a_frozen_row_stay_the_same_on_every_machine():
    # stored in databases: a change of these numbers is a change of the tables
    assert digests(np.array([[0.0, 0.0]], np.float32))[0] == slow_digest(np.zeros(2, np.float32))
    assert digests(np.array([[0.25, -1.5, 3.0]], np.float32))[0] == 4_842_797_866_115_130_285


def test_digest_after_any_flipped_bit_or_pair_of_bits_differs():
    row = np.random.default_rng(3).normal(size=6).astype(np.float32)
    whole = digests(row[None, :])[0]
    bits = 32 * len(row)
    flipped = np.tile(np.unpackbits(row.view(np.uint8)), (bits * bits, 1))
    first, second = np.divmod(np.arange(bits * bits), bits)
    flipped[np.arange(bits * bits), first] ^= 1
    flipped[np.arange(bits * bits), second] ^= first != second
    rows = np.packbits(flipped, axis=1).view(np.float32)
    assert not np.any(digests(rows) == whole)


def test_digest_of_a_row_moved_by_a_component_or_cut_or_of_zeros_differs():
    row = np.random.default_rng(4).normal(size=16).astype(np.float32)
    others = np.stack([np.roll(row, 1), -row, np.where(np.arange(16) < 8, row, 0), np.zeros(16)]).astype(np.float32)
    assert not np.any(digests(others) == digests(row[None, :])[0])
    assert digests(np.ascontiguousarray(row[None, ::-1]))[0] == digests(row[None, ::-1])[0]
