"""A block of references, below what a gallery shows."""

import numpy as np

from matchka.gallery.faiss_cpu.block import Block, Query


def test_remove_overwrites_the_row_and_clears_the_place_of_the_last():
    rows = np.eye(6, 96, dtype=np.float32)
    block = Block(96, 64, most_rows=6)
    block.append(np.arange(6), rows)
    block.remove(2)
    assert block.keys.tolist() == [0, 1, 5, 3, 4]
    np.testing.assert_array_equal(block.rows(), rows[[0, 1, 5, 3, 4]])
    query = Query(rows[2], 96, 6, None)
    assert block.search(query)[0].tolist() == [0] * 5
    # the place that fell free keeps nothing of a person
    assert all(not segment[5].any() for segment in block._segments)
    assert block._keys[5] == -1


def test_block_that_grew_answers_as_one_that_was_large_from_the_start():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(700, 96)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    small, large = Block(96, 64, first_rows=2), Block(96, 64, first_rows=700)
    for start in range(0, 700, 7):
        small.append(np.arange(start, start + 7), rows[start : start + 7])
    large.append(np.arange(700), rows)
    for shortlist in (None, 100):
        for probe in rows[:20]:
            query = Query(probe, 96, 5, shortlist)
            found, expected = (
                dict(zip(*map(list, block.search(query)[::-1]), strict=True)) for block in (small, large)
            )
            assert found == expected
