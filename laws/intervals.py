"""Intervals from draws: a parametric bootstrap with an uncertain scale for small designs, a bootstrap of cells within levels for large ones.

Every draw redoes every stage. All intervals hold for the base models and data subsets at hand ("given these base models").
- `residual` (small designs): responses are drawn around the fit with a scale that is itself drawn from its chi-square distribution with
  points - parameters degrees of freedom, so that the spread of the draws is that of Wald-t, bounds and curvature included.
- `hierarchical` (20 cells and 5 levels or more): cells are drawn with replacement within each level of the other factors. A cell's mean
  already carries the noise of its seeds, so seeds are not drawn a second time (that would count them twice).
- `wald`: normal-theory draws from the covariance, for tables too large to fit a thousand times.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from laws.fitting import Procedure, Solution
from laws.solve import Target, residual

DRAWS = 1000
LEVEL = 0.95
SMALL_CELLS = 20
SMALL_LEVELS = 5
HUGE = 4000  # points beyond which draws come from the covariance
KINDS = ("auto", "residual", "hierarchical", "wald", "none")
GIVEN = "these base models"


@dataclass
class Draws:
    """Draws of each law of a procedure, {label: [S, q]}, and how they were made."""

    kind: str
    values: dict[str, np.ndarray]


def seed_of(*names) -> np.random.Generator:
    """A random generator that depends on names alone: the same table and request give the same draws."""
    digest = hashlib.sha256("\x1f".join(map(str, names)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def choose(kind: str, cells: int, levels: int, points: int) -> str:
    """The kind of draws: what was asked, or by the size of the design."""
    if kind != "auto":
        return kind
    if points > HUGE:
        return "wald"
    return "residual" if cells < SMALL_CELLS or levels < SMALL_LEVELS else "hierarchical"


def draw(procedure: Procedure, first: Solution, later: dict[str, Solution], kind: str, rng: np.random.Generator, count: int = DRAWS) -> Draws:
    """Draws of all laws of a fitted procedure."""
    if kind == "wald":
        return Draws(kind, _wald(procedure, first, later, rng, count))
    laws = {("first", law.label): law for law in procedure.first}
    laws.update({law.label: law for law in procedure.second})
    fitted = _fitted(procedure, first, later)
    pool = sorted({c for law in laws.values() for c in law.cells})
    where = {c: i for i, c in enumerate(pool)}
    if kind == "hierarchical":
        counts = _counts(laws, where, len(pool), rng, count)
        y = {name: law.y_N[None] for name, law in laws.items()}
        own = {law.label: counts[:, [where[c] for c in law.cells]] for law in laws.values()}
        return Draws(kind, procedure.redo(y, own, later))
    scale = _scales(procedure, first, later, fitted)
    noise_SC = rng.standard_normal((count, len(pool)))
    chi_S = {}
    y = {}
    for name, law in laws.items():
        sigma, df = scale[name]
        if df not in chi_S:
            chi_S[df] = np.sqrt(df / rng.chisquare(df, count))
        error_SN = noise_SC[:, [where[c] for c in law.cells]] * (sigma * chi_S[df])[:, None] / law.root_N
        y[name] = fitted[name] * np.exp(error_SN) if procedure.log else fitted[name] + error_SN
    return Draws(kind, procedure.redo(y, None, later))


def _fitted(procedure, first, later) -> dict:
    """Predictions at the fitted points: {("first", label): [n]} and, for second-stage laws, {label: [n]}."""
    target = Target(procedure.y_N[None], procedure.root_N, np.ones((1, len(procedure.y_N))), procedure.delta, procedure.log)
    _, prediction, _, _ = residual(procedure.system, target, first.linear_L[None], first.theta_P[None])
    out = {("first", law.label): prediction[0, rows] for law, rows in zip(procedure.first, procedure.system.rows)}
    for law in procedure.second:
        solution = later[law.label]
        out[law.label] = np.einsum("nl,l->n", solution.system.basis(solution.theta_P[None])[0], solution.linear_L)
    return out


def _scales(procedure, first, later, fitted) -> dict:
    """For each law (sigma of a weight-1 residual, degrees of freedom)."""
    out = {}
    r = _residuals(procedure, np.concatenate([fitted["first", law.label] for law in procedure.first]), procedure.y_N, procedure.root_N)
    df = max(1, len(r) - procedure.system.size)
    sigma = float(np.sqrt(np.sum(r**2) / df))
    for law in procedure.first:
        out["first", law.label] = (sigma, df)
    for law in procedure.second:
        if any(law.label == other.label for other in procedure.first):
            out[law.label] = (sigma, df)
            continue
        r = _residuals(procedure, fitted[law.label], law.y_N, law.root_N)
        own = max(1, len(r) - (len(law.block.form.parameters) - len(procedure.held)))
        out[law.label] = (float(np.sqrt(np.sum(r**2) / own)), own)
    return out


def _residuals(procedure, prediction, y, root):
    return root * (np.log(y) - np.log(prediction) if procedure.log else y - prediction)


def _counts(laws, where, size, rng, count) -> np.ndarray:
    """How often each cell is drawn, [S, cells]: with replacement within each stratum (all factors but D equal).

    One fewer is drawn than a stratum has: with as many the spread is too small by (n - 1) / n (Rao & Wu 1988).
    """
    stratum = {}
    for law in laws.values():
        for cell, s in zip(law.cells, law.strata):
            stratum[where[cell]] = s
    out = np.zeros((count, size))
    for name in sorted(set(stratum.values())):
        members = np.array(sorted(i for i, s in stratum.items() if s == name))
        drawn = len(members) - 1 if len(members) > 2 else len(members)
        out[:, members] = rng.multinomial(drawn, np.full(len(members), 1 / len(members)), size=count)
    return out


def _wald(procedure, first, later, rng, count) -> dict:
    out = {}
    for index, law in enumerate(procedure.laws):
        matrix = covariance(procedure, first, later, index, None)
        form = law.block.form
        if law.label in later:
            solution = later[law.label]
            point = solution.system.user(solution.linear_L[None], solution.theta_P[None])[0][0]
        else:
            point = procedure.system.user(first.linear_L[None], first.theta_P[None])[index][0]
        if matrix is None:
            out[law.label] = np.repeat(point[None], count, axis=0)
            continue
        logs = np.array([n in form.linear and n != "E" for n in form.parameters])
        free = np.flatnonzero(np.isfinite(np.diag(matrix)))
        start = np.where(logs, np.log(np.maximum(point, 1e-300)), point)
        draws = np.repeat(start[None], count, axis=0)
        vals, vectors = np.linalg.eigh(matrix[np.ix_(free, free)])
        draws[:, free] += rng.standard_normal((count, len(free))) @ (vectors * np.sqrt(np.maximum(vals, 0))).T
        draws = np.where(logs, np.exp(draws), draws)
        if "E" in form.parameters:
            e = form.parameters.index("E")
            draws[:, e] = np.maximum(draws[:, e], 0.0)
        out[law.label] = draws
    return out


def covariance(procedure: Procedure, first: Solution, later: dict, index: int, draws: np.ndarray | None) -> np.ndarray | None:
    """Covariance [q, q] of (log of linear parameters but E, exponents, E); NaN rows for what lies on its bound.

    Huber's asymptotic covariance with a sandwich over the points (HC1) where the laws were fitted at once; from the draws where there
    were two stages or where too few residuals lie within delta to say.
    """
    law = procedure.laws[index]
    form = law.block.form
    logs = np.array([n in form.linear and n != "E" for n in form.parameters])
    if not procedure.second:
        matrix = _sandwich(procedure, first, index)
        if matrix is not None:
            return matrix
    if draws is None:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(logs, np.log(draws), draws)
    fixed = ~np.all(np.isfinite(values), axis=0) | (np.ptp(draws, axis=0) == 0)
    matrix = np.full((len(logs),) * 2, np.nan)
    free = np.flatnonzero(~fixed)
    if len(free):
        matrix[np.ix_(free, free)] = np.atleast_2d(np.cov(values[:, free], rowvar=False))
    return matrix


def _sandwich(procedure, first: Solution, index: int) -> np.ndarray | None:
    system = procedure.system
    target = Target(procedure.y_N[None], procedure.root_N, np.ones((1, len(procedure.y_N))), procedure.delta, procedure.log)
    phi, prediction, r, _ = residual(system, target, first.linear_L[None], first.theta_P[None])
    jacobian = np.concatenate([phi, system.slope(phi, first.linear_L[None])], axis=2)[0] * procedure.root_N[:, None]
    if procedure.log:
        jacobian = jacobian / prediction[0][:, None]
    low, high = system.exponent_bounds
    inner = np.concatenate([first.linear_L > 0, (first.theta_P > low) & (first.theta_P < high)])
    points, size = len(jacobian), int(inner.sum())
    if points <= size:
        return None
    # the share of residuals within delta is the curvature of Huber's loss; where few are, it is read off a wider window
    width = max(procedure.delta, float(np.quantile(np.abs(r[0]), 0.3)))
    if width > procedure.delta and points <= HUGE:
        return None
    curvature = float(np.mean(np.abs(r[0]) <= width)) * min(1.0, procedure.delta / width)
    j = jacobian[:, inner]
    psi = np.clip(r[0], -procedure.delta, procedure.delta)
    unit = np.sqrt(np.sum(j**2, axis=0))
    try:
        bread = np.linalg.inv((j / unit).T @ (j / unit)) / np.outer(unit, unit) / curvature
    except np.linalg.LinAlgError:
        return None
    matrix = bread @ (j.T * psi**2) @ j @ bread * points / (points - size)
    # to the user's parameters: log A (normalised and user's differ by sum of exponent x centre), exponents, E
    form = system.blocks[index].form
    full = np.full((system.size, system.size), np.nan)
    full[np.ix_(np.flatnonzero(inner), np.flatnonzero(inner))] = matrix
    change = np.zeros((len(form.parameters), system.size))
    dead = np.zeros(len(form.parameters), bool)
    linears = len(system.linear)
    for k, term in enumerate(form.terms):
        row, column = form.parameters.index(term.linear), system.linear_index[index][k]
        dead[row] = not inner[column]
        change[row, column] = 1.0 if term.linear == "E" else 1.0 / max(first.linear_L[column], 1e-300)
        for symbol, exponent in term.powers:
            change[row, linears + system.exponent_index[index][form.exponents.index(exponent)]] += system.centres[index][symbol]
    for i, exponent in enumerate(form.exponents):
        column = linears + system.exponent_index[index][i]
        row = form.parameters.index(exponent)
        change[row, column] = 1.0
        dead[row] = not inner[column]
    out = change @ np.nan_to_num(full) @ change.T
    out[dead] = np.nan
    out[:, dead] = np.nan
    return out


def interval(values_S: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The central interval of draws."""
    tail = (1 - level) / 2
    low, high = np.quantile(values_S, [tail, 1 - tail])
    return float(low), float(high)
