"""Where searches begin: starts scaled by the data, for every kind of parameter.

An exponent starts at a few changes of its term over the range of the factor that it acts on. A positive parameter with a unit (the D0 of
`D0 + D**beta`) starts where its partner passes it, at a few places along the range of the data. Others start at a few orders of magnitude.
"""

from __future__ import annotations

import itertools

import numpy as np

CHANGES = (-1.0, -0.1, 0.1, 0.7, 2.0, 5.0)  # log change of a term over the data's range
FEWER = (-0.3, 0.1, 0.7, 3.0)
PLACES = (-0.6, -0.3, 0.0, 0.3, 0.6, 1.0)  # along the range of the data, 0 its middle, +-.5 its ends
SIZES = (-2.0, 0.0, 1.5, 4.0)  # logarithms of a positive parameter without a unit
MOST = 400  # starts; beyond it the grid is thinned evenly


def starts_of(system) -> np.ndarray:
    """Inner values of all parameters but the linear ones to start from, [S, P]; deterministic."""
    count = len(system.exponents)
    if not count:
        return np.zeros((1, 0))
    span_P, kinds = np.full(count, 0.0), ["size"] * count
    for b, block in enumerate(system.blocks):
        for i, name, log in zip(system.exponent_index[b], block.form.exponents, block.form.logs):
            span_P[i] = max(span_P[i], _span(system, b, block.form.acts_on(name)))
            kinds[i] = "place" if log and block.form.units.get(name) else "size" if log else "change"
    levels = [_levels(kind, count) for kind in kinds]
    total = np.prod([float(len(v)) for v in levels])
    if total <= MOST:
        grid = np.array(list(itertools.product(*levels)))
    elif count > 9:  # many laws at once: the same change everywhere, and each place in turn
        grid = np.array([[v[k % len(v)] for v in levels] for k in range(12)])
    else:
        grid = _spread(levels)
    theta = grid.copy()
    change = np.array([k == "change" for k in kinds])
    theta[:, change] = grid[:, change] / np.where(span_P > 0, span_P, 1.0)[change]
    low_P, high_P = system.exponent_bounds
    theta = np.clip(theta, np.where(np.isfinite(low_P), low_P, -1e3), np.where(np.isfinite(high_P), high_P, 1e3))
    for b, block in enumerate(system.blocks):
        form, index = block.form, dict(zip(block.form.exponents, system.exponent_index[b]))
        plain = {n: np.exp(theta[:, index[n]]) if log else theta[:, index[n]] for n, log in zip(form.exponents, form.logs)}
        for name in form.exponents:
            if kinds[index[name]] == "place":
                value = np.zeros(len(theta))
                for (symbol, exponents), coefficient in form.units[name].items():
                    reach = grid[:, index[name]] * _span(system, b, (symbol,)) + _middle(system, b, symbol)
                    value += coefficient * reach * np.prod([plain[e] for e in exponents], axis=0)
                theta[:, index[name]] = value
    theta = np.clip(theta, low_P, high_P)
    return np.unique(theta, axis=0)


def _levels(kind: str, count: int) -> tuple[float, ...]:
    if kind == "change":
        return CHANGES if count <= 2 else FEWER if count <= 4 else (0.1, 1.0)
    return {"place": PLACES, "size": SIZES}[kind]


def _spread(levels) -> np.ndarray:
    """MOST points of a grid, by Halton's sequence (Halton 1960), so that every pair of levels is met about equally often."""
    primes = (2, 3, 5, 7, 11, 13, 17, 19, 23)
    out = np.empty((MOST, len(levels)))
    for p, (values, base) in enumerate(zip(levels, primes)):
        for k in range(MOST):
            share, scale, n = 0.0, 1.0, k + 1
            while n:
                scale /= base
                share += scale * (n % base)
                n //= base
            out[k, p] = values[int(share * len(values))]
    return out


def _span(system, b: int, symbols) -> float:
    """The widest range of the logarithms of some factors of a law."""
    spans = [float(np.ptp(v[np.isfinite(v)])) for s in symbols if np.isfinite(v := system.logs[b][s]).any()]
    return max(spans, default=0.0)


def _middle(system, b: int, symbol: str) -> float:
    v = system.logs[b][symbol]
    v = v[np.isfinite(v)]
    return float(v.min() + v.max()) / 2 if len(v) else 0.0
