"""Many small robust fits at once: batched Huber minimisation by projected Levenberg-Marquardt with an analytic Jacobian.

The linear parameters are >= 0 and solved inside for the starts (non-negative least squares, reweighted for Huber); after that a step
moves all parameters together. Two candidate steps are tried in each round, reweighted Gauss-Newton and the true Huber-Newton step, and
the better one is kept: the first is safe far away, the second ends exactly near the optimum even where delta is tiny.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CHUNK = 4_000_000  # numbers in one batch of Jacobians


@dataclass
class Target:
    """What is fitted: responses [S, N] or [1, N], root weights [N], counts [S, N] or [1, N] (how often a point is drawn), delta."""

    y_SN: np.ndarray
    root_N: np.ndarray
    count_SN: np.ndarray
    delta: float
    log: bool = False

    def take(self, rows: np.ndarray) -> "Target":
        """The same target for some of the starts or draws."""
        pick = lambda a: a if len(a) == 1 else a[rows]  # noqa: E731
        return Target(pick(self.y_SN), self.root_N, pick(self.count_SN), self.delta, self.log)


def huber(r: np.ndarray, delta: float) -> np.ndarray:
    """Huber's loss: r^2/2 within delta, delta (|r| - delta/2) beyond."""
    a = np.abs(r)
    return np.where(a <= delta, 0.5 * r * r, delta * (a - 0.5 * delta))


def residual(system, target: Target, linear_SL: np.ndarray, theta_SP: np.ndarray):
    """(basis [S,N,L], prediction [S,N], weighted residual [S,N], cost [S]) at the given parameters."""
    phi_SNL = system.basis(theta_SP)
    prediction_SN = (phi_SNL @ linear_SL[:, :, None])[:, :, 0]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if target.log:
            r_SN = target.root_N * (np.log(prediction_SN) - np.log(target.y_SN))
        else:
            r_SN = target.root_N * (prediction_SN - target.y_SN)
        cost_S = np.sum(target.count_SN * huber(r_SN, target.delta), axis=1)
    return phi_SNL, prediction_SN, r_SN, np.where(np.isfinite(cost_S), cost_S, np.inf)


def solve_linear(system, target: Target, theta_SP: np.ndarray, rounds: int = 5) -> np.ndarray:
    """The linear parameters [S, L] >= 0 that fit best at given exponents: least squares, reweighted for Huber."""
    phi_SNL = system.basis(theta_SP)
    y_SN = np.broadcast_to(target.y_SN, phi_SNL.shape[:2])
    root = target.root_N / y_SN if target.log else np.broadcast_to(target.root_N, y_SN.shape)
    weight_SN = np.broadcast_to(target.count_SN, y_SN.shape) * root**2
    for _ in range(rounds):
        linear_SL = _linear(phi_SNL, y_SN, weight_SN)
        r_SN = root * ((phi_SNL @ linear_SL[:, :, None])[:, :, 0] - y_SN)
        weight_SN = target.count_SN * root**2 * np.minimum(1.0, target.delta / np.maximum(np.abs(r_SN), 1e-300))
    # all linear parameters at zero predicts zero, from where the log residual cannot start
    empty_S = linear_SL.sum(axis=1) <= 0
    linear_SL[empty_S] = np.mean(y_SN, axis=1)[empty_S, None] / linear_SL.shape[1]
    return linear_SL


def _linear(phi_SNL, y_SN, weight_SN) -> np.ndarray:
    """Weighted non-negative least squares, [S, L]; negative parameters are set to zero and the others solved again."""
    size_SL = np.sqrt(np.mean(phi_SNL**2, axis=1)) + 1e-300
    unit_SNL = phi_SNL / size_SL[:, None, :]
    weighted_SLN = (unit_SNL * weight_SN[:, :, None]).transpose(0, 2, 1)
    gram, right = weighted_SLN @ unit_SNL, (weighted_SLN @ y_SN[:, :, None])[:, :, 0]
    free_SL = np.ones(size_SL.shape, bool)
    for _ in range(size_SL.shape[1]):
        linear_SL = _masked_solve(gram, right, free_SL, 1e-12)
        if not np.any(linear_SL < 0):
            break
        free_SL &= linear_SL > 0
    return np.maximum(linear_SL, 0.0) / size_SL


def _masked_solve(matrix, right, free, ridge):
    """Solve the batch of symmetric systems for the free unknowns; the others are zero."""
    both = free[:, :, None] & free[:, None, :]
    eye = np.eye(matrix.shape[1])
    m = np.where(both, matrix, 0.0)
    trace = np.trace(m, axis1=1, axis2=2)[:, None, None] / matrix.shape[1] + 1e-300
    m = m + eye * np.where(free, ridge * trace[:, :, 0], trace[:, :, 0])[:, None, :]
    return np.linalg.solve(m, np.where(free, right, 0.0)[:, :, None])[:, :, 0]


