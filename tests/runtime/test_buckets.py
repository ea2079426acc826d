"""Ragged rows in few fixed shapes: each row once, and never cut off."""

import numpy as np
import pytest

from runtime.buckets import bucket, cut


@pytest.mark.parametrize("count, most", [(1, 1), (50, 1), (5000, 4)])
def test_every_row_once_in_few_shapes(count, most):
    lengths = np.random.default_rng(0).integers(1, 97, count).tolist()
    seen, shapes = [], set()
    for rows, T, B in cut(lengths, 97, 2048):
        assert len(rows) <= B and B % 8 == 0 and max(lengths[row] for row in rows) <= T
        seen += rows
        shapes.add((T, B))
    assert sorted(seen) == list(range(count)) and len(shapes) <= most


def test_large_sets_are_not_padded_to_their_longest_row():
    lengths = [10] * 20_000 + [96]
    padded = sum(T * B for _, T, B in cut(lengths, 96))
    assert padded < 24 * 20_000 + 2 * 4096 < 96 * 20_000


def test_nothing_is_cut_off_and_nothing_comes_of_nothing():
    assert bucket(5, 100) == 25 and bucket(26, 100) == 50 and bucket(100, 100) == 100 and bucket(130, 100) == 130
    assert list(cut([], 100)) == []
    assert [T for _, T, _ in cut([130], 100)] == [130]
    assert [B for _, _, B in cut([4] * 9, 8, 8, rows_multiple=12)] == [12]
