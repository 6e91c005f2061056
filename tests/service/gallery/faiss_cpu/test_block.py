"""A block of references, below what a gallery shows."""

from itertools import accumulate

import numpy as np
import pytest

from matchka.gallery.faiss_cpu.block import PARTS, Block, Query, Scratch
from matchka.vectors import FloatArray


def cosines(rows: FloatArray, probe: FloatArray, dim: int) -> list[float]:
    """In float64, one row at a time."""
    own, query = rows[:, :dim].astype(np.float64), probe[:dim].astype(np.float64)
    return [float(query @ row / np.sqrt((query @ query) * (row @ row))) for row in own]


def query_of(probe: FloatArray, dim: int, count: int) -> Query:
    vector = np.zeros(len(probe), np.float32)
    vector[:dim] = probe[:dim] / np.linalg.norm(probe[:dim])
    return Query(vector, dim, count, None)


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


@pytest.mark.parametrize("dim", [8, 48, 96])
def test_row_without_direction_is_similar_to_nothing_when_appended_and_when_it_takes_the_place_of_another(dim: int):
    rows = np.eye(3, 96, dtype=np.float32)
    rows[1] = 0
    block = Block(96, 64)
    block.append(np.arange(3), rows)
    block.replace(np.array([2]), rows[1:2])
    similarities, keys = block.search(query_of(np.ones(96, np.float32), dim, 3))
    found = dict(zip(keys.tolist(), similarities.tolist(), strict=True))
    assert found == {0: pytest.approx(1 / np.sqrt(dim)), 1: 0, 2: 0}


@pytest.mark.parametrize("dim", [8, 16, 17, 32, 64, 96])
@pytest.mark.parametrize("count", [1, 10, PARTS, PARTS + 1, 2_999, 4_000])
def test_exact_search_of_many_rows_finds_as_many_of_the_best_as_brute_force(dim: int, count: int):
    rng = np.random.default_rng(dim * count)
    rows = rng.normal(size=(3_000, 96)).astype(np.float32)
    rows[500:2_500:3] = rows[7]  # ties, more than any count of few
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    block = Block(96, 64)
    block.append(np.arange(3_000), rows)
    for probe in (rows[7], rows[2_999], rng.normal(size=96).astype(np.float32)):
        similarities, keys = block.search(query_of(probe, dim, count))
        expected = cosines(rows, probe, dim)
        assert len(set(keys.tolist())) == len(keys) == min(count, 3_000)
        np.testing.assert_allclose(similarities, [expected[key] for key in keys], atol=2e-6)
        np.testing.assert_allclose(np.sort(similarities), np.sort(expected)[-len(keys) :], atol=2e-6)


def test_blocks_that_are_scanned_with_one_scratch_answer_as_each_does_by_itself():
    rng = np.random.default_rng(2)
    blocks = [Block(24, 8) for _ in range(4)]
    sizes = (3, 700, 0, 650)
    for block, size, stop in zip(blocks, sizes, accumulate(sizes), strict=True):
        rows = rng.normal(size=(size, 24)).astype(np.float32)
        block.append(np.arange(stop - size, stop), rows / np.linalg.norm(rows, axis=1, keepdims=True))
    scratch = Scratch()
    for dim in (8, 16, 24):
        query = query_of(rng.normal(size=24).astype(np.float32), dim, 5)
        for block in blocks:
            for found, expected in zip(block.search(query, scratch=scratch), block.search(query), strict=True):
                np.testing.assert_array_equal(found, expected)


def test_rows_below_the_floor_are_left_out_and_those_at_it_are_not():
    rows = np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32)
    block = Block(2, 0)
    block.append(np.arange(3), rows)
    _, keys = block.search(Query(rows[0], 2, 3, None), floor=float(np.float32(0.6)))
    assert sorted(keys.tolist()) == [0, 1]
