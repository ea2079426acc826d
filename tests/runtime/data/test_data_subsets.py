"""Subsets are nested and keep their shares; orders are permutations and pure functions of seed and step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.data import batch_indices, epoch_order, subset
from runtime.data.subsets import share_sequence
from runtime.errors import DataError

weights = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6)


@given(weights, st.integers(1, 300))
def test_every_beginning_keeps_the_shares_to_within_one(shares, n):
    places = share_sequence(tuple(shares), n)
    for source, share in enumerate(shares):
        counts = np.cumsum(places == source)
        wanted = share / sum(shares) * np.arange(1, n + 1)
        assert np.all(np.abs(counts - wanted) < 1 + 1e-6)


@given(st.integers(0, 10), st.lists(st.integers(50, 90), min_size=1, max_size=4), st.integers(1, 60), st.integers(1, 60))
def test_the_smaller_subset_is_the_beginning_of_the_larger(seed, sizes, one, other):
    origins = np.repeat(np.arange(len(sizes)), sizes)
    shares = [1.0 / len(sizes)] * len(sizes)
    one, other = sorted((one, other))
    try:
        large = subset(origins, shares, other, seed)
    except DataError:
        return
    small = subset(origins, shares, one, seed)
    assert np.array_equal(small, large[:one])
    assert len(set(large)) == other and large.min() >= 0 and large.max() < len(origins)
    assert np.bincount(origins[large], minlength=len(sizes)) == pytest.approx(other / len(sizes), abs=1)


def test_seeds_draw_differently_and_repeatably():
    origins = np.zeros(1000, int)
    assert np.array_equal(subset(origins, None, 256, 0), subset(origins, None, 256, 0))
    overlap = len(set(subset(origins, None, 256, 0)) & set(subset(origins, None, 256, 1)))
    assert 30 < overlap < 110  # 65 expected by chance
    assert sorted(subset(origins, None, 1000, 5)) == list(range(1000))


def test_without_shares_the_rows_own_shares_are_kept():
    origins = np.array([0] * 900 + [1] * 100)
    assert np.bincount(origins[subset(origins, None, 50, 0)]).tolist() == [45, 5]
    assert sorted(subset(origins, None, 1000, 0)) == list(range(1000))


def test_a_source_that_is_too_small_is_named():
    with pytest.raises(DataError, match="100 examples were asked for.*source 1 gives 20 rows and 50 are needed"):
        subset(np.array([0] * 500 + [1] * 20), [0.5, 0.5], 100, 0)
    with pytest.raises(DataError, match="source 0 gives 10 rows and 11 are needed"):
        subset(np.zeros(10, int), None, 11, 0)
    with pytest.raises(DataError, match=r"shares \[0.0\]"):
        subset(np.zeros(10, int), [0.0], 5, 0)


@settings(max_examples=60)
@given(st.integers(1, 50), st.integers(1, 80), st.integers(0, 5))
def test_batches_go_through_one_permutation_after_the_other(n, batch, seed):
    steps = -(-3 * n // batch)
    seen = np.concatenate([batch_indices(n, batch, seed, step) for step in range(steps)])
    for epoch in range(3):
        one = seen[epoch * n : (epoch + 1) * n]
        assert sorted(one) == list(range(n))
        assert np.array_equal(one, epoch_order(n, seed, epoch))


def test_orders_differ_by_seed_and_epoch_and_not_by_history():
    assert not np.array_equal(epoch_order(100, 0, 0), epoch_order(100, 0, 1))
    assert not np.array_equal(epoch_order(100, 0, 0), epoch_order(100, 1, 0))
    late = batch_indices(100, 32, 0, 9).copy()
    for step in range(9):
        batch_indices(100, 32, 0, step)
    assert np.array_equal(batch_indices(100, 32, 0, 9), late)
