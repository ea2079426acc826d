"""Draws of fitted laws: every draw makes a table like the one at hand and redoes every stage of the fit.

- `profile`, `residual`: responses are drawn around the fit (parametric bootstrap) with a scale that is itself drawn from its chi-square
  distribution, and with the noise that data subsets share; the spread of the draws is that of Wald-t, bounds and curvature included.
- `hierarchical`: cells are drawn with replacement within each level of the other factors, subset noise on top. A cell's mean already
  carries the noise of its seeds, so seeds are not drawn a second time (that would count them twice).
- `rows`: rows of the table with replacement, or as `resamples` says: the plain pairs bootstrap of published fits.
- `wald`: normal-theory draws from the covariance, for tables too large to fit a thousand times.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from laws.effects import Shared
from laws.fitting import Procedure, Solution
from laws.profile import Profile
from laws.scale import scale_of
from laws.sandwich import logs_of
from laws.solve import Target

DRAWS = 1000
LEAST_DF = 3.0


@dataclass
class Draws:
    """Draws of each law of a procedure, {label: [S, q]}, and how they were made."""

    kind: str
    values: dict[str, np.ndarray]


def seed_of(*names) -> np.random.Generator:
    """A random generator that depends on names alone: the same table and request give the same draws."""
    digest = hashlib.sha256("\x1f".join(map(str, names)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def profile_of(procedure: Procedure, first: Solution) -> Profile:
    """The profile of a procedure's first stage."""
    target = Target(procedure.y_N[None], procedure.root_N, np.ones((1, len(procedure.y_N))), procedure.delta, procedure.log)
    return Profile(procedure.system, target, first.linear_L, first.theta_P)


def fitted_of(procedure: Procedure, first: Solution, later: dict[str, Solution]) -> dict:
    """Predictions at the fitted points: {("first", label): [n]} and, for second-stage laws, {label: [n]}."""
    users = procedure.system.user(first.linear_L[None], first.theta_P[None])
    out = {("first", law.label): law.block.form.value(u, law.block.factors)[0] for law, u in zip(procedure.first, users)}
    for law in procedure.second:
        solution = later[law.label]
        user = solution.system.user(solution.linear_L[None], solution.theta_P[None])[0]
        out[law.label] = law.block.form.value(user, law.block.factors)[0]
    return out


def laws_of(procedure: Procedure) -> dict:
    """Every law that a draw needs responses for: ("first", label) and, with a second stage, label."""
    laws = {("first", law.label): law for law in procedure.first}
    laws.update({law.label: law for law in procedure.second})
    return laws


def scales(procedure: Procedure, first: Solution, later: dict[str, Solution]) -> dict:
    """For each law (deviation of a weight-1 residual, degrees of freedom)."""
    points, size = len(procedure.y_N), procedure.system.size
    pooled = (scale_of(first.objective, points, size, procedure.delta), max(1, points - size))
    out = {("first", law.label): pooled for law in procedure.first}
    for law in procedure.second:
        if any(law.label == other.label for other in procedure.first):
            out[law.label] = pooled
        else:
            own = len(law.block.form.parameters) - len(procedure.held)
            out[law.label] = (scale_of(later[law.label].objective, len(law.y_N), own, procedure.delta), max(1, len(law.y_N) - own))
    return out


def parametric(
    procedure: Procedure, first: Solution, later: dict, rng: np.random.Generator, count: int, shared: Shared | None = None, data: dict | None = None, bases: tuple | None = None
) -> dict[str, np.ndarray]:  # fmt: skip
    """Draws {label: [S, q]} from responses drawn around the fit.

    `shared` with `data` ({label: data sizes [n]}) adds the subsets' noise. `bases` = ({label: base of each point [n]}, deviation, degrees of
    freedom) adds the noise of new base models.
    """
    laws, fitted, scale = laws_of(procedure), fitted_of(procedure, first, later), scales(procedure, first, later)
    pool = sorted({c for law in laws.values() for c in law.cells})
    where = {c: i for i, c in enumerate(pool)}
    noise_SC = rng.standard_normal((count, len(pool)))
    luck = {df: np.sqrt(df / rng.chisquare(df, count)) for df in sorted({df for _, df in scale.values()})}
    own = 1.0 if shared is None else np.sqrt(shared.own)
    subset = subset_noise(shared, rng, count)
    lucky = None
    if bases is not None:
        places = sorted({b for named in bases[0].values() for b in named})
        lucky_SB = rng.standard_normal((count, len(places))) * (bases[1] * np.sqrt(bases[2] / rng.chisquare(bases[2], count)))[:, None]
        lucky = {b: lucky_SB[:, i] for i, b in enumerate(places)}
    y = {}
    for name, law in laws.items():
        sigma, df = scale[name]
        error_SN = own * noise_SC[:, [where[c] for c in law.cells]] * (sigma * luck[df])[:, None] / law.root_N
        if subset is not None:
            error_SN = error_SN + subset(data[law.label])
        if lucky is not None:
            error_SN = error_SN + np.stack([lucky[b] for b in bases[0][law.label]], axis=1)
        with np.errstate(over="ignore"):
            y[name] = fitted[name] * np.exp(error_SN) if procedure.log else fitted[name] + error_SN
    return procedure.redo(y, None, later)


