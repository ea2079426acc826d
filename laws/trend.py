"""Extrapolating curves of a loss over the data: in log-log a level whose slope wanders, above a floor E, with hyperparameters pooled over curves.

The model of one curve: z = log(y - E) is a straight line in x = log2(D / D0) plus an integrated random walk (the slope drifts by variance
q a doubling), seen with noise; E is a share of the smallest value. Line, drift and noise scale are integrated out (universal kriging with
flat priors on the line: Wahba 1978; Rasmussen & Williams 2006, 2.7), E and q run over a grid whose weights are the posterior, and the weights
of the grid and the scale of the noise are pooled over all curves given (empirical Bayes), so that one short curve borrows from the others.
With q = 0 it is the power law A * D**-beta + E; with large q and E = 0 it is the line through the last two points.

Array legend: C curves, N points, T targets, F floors, Q drifts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FLOORS = 1 - 2.0 ** (-np.arange(11) / 2)  # E as a share of the smallest value
DRIFTS = np.exp2(np.arange(-14, 9, 2.0))  # variance of the slope's drift a doubling, in units of the noise variance
FLOORLESS = 0.5  # prior weight of E = 0
PRIOR_CURVES = 1.0  # the grid's prior weighs as many curves as this
PRIOR_DF = 2.0  # of a curve's noise scale around the pooled one; 1 for a curve alone, whose prior is only a guess
GUESS = 1e-4  # noise variance of log y for a curve alone: 1 %
TAIL_DF = 4.0  # tails of predictions: slopes break more often than a random walk says
ROUNDS = 30
MOST_POINTS = 64  # a longer curve is averaged in bins of equal width in log D first


@dataclass
class Trend:
    """The posterior of some curves at their targets: weights [C, F, Q], centres and scales of z [C, F, Q, T], floors E [C, F]."""

    weight_CFQ: np.ndarray
    centre_CFQT: np.ndarray
    scale_CFQT: np.ndarray
    floor_CF: np.ndarray
    falling_C: np.ndarray
    last_C: np.ndarray

    def mean(self) -> np.ndarray:
        """Posterior mean of log y at the targets, [C, T]."""
        value = np.log(self.floor_CF[:, :, None, None] + np.exp(np.clip(self.centre_CFQT, -700, 700)))
        return np.einsum("cfq,cfqt->ct", self.weight_CFQ, value)


def trend(x_CN: np.ndarray, y_CN: np.ndarray, at_CT: np.ndarray, noise_CN: np.ndarray) -> Trend:
    """Curves with equally many points: x = log2 D rising, y > 0, targets in the units of x, relative noise variances around 1."""
    points = x_CN.shape[1]
    start = x_CN[:, :1]
    x, at = x_CN - start, at_CT - start
    parts = [_curve(*row) for row in zip(x, y_CN, at, noise_CN)]
    centre, factor, squares, penalty, floor = (np.array(p) for p in zip(*parts))
    prior = np.full((len(FLOORS), len(DRIFTS)), (1 - FLOORLESS) / (len(FLOORS) - 1) / len(DRIFTS))
    prior[0] = FLOORLESS / len(DRIFTS)
    weight, scale2 = _pool(prior, squares, penalty, points - 2)
    return Trend(weight, centre, np.sqrt(factor * scale2[..., None]), floor, y_CN[:, -1] < y_CN[:, 0], y_CN[:, -1])


def _curve(x_N, y_N, at_T, noise_N):
    """For one curve: centres [F, Q, T], variance factors (of a new observation), residual squares [F, Q], penalties -2 log density, floors."""
    count = len(x_N)
    line_NP, line_TP = np.stack([np.ones(count), x_N], 1), np.stack([np.ones(len(at_T)), at_T], 1)
    floor_F = FLOORS * y_N.min()
    z_FN, stretch_FN = np.log(y_N - floor_F[:, None]), y_N / (y_N - floor_F[:, None])
    cov = DRIFTS[None, :, None, None] * _walk(x_N, x_N)
    cov = cov + (stretch_FN**2 * noise_N)[:, None, :, None] * np.eye(count)
    inverse = np.linalg.inv(cov)
    inverse_line = inverse @ line_NP
    gram = line_NP.T @ inverse_line
    gram_inverse = np.linalg.inv(gram)
    z = np.broadcast_to(z_FN[:, None, :, None], cov.shape[:2] + (count, 1))
    beta = gram_inverse @ (np.swapaxes(inverse_line, -1, -2) @ z)
    pulled = inverse @ (z - line_NP @ beta)
    squares = np.maximum(np.sum(z * pulled, axis=(-1, -2)), 0.0)
    cross = DRIFTS[:, None, None] * _walk(x_N, at_T)  # [Q, N, T]
    centre = (line_TP @ beta)[..., 0] + np.einsum("qnt,fqn->fqt", cross, pulled[..., 0])
    rest = line_TP.T[None, None] - np.swapaxes(inverse_line, -1, -2) @ cross
    own = DRIFTS[:, None] * np.diagonal(_walk(at_T, at_T)) - np.einsum("qnt,fqnm,qmt->fqt", cross, inverse, cross)
    own = own + np.einsum("fqpt,fqpr,fqrt->fqt", rest, gram_inverse, rest)
    new = 1 + floor_F[:, None, None] * np.exp(-np.clip(centre, -700, 700))  # noise of one value at the target, in units of z
    penalty = np.linalg.slogdet(cov)[1] + np.linalg.slogdet(gram)[1]
    # densities are of log y; the flat prior of the line is flat in log y as well, whatever the floor stretches
    penalty = penalty - 2 * np.sum(np.log(stretch_FN), axis=1)[:, None] * (count - 2) / count
    return centre, np.maximum(own, 0.0) + new**2, squares, penalty, floor_F


def _walk(a_N, b_M) -> np.ndarray:
    """Covariance of an integrated random walk that starts at zero, [N, M]."""
    low, high = np.minimum(a_N[:, None], b_M), np.maximum(a_N[:, None], b_M)
    return low**2 * (3 * high - low) / 6


def _pool(prior_FQ, squares, penalty, free: int):
    """(posterior weights [C, F, Q], noise variances [C, F, Q]): the grid's weights and the pooled noise scale by expectation-maximisation."""
    from scipy.special import gammaln

    curves = len(squares)
    df = PRIOR_DF if curves > 1 else 1.0
    scale, share = GUESS, prior_FQ
    for _ in range(ROUNDS if curves > 1 else 1):
        ahead = gammaln((df + free) / 2) - gammaln(df / 2)
        density = -penalty / 2 + df / 2 * np.log(df * scale / 2) - (df + free) / 2 * np.log((df * scale + squares) / 2) + ahead
        weight = np.log(share) + density
        weight = np.exp(weight - weight.max(axis=(1, 2), keepdims=True))
        weight /= weight.sum(axis=(1, 2), keepdims=True)
        if curves > 1:
            share = (weight.sum(axis=0) + PRIOR_CURVES * prior_FQ) / (curves + PRIOR_CURVES)
            precision = np.sum(weight * (df + free) / (df * scale + squares), axis=(1, 2))
            scale = max(1 / float(np.mean(precision)), 1e-14)
    return weight, (df * scale + squares) / (df + free)


