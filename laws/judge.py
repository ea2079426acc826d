"""Judging laws: what each would have said of the largest levels without seeing them, AICc, a test of separability, paired comparisons.

- Leave-largest-out: for each factor the fitted cells at its largest level are left out, the law (and whatever is fitted with it, in all
  stages) is fitted again, and its mean |predicted - seen| on these cells is its error. It looks at no held-out cell.
- AICc: n log(RSS / n) + 2k + 2k(k + 1) / (n - k - 1) with k one more than the fitted parameters; Gaussian, on the weighted residuals that
  were fitted (Hurvich & Tsai 1989). It compares laws of the same cells, residual and partners alone.
- Separability: an F-test of the multiplicative law against one with A and beta free at each level of X and a common E.
- Paired comparison: the mean difference of |error| over common cells, with a t-interval of the paired differences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from laws.fitting import fit_system
from laws.forms import FORMS
from laws.points import Cell
from laws.questions import Question, Response
from laws.study import label, procedure_of
from laws.system import Block, System

LEVEL = 0.95
MOST_LEVELS = 8  # levels of X beyond which separability is not tested: the wide law has two parameters for each


@dataclass
class LeftOut:
    """The fitted cells at a factor's largest level, and what the law says of them when fitted to the rest (None: too few are left)."""

    level: float
    cells: list[Cell]
    rest: list[Cell]
    predicted: np.ndarray | None = None

    @property
    def errors(self) -> np.ndarray | None:
        """|predicted - seen| of each cell."""
        return None if self.predicted is None else np.abs(self.predicted - np.array([c.mean for c in self.cells]))


def left_out(request: dict, data: Response, q: Question) -> dict[str, LeftOut]:
    """{column: LeftOut} for every factor of a fitted law that has three levels or more."""
    out = {}
    for column in q.symbols.values():
        levels = sorted({c.factors[column] for c in q.fitted})
        if len(levels) < 3:
            continue
        cells = [c for c in q.fitted if c.factors[column] == levels[-1]]
        rest = [c for c in q.fitted if c.factors[column] != levels[-1]]
        found = out[column] = LeftOut(levels[-1], cells, rest)
        if not q.refused and _enough(q, rest):
            found.predicted = _refitted(request, data, q, cells)
    return out


def _enough(q: Question, rest: list[Cell]) -> bool:
    """Whether the rest can carry the law: a point more than it has parameters to itself, two levels of each factor."""
    own = len([n for n in q.form.parameters if n not in q.extra["shared"]])
    return len(rest) > own and all(len({c.factors[f] for c in rest}) >= 2 for f in q.symbols.values())


def _refitted(request, data, q: Question, cells: list[Cell]) -> np.ndarray:
    """The law at `cells`, fitted without them; they leave every law that is fitted with it."""
    gone = {c.key for c in cells}
    kept = lambda c: c.key not in gone  # noqa: E731
    live, first = ([other for other in laws if any(map(kept, other.fitted))] for laws in q.extra["with"])
    values, _, _ = procedure_of(request, data, live, first, kept).fit()
    return q.form.value(values[label(q)][None], q.factors(cells))[0]


def aicc(q: Question) -> dict:
    """{value, points, parameters, together}: AICc of the fit that a law comes from; value null where it is not defined."""
    points, size, squares = q.extra["size"]
    k = size + 1
    value = None
    if points > k + 1 and squares > 0:
        value = float(points * np.log(squares / points) + 2 * k + 2 * k * (k + 1) / (points - k - 1))
    return {"value": value, "points": points, "parameters": size, "together": len(q.extra["with"][0]) if q.extra["shared"] else 1}


def separability(q: Question, data: Response) -> dict | None:
    """{p, f, df, levels} of the F-test of a multiplicative law of one factor; None where it cannot be tested."""
    if q.form.name != "multiplicative" or q.group != "factor" or q.extra["shared"]:
        return None
    x, d = (np.array([c.factors[q.symbols[s]] for c in q.fitted]) for s in ("X", "D"))
    levels = np.unique(x)
    wide, narrow = 2 * len(levels) + 1, len(q.form.parameters)
    free = len(x) - wide
    if free < 3 or len(levels) > MOST_LEVELS or any(len(np.unique(d[x == v])) < 3 for v in levels):
        return None
    order = np.argsort(x, kind="stable")
    y = np.array([c.mean for c in q.fitted])[order]
    blocks = [Block(f"{v:g}", FORMS["power"], {"D": d[order][x[order] == v]}) for v in levels]
    objective = fit_system(System(blocks, {"E"}), y, q.extra["root"][order], q.extra["delta"], data.log).objective
    if objective <= 0:
        return None
    from scipy.special import fdtrc

    ratio = max(q.extra["objective"] - objective, 0.0) / (wide - narrow) / (objective / free)
    return {"p": float(fdtrc(wide - narrow, free, ratio)), "f": float(ratio), "df": [wide - narrow, free], "levels": len(levels)}


def paired(first_N: np.ndarray, second_N: np.ndarray, level: float = LEVEL) -> dict:
    """{value, low, high} of the mean of first - second over common cells; low and high null with fewer than three."""
    gap = np.asarray(first_N) - np.asarray(second_N)
    value, count = float(np.mean(gap)), len(gap)
    if count < 3:
        return {"value": value, "low": None, "high": None}
    from scipy.special import stdtrit

    half = float(stdtrit(count - 1, (1 + level) / 2) * np.std(gap, ddof=1) / np.sqrt(count))
    return {"value": value, "low": value - half, "high": value + half}
