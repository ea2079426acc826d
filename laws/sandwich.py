"""Covariance of fitted parameters: Huber's sandwich over the points, and what shared noise adds to it."""

from __future__ import annotations

import numpy as np

from laws.profile import Profile


def logs_of(form) -> np.ndarray:
    """Which of a form's parameters stand in the covariance as logarithms: the positive ones but the constant E."""
    return np.array(form.logged)


def gradients(profile: Profile, law: int) -> np.ndarray:
    """Derivative [q, Q] of a law's reported parameters by the coordinates at the fit; NaN rows for what lies on its bound."""
    form = profile.system.blocks[law].form
    out = np.zeros((len(form.parameters), len(profile.best_Q)))
    for j, log in enumerate(logs_of(form)):
        own = profile.at.own(law, j)[0]
        out[j] = np.nan if profile.active_Q[own] else profile.gradient(profile.best_Q[None], law, j, bool(log))[0]
    return out


def influence(profile: Profile, gradient_qQ: np.ndarray, inverse: np.ndarray | None = None) -> np.ndarray:
    """How much each reported parameter moves for a unit of each response (of its logarithm in a log fit), [q, N]."""
    inverse = profile.inverse() if inverse is None else inverse
    return np.nan_to_num(gradient_qQ) @ inverse @ (profile.jacobian_NQ * profile.target.root_N[:, None]).T


def sandwich(profile: Profile, law: int, shared=None) -> np.ndarray | None:
    """Covariance [q, q] of (logarithm of linear parameters but E, the others, E) of one law; NaN rows for what lies on its bound.

    The meat is the squared influence of each point (HC1), the bread has the slope of Huber's psi at the fitted scale; `shared` (effects.Shared)
    adds the covariance that subset effects give. None where there are no more points than parameters.
    """
    points, size = profile.points, profile.free
    if points <= size or profile.sigma <= 0:
        return None
    k = gradients(profile, law)
    psi = np.clip(profile.r[0], -profile.target.delta, profile.target.delta)
    bread = profile.inverse() / profile.slope
    j = profile.jacobian_NQ
    own = 1.0 if shared is None else shared.own
    matrix = own * bread @ (j.T * psi**2) @ j @ bread * points / (points - size)
    out = np.nan_to_num(k) @ matrix @ np.nan_to_num(k).T
    if shared is not None and shared.parts:
        moved = influence(profile, k)
        by_size = np.stack([np.bincount(shared.layout.size, row, len(shared.layout.sizes)) for row in moved])
        out = out + by_size @ shared.subset @ by_size.T
    dead = np.any(np.isnan(k), axis=1)
    out[dead] = np.nan
    out[:, dead] = np.nan
    return out
