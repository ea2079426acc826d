"""The naive predictions that every law must beat: carry the last value, the line through the last two points, a power law per level.

A level is one setting of all factors but D (one model size, say). A cell at a level that was not fitted is predicted from the nearest
fitted level (in the logarithms of the factors).
- carry_last: the value at the level's largest fitted D.
- last_two: the line through the level's two largest fitted D, in log loss and log D; one D only: that value.
- power: `A * D**-beta + E` fitted to the level; needs three D at every level that is used, else there is none (null).
"""

from __future__ import annotations

import numpy as np

from laws.fitting import fit_system
from laws.forms import FORMS
from laws.system import Block, System

NAMES = ("carry_last", "last_two", "power")


class Baselines:
    """Naive predictions from fitted cells: `levels_NF` log factors without D ([N, 0] where D is alone), `d_N`, `y_N`, root weights."""

    def __init__(self, levels_NF, d_N, y_N, root_N, delta: float, log: bool = False, cache: dict | None = None):
        self.delta, self.log = delta, log
        self.cache = {} if cache is None else cache
        order = np.lexsort((y_N, d_N))
        self.levels: dict[tuple, np.ndarray] = {}
        for i in order:
            self.levels.setdefault(tuple(levels_NF[i]), []).append(i)
        self.d, self.y, self.root = np.asarray(d_N, float), np.asarray(y_N, float), np.asarray(root_N, float)

    def nearest(self, level) -> tuple:
        """The fitted level nearest to this one; of two equally near the larger."""
        return min(self.levels, key=lambda own: (round(float(np.sum((np.subtract(own, level)) ** 2)), 12), tuple(-v for v in own)))

    def predict(self, name: str, levels_NF, d_N) -> np.ndarray | None:
        """Predictions [N] of one baseline, or None where it cannot be had."""
        out = np.empty(len(d_N))
        for i, (level, d) in enumerate(zip(levels_NF, d_N)):
            rows = np.array(self.levels[self.nearest(level)])
            if name == "carry_last":
                out[i] = self.y[rows[-1]]
            elif name == "last_two":
                out[i] = self._line(rows, d)
            else:
                value = self._power(rows, d)
                if value is None:
                    return None
                out[i] = value
        return out

    def _line(self, rows, d) -> float:
        distinct = rows[np.unique(self.d[rows], return_index=True)[1]]
        if len(distinct) < 2:
            return float(self.y[rows[-1]])
        (x0, x1), (y0, y1) = np.log(self.d[distinct[-2:]]), np.log(self.y[distinct[-2:]])
        return float(np.exp(y1 + (y1 - y0) / (x1 - x0) * (np.log(d) - x1)))

    def _power(self, rows, d) -> float | None:
        if len(np.unique(self.d[rows])) < 3:
            return None
        key = (self.delta, self.log, self.d[rows].tobytes(), self.y[rows].tobytes())
        if key not in self.cache:
            system = System([Block("level", FORMS["power"], {"D": self.d[rows]})])
            # within a level the weights are relative: their mean square is 1
            root = self.root[rows] / np.sqrt(np.mean(self.root[rows] ** 2))
            fit = fit_system(system, self.y[rows], root, self.delta, self.log)
            self.cache[key] = system.user(fit.linear_L[None], fit.theta_P[None])[0]
        return float(FORMS["power"].value(self.cache[key], {"D": np.array([d])})[0, 0])


def error_of(predicted_N, cells) -> dict[str, float | None]:
    """Mean |predicted - seen| over held-out cells: all together and each kind apart (null where there are none)."""
    seen = np.array([c.mean for c in cells])
    kinds = np.array([c.held_out for c in cells], object)
    out: dict[str, float | None] = {}
    for kind in ("all", "interior", "edge_size", "edge_data", "corner"):
        rows = np.ones(len(cells), bool) if kind == "all" else kinds == kind
        gap = np.abs(predicted_N[rows] - seen[rows]) if predicted_N is not None and rows.any() else None
        out[kind] = None if gap is None or not np.all(np.isfinite(gap)) else float(np.mean(gap))
    return out