def subset_noise(shared: Shared | None, rng: np.random.Generator, count: int):
    """A function from data sizes [n] to the noise of their subsets in each draw [S, n]; None where there is none."""
    if shared is None or not shared.parts:
        return None
    sizes = shared.layout.sizes
    values, vectors = np.linalg.eigh(shared.subset)
    total, doubt = shared.variance(np.ones(len(shared.layout.size)) / len(shared.layout.size))
    # a scale from one or two degrees of freedom would have no variance itself
    df = float(np.clip(2 * total**2 / doubt, LEAST_DF, 1e6)) if doubt > 0 else 1e6
    luck_S = np.sqrt(df / rng.chisquare(df, count))
    noise_SD = rng.standard_normal((count, len(sizes))) @ (vectors * np.sqrt(np.maximum(values, 0))).T * luck_S[:, None]
    # a size that only a second stage has takes the noise of the nearest
    return lambda data: noise_SD[:, [int(np.argmin(np.abs(np.log(sizes) - np.log(d)))) for d in data]]


def hierarchical(
    procedure: Procedure, first: Solution, later: dict, rng: np.random.Generator, count: int, shared: Shared | None = None, data: dict | None = None
) -> dict[str, np.ndarray]:  # fmt: skip
    """Draws {label: [S, q]} from cells drawn with replacement within each stratum (all factors but D equal).

    One fewer is drawn than a stratum has: with as many the spread is too small by (n - 1) / n (Rao & Wu 1988).
    """
    laws = laws_of(procedure)
    pool = sorted({c for law in laws.values() for c in law.cells})
    where = {c: i for i, c in enumerate(pool)}
    stratum = {where[cell]: s for law in laws.values() for cell, s in zip(law.cells, law.strata)}
    counts = np.zeros((count, len(pool)))
    for name in sorted(set(stratum.values())):
        members = np.array(sorted(i for i, s in stratum.items() if s == name))
        drawn = len(members) - 1 if len(members) > 2 else len(members)
        counts[:, members] = rng.multinomial(drawn, np.full(len(members), 1 / len(members)), size=count)
    subset = subset_noise(shared, rng, count)
    y = {name: law.y_N[None] for name, law in laws.items()}
    if subset is not None:
        moved = {name: subset(data[law.label]) for name, law in laws.items()}
        y = {name: law.y_N[None] * np.exp(moved[name]) if procedure.log else law.y_N[None] + moved[name] for name, law in laws.items()}
    return procedure.redo(y, {law.label: counts[:, [where[c] for c in law.cells]] for law in laws.values()}, later)


def rows(
    procedure: Procedure, later: dict, rng: np.random.Generator, count: int, members: dict, values: dict, resamples: np.ndarray | None = None
) -> dict[str, np.ndarray]:  # fmt: skip
    """Draws {label: [S, q]} of the pairs bootstrap.

    `members` {label: rows of the table behind each point}, `values` {label: the responses of these rows}; `resamples` [S, R] rows of the table.
    A point counts as often as its rows are drawn, and its response is their mean.
    """
    laws = laws_of(procedure)
    used = np.unique(np.concatenate([np.concatenate(m) for m in members.values()]))
    if resamples is None:
        resamples = used[rng.integers(0, len(used), (count, len(used)))]
    size = int(max(resamples.max(), used.max())) + 1
    drawn_SR = np.stack([np.bincount(row, minlength=size) for row in resamples]).astype(float)
    y, counts = {}, {}
    for name, law in laws.items():
        mine, own = members[law.label], values[law.label]
        if all(len(m) == 1 for m in mine):
            counts[law.label], y[name] = drawn_SR[:, [m[0] for m in mine]], law.y_N[None]
            continue
        times = np.stack([drawn_SR[:, m].sum(axis=1) for m in mine], axis=1)
        sums = np.stack([drawn_SR[:, m] @ v for m, v in zip(mine, own)], axis=1)
        y[name] = np.where(times > 0, sums / np.maximum(times, 1), law.y_N)
        counts[law.label] = times / np.array([len(m) for m in mine])
    return procedure.redo(y, counts, later)


def wald(procedure: Procedure, first: Solution, later: dict, covariances: list, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """Draws {label: [S, q]} from a normal with the covariance of each law's reported parameters; what lies on its bound stays there."""
    out = {}
    for index, (law, matrix) in enumerate(zip(procedure.laws, covariances)):
        form = law.block.form
        if law.label in later:
            solution = later[law.label]
            point = solution.system.user(solution.linear_L[None], solution.theta_P[None])[0][0]
        else:
            point = procedure.system.user(first.linear_L[None], first.theta_P[None])[index][0]
        if matrix is None:
            out[law.label] = np.repeat(point[None], count, axis=0)
            continue
        logs = logs_of(form)
        free = np.flatnonzero(np.isfinite(np.diag(matrix)))
        start = np.where(logs, np.log(np.maximum(point, 1e-300)), point)
        draws = np.repeat(start[None], count, axis=0)
        vals, vectors = np.linalg.eigh(matrix[np.ix_(free, free)])
        draws[:, free] += rng.standard_normal((count, len(free))) @ (vectors * np.sqrt(np.maximum(vals, 0))).T
        with np.errstate(over="ignore"):
            draws = np.where(logs, np.exp(draws), draws)
        for column, name in enumerate(form.parameters):
            low, high = form.bound(name)
            draws[:, column] = np.clip(draws[:, column], low, high)
        out[law.label] = draws
    return out