def minimise(system, target: Target, linear_SL, theta_SP, *, free_L=None, free_P=None, rounds: int = 200, tolerance: float = 1e-13):
    """Minimise from every start; returns (linear [S, L], theta [S, P], cost [S], converged [S]).

    `free_L`, `free_P` name the parameters that may move (a second stage holds the others at their start).
    """
    count = max(len(linear_SL), len(target.y_SN), len(target.count_SN))
    linear_SL = np.array(np.broadcast_to(linear_SL, (count, linear_SL.shape[1])))
    theta_SP = np.array(np.broadcast_to(theta_SP, (count, theta_SP.shape[1])))
    free_Q = np.concatenate([
        np.ones(linear_SL.shape[1], bool) if free_L is None else np.asarray(free_L, bool),
        np.ones(theta_SP.shape[1], bool) if free_P is None else np.asarray(free_P, bool),
    ])
    cost_S = np.empty(count)
    converged_S = np.zeros(count, bool)
    step = max(1, CHUNK // max(1, system.points * len(free_Q)))
    for at in range(0, count, step):
        rows = np.arange(at, min(at + step, count))
        out = _descend(system, target.take(rows), linear_SL[rows], theta_SP[rows], free_Q, rounds, tolerance)
        linear_SL[rows], theta_SP[rows], cost_S[rows], converged_S[rows] = out
    return linear_SL, theta_SP, cost_S, converged_S


def _descend(system, target, linear_SL, theta_SP, free_Q, rounds, tolerance):
    count, linears = linear_SL.shape
    low_P, high_P = system.exponent_bounds
    done_S = np.zeros(count, bool)
    good_S = np.zeros(count, bool)
    calm_S = np.zeros(count, int)
    damping_S = np.full(count, 1e-3)
    phi_SNL, prediction_SN, r_SN, cost_S = residual(system, target, linear_SL, theta_SP)
    for _ in range(rounds):
        rows = np.flatnonzero(~done_S)
        if not len(rows):
            break
        part = target.take(rows)
        linear, theta = linear_SL[rows], theta_SP[rows]
        phi, prediction, r = phi_SNL[rows], prediction_SN[rows], r_SN[rows]
        jacobian = np.concatenate([phi, system.slope(phi, linear)], axis=2) * part.root_N[None, :, None]
        if part.log:
            jacobian = jacobian / np.maximum(prediction, 1e-300)[:, :, None]
        size = np.abs(r)
        soft = part.count_SN * np.minimum(1.0, part.delta / np.maximum(size, 1e-300))
        across = jacobian.transpose(0, 2, 1)
        gradient = (across @ (soft * r)[:, :, None])[:, :, 0]
        free = np.broadcast_to(free_Q, gradient.shape).copy()
        free[:, :linears] &= ~((linear <= 0) & (gradient[:, :linears] > 0))
        free[:, linears:] &= ~((theta <= low_P) & (gradient[:, linears:] > 0))
        free[:, linears:] &= ~((theta >= high_P) & (gradient[:, linears:] < 0))
        curvature = across @ (jacobian * soft[:, :, None])
        hard = np.broadcast_to(part.count_SN * (size <= part.delta), soft.shape)
        outside = bool(np.any((size > part.delta) & (part.count_SN > 0)))
        scale = np.diagonal(curvature, axis1=1, axis2=2)
        scale = np.maximum(scale, 1e-12 * scale.max(axis=1, keepdims=True) + 1e-300)
        candidates = [curvature] + ([across @ (jacobian * hard[:, :, None])] if outside else [])
        before = cost_S[rows]
        accepted = np.zeros(len(rows), bool)
        for matrix in candidates:
            # in units of each parameter's own curvature, so that the ridge between A and an exponent stays solvable
            unit = np.sqrt(scale)
            scaled = matrix / unit[:, :, None] / unit[:, None, :]
            scaled = scaled + np.eye(scaled.shape[1]) * damping_S[rows, None, None]
            move = _masked_solve(scaled, -gradient / unit, free, 1e-15) / unit
            new_linear = np.where(free_Q[:linears], np.maximum(linear + move[:, :linears], 0.0), linear)
            new_theta = np.where(free_Q[linears:], np.clip(theta + move[:, linears:], low_P, high_P), theta)
            for again in range(1 if part.log or not np.all(free_Q) else 2):
                if again:  # the linear parameters once more at the new exponents: a long step along a curved ridge
                    weight = part.count_SN * part.root_N**2 * np.minimum(1.0, part.delta / np.maximum(np.abs(r), 1e-300))
                    new_linear = _linear(phi, part.y_SN, weight)
                phi, prediction, r, cost = residual(system, part, new_linear, new_theta)
                better = cost < cost_S[rows]
                accepted |= better
                at = rows[better]
                linear_SL[at], theta_SP[at], cost_S[at] = new_linear[better], new_theta[better], cost[better]
                phi_SNL[at], prediction_SN[at], r_SN[at] = phi[better], prediction[better], r[better]
        with np.errstate(invalid="ignore"):
            drop = np.where(accepted, before - cost_S[rows], 0.0)
        small = drop <= tolerance * np.abs(before) + 1e-26 * np.max(part.root_N**2 * part.y_SN**2)
        damping_S[rows] = np.clip(np.where(accepted, damping_S[rows] / 5, damping_S[rows] * 6), 1e-12, 1e12)
        calm_S[rows] = np.where(small & accepted, calm_S[rows] + 1, np.where(accepted, 0, calm_S[rows]))
        stuck = ~accepted & (damping_S[rows] > 1e6)
        finished = (calm_S[rows] >= 2) | stuck
        good_S[rows[finished]] = True
        done_S[rows[finished]] = True
    return linear_SL, theta_SP, cost_S, good_S
