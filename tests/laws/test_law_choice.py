"""Extrapolating curves: against an independent Gaussian process, exact laws, simulated coverage, the naive baselines, and on real curves."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laws import trend as trends
from laws.choice import EXPERTS, _experts, _weights, extrapolate
from laws.table import TableError

D = 200 * 2.0 ** np.arange(10)


def test_kriging_agrees_with_a_gaussian_process_with_a_wide_prior_on_the_line():
    x, at = np.array([0.0, 1.0, 2.5, 3.0, 4.5, 6.0]), np.array([7.0, 9.0])
    y = np.exp(np.array([1.0, 0.93, 0.8, 0.78, 0.6, 0.52]))
    noise = np.array([1.0, 0.5, 2.0, 1.0, 1.0, 1.0])
    centre, factor, squares, _, floor = trends._curve(x, y, at, noise)
    for f, q in ((0, 3), (4, 7), (7, 10)):
        e, drift, wide = floor[f], trends.DRIFTS[q], 3e3

        def walk(a, b):  # integral of min over the overlap of two ramps, by quadrature
            s = np.linspace(0, min(a, b), 4001)
            return np.trapezoid((a - s) * (b - s), s)

        every = np.concatenate([x, at])
        cov = np.array([[wide * (1 + a * b) + drift * walk(a, b) for b in every] for a in every])
        cov[:6, :6] += np.diag(noise * (y / (y - e)) ** 2)
        z = np.log(y - e)
        gain = cov[6:, :6] @ np.linalg.inv(cov[:6, :6])
        np.testing.assert_allclose(centre[f, q], gain @ z, rtol=3e-3)
        own = np.diag(cov[6:, 6:] - gain @ cov[:6, 6:])
        new = ((np.exp(centre[f, q]) + e) / np.exp(centre[f, q])) ** 2
        np.testing.assert_allclose(factor[f, q], own + new, rtol=1e-2)


def test_a_power_law_is_continued_exactly():
    found = extrapolate([(D, 5 * D**-0.2)], [D[-1] * 8, D[-1] * 64])
    np.testing.assert_allclose(found.value[0], 5 * (D[-1] * np.array([8, 64])) ** -0.2, rtol=1e-6)


def test_a_floor_is_seen_where_the_last_two_points_do_not_see_it():
    rng = np.random.default_rng(3)
    far = D[-1] * 8
    law = lambda d, b, e: 3 * (d / 200) ** -b + e  # noqa: E731
    truth = [(b, e) for b in (0.35, 0.5) for e in (0.6, 1.0, 1.5)]
    curves = [(D, law(D, b, e) * np.exp(rng.normal(0, 0.003, len(D)))) for b, e in truth]
    seen = np.array([law(far, b, e) for b, e in truth])
    found = extrapolate(curves, far)
    error = {name: np.mean(np.abs(np.log(found.experts[name][:, 0] / seen))) for name in EXPERTS}
    assert error["trend"] < 0.4 * error["last_two"] and error["last_two"] < error["carry_last"]
    assert found.weights["trend"] > 0.7
    assert np.mean(np.abs(np.log(found.value[:, 0] / seen))) < error["last_two"]


def test_noise_is_smoothed_over():
    rng = np.random.default_rng(0)
    d = np.geomspace(1e3, 1e5, 40)
    curves = [(d, 4 * d**-0.25 * np.exp(rng.normal(0, 0.03, len(d)))) for _ in range(8)]
    found = extrapolate(curves, 4e5)
    error = lambda v: np.mean(np.abs(np.log(v[:, 0] / (4 * 4e5**-0.25))))  # noqa: E731
    assert error(found.value) < 0.03 < 0.3 * error(found.experts["last_two"])


def test_a_falling_curve_is_not_said_to_rise_again_and_short_curves_are_carried():
    found = extrapolate([(D[:6], [3.0, 2.8, 2.5, 2.3, 2.2, 2.25])], D[-1] * 100)
    assert found.value[0, 0] <= 2.25
    one = extrapolate([([100.0], [2.0])], 1000)
    assert one.value[0, 0] == pytest.approx(2.0) and np.isnan(one.low[0.95]).all() and one.origins == 0
    two = extrapolate([([100.0, 200.0], [2.0, 1.9])], 400)
    assert 1.9**2 / 2.0 < two.value[0, 0] < 1.9


@settings(max_examples=15, deadline=None)
@given(st.floats(0.01, 100), st.floats(0.01, 1000), st.integers(0, 1000))
def test_units_and_the_order_of_curves_do_not_matter(scale, unit, seed):
    rng = np.random.default_rng(seed)
    curves = [(D[:7], 3 * D[:7] ** -0.2 * np.exp(rng.normal(0, 0.02, 7))) for _ in range(3)]
    plain = extrapolate(curves, D[-1])
    other = extrapolate([(d * unit, y * scale) for d, y in curves][::-1], D[-1] * unit)
    np.testing.assert_allclose(other.value[::-1] / scale, plain.value, rtol=1e-5)
    np.testing.assert_allclose(other.high[0.8][::-1] / scale, plain.high[0.8], rtol=1e-4)


def test_intervals_cover_new_values():
    rng = np.random.default_rng(1)
    inside = {0.8: [], 0.95: []}
    for _ in range(12):
        b, sigma = rng.uniform(0.1, 0.4), rng.uniform(0.003, 0.02)
        every = np.concatenate([D, [D[-1] * 8]])
        y = np.exp(np.log(5 * every**-b) + rng.normal(0, sigma, (10, len(every))))
        found = extrapolate([(D, row[:-1]) for row in y], D[-1] * 8)
        for level, hits in inside.items():
            hits.append(np.mean((y[:, -1] >= found.low[level][:, 0]) & (y[:, -1] <= found.high[level][:, 0])))
    assert 0.72 <= np.mean(inside[0.8]) <= 0.97 and 0.9 <= np.mean(inside[0.95])
    assert np.all(found.low[0.95] < found.low[0.8]) and np.all(found.high[0.8] < found.high[0.95])


def test_weights_rest_on_earlier_points_alone():
    rising = np.array([3.0, 2.9, 2.7, 2.4, 2.0, 1.6])
    flat = np.array([3.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    data = lambda y: [(np.arange(len(y), dtype=float), y, np.ones(len(y)))]  # noqa: E731
    assert _weights(data(flat), 1.0)[0][2] > _weights(data(rising), 1.0)[0][2] == 0
    logs, _ = _experts(data(flat), np.array([[9.0]]))
    assert logs["last_two"][0, 0] == logs["carry_last"][0, 0]


@pytest.mark.parametrize(
    ("curves", "at", "words"),
    [
        ([], 10, "no curve"),
        ([([1, 2], [1.0])], 10, "same length"),
        ([([1, 2], [1.0, -1.0])], 10, "curve 0, point 2: the value is -1"),
        ([([1, 0], [1.0, 1.0])], 10, "curve 0, point 2: the size is 0"),
        ([([1, 2], [1.0, float("nan")])], 10, "nan"),
        ([([1, 2], [1.0, 0.9])], 0, "positive sizes"),
        ([([1, 2], [1.0, 0.9])], [[1], [2]], "shape"),
    ],
)
def test_bad_input_is_named(curves, at, words):
    with pytest.raises(TableError, match=words):
        extrapolate(curves, at)


@pytest.mark.shared
def test_real_finetuning_curves_against_the_last_two_points():
    folder = Path(os.environ["TUNELAW_SHARED"]) / "data" / "laws" / "rectified" / "benchmark"
    sizes = 200 * 2.0 ** np.arange(14)
    relative, naive, pearson, inside = [], [], [], {0.8: [], 0.95: []}
    for name in ("flan", "gigaword", "wmt19"):
        with open(folder / f"{name}.csv", encoding="utf-8") as file:
            y_CN = np.array([[float(row[f"{d:.0f}"]) for d in sizes] for row in csv.DictReader(file)])
        for ratio in (8, 32, 128):
            d = sizes[sizes <= sizes[-1] / ratio]
            found, seen = extrapolate([(d, y[: len(d)]) for y in y_CN], sizes[-1]), y_CN[:, -1]
            relative.append(np.abs(found.value[:, 0] / seen - 1))
            naive.append(np.abs(found.experts["last_two"][:, 0] / seen - 1))
            pearson.append((np.corrcoef(found.value[:, 0], seen)[0, 1], np.corrcoef(found.experts["last_two"][:, 0], seen)[0, 1]))
            for level in inside:
                inside[level].append((seen >= found.low[level][:, 0]) & (seen <= found.high[level][:, 0]))
    gap = np.mean(relative, axis=0) - np.mean(naive, axis=0)  # by model
    assert np.mean(gap) < 0 and np.mean(naive) == pytest.approx(0.0829, abs=5e-5)
    assert np.mean(gap) - 1.96 * np.std(gap) / np.sqrt(len(gap)) < 0
    ours, theirs = np.mean(pearson, axis=0)
    assert ours > theirs == pytest.approx(0.857, abs=5e-4)
    assert 0.75 <= np.mean(inside[0.8]) <= 0.85 and 0.92 <= np.mean(inside[0.95]) <= 0.98
