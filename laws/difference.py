"""What differs between two fitted laws of one form: predictions on their common range, a joint test of the parameters, each parameter.

The two laws are taken as independent. Draws of two fits with the same names come from the same random numbers (`intervals.seed_of`), so
the second law's draws are put into another order before they are paired with the first's: paired as they stand they would cancel, and
every interval of a difference would be too narrow.
"""

from __future__ import annotations

import itertools

import numpy as np

from laws.forms import form_of
from laws.predict import predict, predict_draws

LEVEL = 0.95
PAIRS = 4000  # pairs of draws, one of each law
POINTS = {1: 61, 2: 15, 3: 8, 4: 5}  # levels a factor on the grid of the common range, by the number of factors
OFTEN = 0.95  # a parameter whose logarithm is finite in fewer draws than this is left out of the joint test
TINY = 1e-10  # an eigenvalue below this share of the largest is a direction that neither law fixes


def common_range(first: dict, second: dict) -> dict[str, list[float]] | None:
    """{symbol: [low, high]} of what both laws were fitted on; None where they have no values of a factor in common."""
    out = {}
    for symbol in form_of(first).symbols:
        one, two = (e["range"].get(e["symbols"].get(symbol, symbol)) for e in (first, second))
        if one is None or two is None:
            return None
        low, high = max(one[0], two[0]), min(one[1], two[1])
        if low > high:
            return None
        out[symbol] = [float(low), float(high)]
    return out


def grid_of(ranges: dict[str, list[float]]) -> dict[str, np.ndarray]:
    """A grid over ranges {symbol: [low, high]}, {symbol: [N]}: geometric, even where a range touches zero, one level where it is a point."""
    count = POINTS.get(len(ranges), 4)
    axes = [
        np.array([low]) if low == high else np.geomspace(low, high, count) if low > 0 else np.linspace(low, high, count) for low, high in ranges.values()
    ]
    return dict(zip(ranges, map(np.array, zip(*itertools.product(*axes))))) if axes else {}


