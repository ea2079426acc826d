"""Extrapolating loss curves without looking at their target: what to predict, how sure it is, and what it is an average of.

Three predictions are weighed against each other: the wandering trend above a floor (`laws.trend`, which holds power laws with and without E
and everything between them and the last two points), the line through the last two points in log-log, and the last value. They are judged
by rolling origins: from each earlier point of the fitted curves on, the last fitted points are predicted at a reach like the one asked. A
prediction's weight falls with the square of its error there, pooled over all curves that are given together (the models of one data
set, say), and with few origins it stays near its prior weight. A curve that falls is never predicted to rise beyond its last value.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from laws import trend as trends
from laws.table import TableError

EXPERTS = ("trend", "last_two", "carry_last")
PRIOR = np.array([0.45, 0.45, 0.10])  # weights before any origin has been looked at
SHRINK = 4.0  # origins that the prior weighs
ORIGINS = 6  # most origins that are tried
FEWEST = 4  # points that an origin needs
WORSE = 2.0  # what errs more than this many times the best has no share
LEVELS = (0.80, 0.95)


@dataclass
class Extrapolation:
    """Predictions at the targets of some curves: `value` [C, T]; `low` and `high` {level: [C, T]} of one new observation; `weights` {name: share}."""

    value: np.ndarray
    low: dict[float, np.ndarray]
    high: dict[float, np.ndarray]
    weights: dict[str, float]
    origins: int
    experts: dict[str, np.ndarray] = field(default_factory=dict)


def extrapolate(curves, at, levels=LEVELS) -> Extrapolation:
    """Predict each curve at the data sizes `at` from its own points and, for what is common, from the others given with it.

    `curves`: a list of (D [n], y [n]) or (D, y, seeds [n]) with positive values, in any order and of any lengths; points of one D are
    averaged, and noise goes with 1 / seeds. `at`: one size, sizes [T] for all curves, or [C, T]. Returns an `Extrapolation`; its intervals
    are of one new observation. A curve of one point carries it on, of two points has no interval (NaN). Raises TableError.
    """
    data = [_checked(i, *curve) for i, curve in enumerate(curves)]
    if not data:
        raise TableError("extrapolate: there is no curve")
    targets = np.asarray(at, float)
    if targets.ndim > 2 or targets.ndim == 2 and len(targets) != len(data) or targets.size == 0 or not np.all(np.isfinite(targets) & (targets > 0)):
        raise TableError(f"extrapolate: `at` must be positive sizes, one, [T] or [{len(data)}, T]; it has the shape {targets.shape}")
    targets = np.broadcast_to(np.atleast_1d(targets), (len(data), targets.shape[-1] if targets.ndim else 1))
    return _predicted(data, np.log2(targets), tuple(levels))


def _checked(i, d, y, seeds=None):
    """(log2 D rising, y, relative noise variances) of one curve; points of one D averaged, long curves in bins."""
    d, y = np.asarray(d, float), np.asarray(y, float)
    seeds = np.ones(len(d)) if seeds is None else np.asarray(seeds, float)
    if d.ndim != 1 or d.shape != y.shape or d.shape != seeds.shape or not len(d):
        raise TableError(f"extrapolate: curve {i} has sizes of shape {d.shape} and values of shape {y.shape}; both must be one list of the same length")
    for name, values in (("size", d), ("value", y), ("count of seeds", seeds)):
        bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        if len(bad):
            raise TableError(f"extrapolate: curve {i}, point {bad[0] + 1}: the {name} is {values[bad[0]]:g}; positive numbers are accepted")
    x = np.log2(d)
    where = np.unique(x, return_inverse=True)[1]
    if where.max() + 1 > trends.MOST_POINTS:
        where = np.unique(np.floor((x - x.min()) / np.ptp(x) * (trends.MOST_POINTS - 1e-9)), return_inverse=True)[1]
    total = np.bincount(where, seeds)
    x, y = np.bincount(where, seeds * x) / total, np.exp(np.bincount(where, seeds * np.log(y)) / total)
    return x, y, np.mean(total) / total


def _predicted(data, at_CT, levels) -> Extrapolation:
    logs, posteriors = _experts(data, at_CT)
    weights, origins = _weights(data, float(np.median([t.max() - x[-1] for (x, _, _), t in zip(data, at_CT)])))
    blend = sum(w * np.clip(logs[name], -700, 700) for name, w in zip(EXPERTS, weights))
    shape = at_CT.shape
    low, high = ({level: np.full(shape, np.nan) for level in levels} for _ in range(2))
    sides = [s for level in levels for s in ((1 - level) / 2, (1 + level) / 2)]
    for rows, posterior in posteriors:
        mean = posterior.mean()
        parts = [(posterior, logs[name][rows] - mean, np.full(len(rows), w)) for name, w in zip(EXPERTS, weights) if w > 1e-3]
        quantiles = trends.mixture_quantiles(parts, sides)
        for i, level in enumerate(levels):
            low[level][rows], high[level][rows] = np.exp(quantiles[..., 2 * i]), np.exp(quantiles[..., 2 * i + 1])
    value = np.exp(blend)
    return Extrapolation(value, low, high, {n: float(w) for n, w in zip(EXPERTS, weights)}, origins, {n: np.exp(v) for n, v in logs.items()})


def _experts(data, at_CT) -> tuple[dict[str, np.ndarray], list]:
    """(log predictions of every expert [C, T], trend posteriors by rows of curves with equally many points)."""
    carry = np.array([np.full(at_CT.shape[1], np.log(y[-1])) for _, y, _ in data])
    line = np.array([_line(x, y, t) for (x, y, _), t in zip(data, at_CT)])
    trend = line.copy()
    sizes: dict[int, list[int]] = {}
    for i, (x, _, _) in enumerate(data):
        sizes.setdefault(len(x), []).append(i)
    posteriors = []
    for size, members in sizes.items():
        if size > 2:
            rows = np.array(members)
            stacked = [np.array([data[i][k] for i in members]) for k in range(3)]
            posterior = trends.trend(stacked[0], stacked[1], at_CT[rows], stacked[2])
            trend[rows] = posterior.mean()
            posteriors.append((rows, posterior))
    falling = np.array([y[-1] < y[0] for _, y, _ in data])[:, None]
    beyond = at_CT > np.array([x[-1] for x, _, _ in data])[:, None]
    settle = lambda v: np.where(beyond & falling, np.minimum(v, carry), v)  # noqa: E731
    return {"trend": settle(trend), "last_two": settle(line), "carry_last": carry}, posteriors


def _line(x, y, at_T) -> np.ndarray:
    if len(x) < 2:
        return np.full(len(at_T), np.log(y[-1]))
    return np.log(y[-1]) + (np.log(y[-1]) - np.log(y[-2])) / (x[-1] - x[-2]) * (at_T - x[-1])


def _weights(data, reach: float) -> tuple[np.ndarray, int]:
    """(weights of the experts, origins): from errors at the last fitted points at a reach as near to `reach` as there is."""
    longest = max(len(x) for x, _, _ in data)
    cuts = np.unique(np.linspace(FEWEST, longest - 1, ORIGINS).round().astype(int)) if longest > FEWEST else []
    ratios = []
    for cut in cuts:
        short, seen, where = [], [], []
        for x, y, noise in data:
            n = cut - longest + len(x)  # as many points are taken from the end of each curve
            if n < FEWEST:
                continue
            j = n + int(np.argmin(np.abs(x[n:] - x[n - 1] - reach)))
            short.append((x[:n], y[:n], noise[:n]))
            seen.append(np.log(y[j]))
            where.append([x[j]])
        logs, _ = _experts(short, np.array(where))
        errors = np.array([np.mean(np.abs(logs[name][:, 0] - np.array(seen))) for name in EXPERTS])
        ratios.append(np.log(np.maximum(errors, 1e-9)))
    if not ratios:
        return PRIOR.copy(), 0
    mean = np.mean(ratios, axis=0)
    weights = np.where(mean - mean.min() > np.log(WORSE), 0.0, PRIOR) * np.exp(-2 * (mean - mean.min()) * len(ratios) / (len(ratios) + SHRINK))
    return weights / weights.sum(), len(ratios)