def mixture_quantiles(parts: list[tuple[Trend, np.ndarray, np.ndarray]], probabilities) -> np.ndarray:
    """Quantiles of log y, [C, T, probabilities], of a mixture of a trend's posterior moved by shifts [C, T], each with weights [C]."""
    from scipy.special import stdtr

    first = parts[0][0]
    curves, targets = len(first.weight_CFQ), first.centre_CFQT.shape[-1]

    def cdf(value_CT):
        total = np.zeros((curves, targets))
        for trend, shift_CT, share_C in parts:
            floor = trend.floor_CF[:, :, None, None]
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                above = np.exp(value_CT - shift_CT)[:, None, None, :] - floor
                z = np.where(above > 0, np.log(np.where(above > 0, above, 1.0)), -np.inf)
                total += share_C[:, None] * np.einsum("cfq,cfqt->ct", trend.weight_CFQ, stdtr(TAIL_DF, (z - trend.centre_CFQT) / trend.scale_CFQT))
        return total

    out = np.empty((curves, targets, len(probabilities)))
    middle = first.mean()
    spread = np.einsum("cfq,cfqt->ct", first.weight_CFQ, first.scale_CFQT)
    reach = max(float(np.max(np.abs(shift))) for _, shift, _ in parts) + 60 * spread + 1.0
    for j, p in enumerate(probabilities):
        low, high = middle - reach, middle + reach
        for _ in range(48):
            value = (low + high) / 2
            below = cdf(value) < p
            low, high = np.where(below, value, low), np.where(below, high, value)
        out[..., j] = (low + high) / 2
    return out