def pairs_of(first: int, second: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices into the draws of two laws, [PAIRS] each: independent of each other, every draw of either used about as often as any other."""
    rng = np.random.default_rng(20240227)
    order = lambda count: np.concatenate([rng.permutation(count) for _ in range(-(-PAIRS // count))])[:PAIRS]  # noqa: E731
    return order(first), order(second)


def spread(values, level: float = LEVEL) -> tuple[float, float]:
    """The central interval of values along their first axis."""
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail], axis=0)
    return low, high


def _interval(value, values) -> dict:
    low, high = spread(values) if values is not None else (None, None)
    return {"value": float(value), "low": None if low is None else float(low), "high": None if high is None else float(high)}


def of_predictions(first: dict, second: dict, ranges: dict, draws_first, draws_second) -> dict:
    """second - first on a grid over `ranges`: mean and largest with intervals, where, relative to the first law, and a test of "nowhere apart".

    `draws_*`: [S, parameters] or None; without draws no intervals. `largest` has an interval that holds for all places at once (the place was
    picked by looking). `same_within` is the smallest share of the first law within which the pointwise interval lies everywhere: two
    one-sided tests at each place, so that no correction for the number of places is needed (Berger & Hsu 1996, intersection-union test).
    """
    grid = grid_of(ranges)
    gap_N = predict(second, grid).value - predict(first, grid).value
    base_N = predict(first, grid).value
    at = int(np.argmax(np.abs(gap_N)))
    where = {first["symbols"].get(s, s): float(v[at]) for s, v in grid.items()}
    out = {
        "places": len(gap_N), "mean": _interval(np.mean(gap_N), None), "mean_absolute": float(np.mean(np.abs(gap_N))),
        "largest": {**_interval(gap_N[at], None), "at": where}, "relative": {"mean": _interval(np.mean(gap_N / base_N), None)},
        "apart": None, "p": None, "same_within": None,
    }  # fmt: skip
    if draws_first is None or draws_second is None:
        return out
    i, j = pairs_of(len(draws_first), len(draws_second))
    one_SN, two_SN = predict_draws(first, grid, draws_first), predict_draws(second, grid, draws_second)
    gap_SN = two_SN[j] - one_SN[i]
    relative_SN = gap_SN / one_SN[i]
    low_N, high_N = spread(gap_SN)
    sd_N = np.maximum(np.std(gap_SN, axis=0), 1e-12 * np.abs(base_N) + 1e-300)
    reach_S = np.max(np.abs(gap_SN - gap_N) / sd_N, axis=1)
    seen = float(np.max(np.abs(gap_N) / sd_N))
    wide = float(np.quantile(reach_S, LEVEL)) * sd_N[at]
    low_R, high_R = spread(relative_SN)
    out["mean"] = _interval(np.mean(gap_N), np.mean(gap_SN, axis=1))
    out["largest"] = {"value": float(gap_N[at]), "low": float(gap_N[at] - wide), "high": float(gap_N[at] + wide), "at": where}
    out["relative"] = {"mean": _interval(np.mean(gap_N / base_N), np.mean(relative_SN, axis=1))}
    out["apart"] = float(np.mean((low_N > 0) | (high_N < 0)))
    out["p"] = float((1 + np.sum(reach_S >= seen)) / (1 + len(reach_S)))
    out["same_within"] = float(np.max(np.maximum(np.abs(low_R), np.abs(high_R))))
    return out


class Working:
    """A law's parameters as its covariance has them (log A, exponents, E): values [q], covariance [q, q] or None, which lie on a bound.

    The covariance is that of the draws where there are draws: they redo every stage, carry the uncertain scale of the noise and pile up at
    bounds, and with few points the law's own (asymptotic) covariance is far too small. `lost`: {name: why it has no place in a test}.
    """

    def __init__(self, entry: dict, draws):
        form = form_of(entry)
        self.names = list(entry["parameters"])
        given = entry["covariance"]
        labels = given["names"] if given else [f"log {n}" if log else n for n, log in zip(self.names, form.logged)]
        self.logs = np.array([label.startswith("log ") for label in labels])
        point = np.array([entry["parameters"][n]["value"] for n in self.names])
        self.bound = [n for n, v in zip(self.names, point) if v in form.bound(n)]
        with np.errstate(divide="ignore", invalid="ignore"):
            self.value = np.where(self.logs, np.log(point), point)
            drawn = None if draws is None else np.where(self.logs, np.log(draws), draws)
        self.lost = {n: "zero, so it has no logarithm" for n, v in zip(self.names, self.value) if not np.isfinite(v)}
        self.df = max(1, entry["points"] - len(self.names)) if drawn is None else np.inf
        self.matrix = None
        if drawn is not None:
            finite_SQ = np.isfinite(drawn)
            often = np.mean(finite_SQ, axis=0) >= OFTEN
            self.lost.update({n: f"zero in more than {1 - OFTEN:.0%} of the draws" for n, fine in zip(self.names, often) if not fine})
            self.matrix = np.zeros((len(point),) * 2)
            self.matrix[np.ix_(often, often)] = np.atleast_2d(np.cov(drawn[np.ix_(finite_SQ[:, often].all(axis=1), often)], rowvar=False))
        elif given is not None:  # a parameter on its bound is held there
            self.matrix = np.array([[0.0 if v is None else v for v in row] for row in given["matrix"]], float)


def joint_test(first: dict, second: dict, draws_first, draws_second) -> dict | None:
    """Are all parameters of two laws of one form equal? A Wald test of their difference in the working scale; None without covariances.

    The covariances are those of the draws, and the statistic is chi-square; where a law has no draws it is Hotelling's T2 with the law's own
    covariance and the degrees of freedom of Krishnamoorthy & Yu (2004, Stat. Probab. Lett. 66, 161), which do not pool the two.
    Directions that neither law fixes (a ridge) do not count as dimensions.
    """
    one, two = Working(first, draws_first), Working(second, draws_second)
    if one.matrix is None or two.matrix is None or (one.logs != two.logs).any():
        return None
    left = {**two.lost, **one.lost}
    for k, name in enumerate(one.names):
        if name not in left and one.matrix[k, k] + two.matrix[k, k] <= 0:
            left[name] = "on its bound in both laws" if name in one.bound and name in two.bound else "without a variance in either law"
    use = [k for k, name in enumerate(one.names) if name not in left]
    if not use:
        return None
    gap = two.value[use] - one.value[use]
    v1, v2 = one.matrix[np.ix_(use, use)], two.matrix[np.ix_(use, use)]
    unit = np.sqrt(np.diag(v1 + v2))
    v1, v2, gap = v1 / np.outer(unit, unit), v2 / np.outer(unit, unit), gap / unit
    values, vectors = np.linalg.eigh(v1 + v2)
    kept = values > TINY * values[-1]
    root = vectors[:, kept] / np.sqrt(values[kept])
    rank = int(kept.sum())
    statistic = float(np.sum((root.T @ gap) ** 2))
    inner = sum((np.trace(share @ share) + np.trace(share) ** 2) / df for share, df in ((root.T @ v @ root, d) for v, d in ((v1, one.df), (v2, two.df))))
    out = {"statistic": statistic, "df1": rank, "df2": None}
    from scipy.special import chdtrc, fdtrc

    if inner == 0:
        out["p"] = float(chdtrc(rank, statistic))
    else:
        nu = (rank + rank**2) / inner
        out["df2"] = float(max(nu - rank + 1, 1.0))
        out["p"] = float(fdtrc(rank, out["df2"], statistic * out["df2"] / (max(nu, out["df2"]) * rank)))
    return {**out, "parameters": [one.names[k] for k in use], "left_out": left, "on_bound": {"first": one.bound, "second": two.bound}}


def of_parameters(first: dict, second: dict, draws_first, draws_second) -> dict:
    """Parameter by parameter {name: {first, second, kind, value, low, high}}: the ratio of linear ones but E, the difference of all others."""
    form = form_of(first)
    pairs = None if draws_first is None or draws_second is None else pairs_of(len(draws_first), len(draws_second))
    out = {}
    for k, name in enumerate(first["parameters"]):
        a, b = first["parameters"][name], second["parameters"][name]
        is_ratio = name in form.linear and name != "E" and a["value"] > 0
        values = None
        if pairs is not None:
            one, two = draws_first[pairs[0], k], draws_second[pairs[1], k]
            with np.errstate(divide="ignore", invalid="ignore"):
                values = two / one if is_ratio else two - one
            values = values[np.isfinite(values)] if is_ratio else values
        change = _interval(b["value"] / a["value"] if is_ratio else b["value"] - a["value"], values if values is None or len(values) else None)
        out[name] = {"first": a, "second": b, "kind": "ratio" if is_ratio else "difference", **change}
    return out


def holm(p: list[float | None]) -> list[float | None]:
    """p values adjusted for their number (Holm 1979), in their order; None stays None."""
    order = sorted((v, k) for k, v in enumerate(p) if v is not None)
    out: list[float | None] = [None] * len(p)
    worst = 0.0
    for rank, (value, k) in enumerate(order):
        worst = max(worst, min(1.0, value * (len(order) - rank)))
        out[k] = worst
    return out
