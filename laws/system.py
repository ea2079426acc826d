"""One or several laws as one system of parameters: which are shared, which are a law's own, and the way back to the user's units.

Factors enter as logarithms around their mean (the geometric mean of the fitted values), which takes the ridge between A and its
exponents out of the problem. D is centred once for the whole system, because what belongs to D may be shared.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

from laws.forms import Form


@dataclass
class Block:
    """One law inside a system: its label, form, and factors {symbol: [n]} in the user's units."""

    label: str
    form: Form
    factors: dict[str, np.ndarray]

    @property
    def points(self) -> int:
        return len(next(iter(self.factors.values())))


class System:
    """Blocks stacked point after point; a name in `shared` is one parameter for all blocks that have it."""

    def __init__(self, blocks: list[Block], shared: frozenset[str] | set[str] = frozenset(), centres: dict[str, float] | None = None):
        self.blocks = blocks
        self.shared = frozenset(shared)
        self.points = sum(b.points for b in blocks)
        self.linear: list[str] = []
        self.exponents: list[str] = []
        self.rows: list[slice] = []
        self.linear_index: list[np.ndarray] = []
        self.exponent_index: list[np.ndarray] = []
        self.centres: list[dict[str, float]] = []
        self.logs: list[dict[str, np.ndarray]] = []
        all_d = np.concatenate([np.log(b.factors["D"]) for b in blocks])
        d_centre = float(np.mean(all_d)) if centres is None else centres["D"]
        at = 0
        for block in blocks:
            self.rows.append(slice(at, at + block.points))
            at += block.points
            centre = {s: float(np.mean(np.log(v))) for s, v in block.factors.items()}
            if centres is not None:
                centre.update({s: v for s, v in centres.items() if s in centre})
            centre["D"] = d_centre
            self.centres.append(centre)
            self.logs.append({s: np.log(v) - centre[s] for s, v in block.factors.items()})
            self.linear_index.append(np.array([self._place(self.linear, n, block) for n in block.form.linear]))
            self.exponent_index.append(np.array([self._place(self.exponents, n, block) for n in block.form.exponents], int))
        low, high = np.full(len(self.exponents), -np.inf), np.full(len(self.exponents), np.inf)
        for block, index in zip(blocks, self.exponent_index):
            for name, i in zip(block.form.exponents, index):
                bound = block.form.bound(name)
                low[i], high[i] = max(low[i], bound[0]), min(high[i], bound[1])
        self.exponent_bounds = (low, high)

    def _place(self, names: list[str], name: str, block: Block) -> int:
        full = name if name in self.shared else f"{name}[{block.label}]"
        if full not in names:
            names.append(full)
        return names.index(full)

    def thin(self, step: int) -> tuple["System", np.ndarray]:
        """Every `step`-th point of each block as a system with the same parameters, and the rows that it holds."""
        small = copy.copy(self)
        small.logs = [{s: v[::step] for s, v in logs.items()} for logs in self.logs]
        kept = [np.arange(r.start, r.stop)[::step] for r in self.rows]
        ends = np.cumsum([0] + [len(k) for k in kept])
        small.rows = [slice(int(a), int(b)) for a, b in zip(ends, ends[1:])]
        small.points = int(ends[-1])
        return small, np.concatenate(kept)

    @property
    def size(self) -> int:
        """The number of parameters."""
        return len(self.linear) + len(self.exponents)

    def basis(self, theta_SP: np.ndarray) -> np.ndarray:
        """[S, N, L]: each point's terms without their linear parameters; zero for terms of other blocks."""
        if len(self.blocks) == 1:
            return self.blocks[0].form.basis(theta_SP, self.logs[0])
        phi_SNL = np.zeros((len(theta_SP), self.points, len(self.linear)))
        for b, block in enumerate(self.blocks):
            phi_SNL[:, self.rows[b], self.linear_index[b]] = block.form.basis(theta_SP[:, self.exponent_index[b]], self.logs[b])
        return phi_SNL

    def slope(self, phi_SNL: np.ndarray, linear_SL: np.ndarray) -> np.ndarray:
        """[S, N, P]: derivative of the prediction by each exponent."""
        if len(self.blocks) == 1:
            return self.blocks[0].form.slope(phi_SNL, linear_SL, self.logs[0])
        out_SNP = np.zeros((len(phi_SNL), self.points, len(self.exponents)))
        for b, block in enumerate(self.blocks):
            own = phi_SNL[:, self.rows[b]][:, :, self.linear_index[b]]
            out_SNP[:, self.rows[b], self.exponent_index[b]] = block.form.slope(own, linear_SL[:, self.linear_index[b]], self.logs[b])
        return out_SNP

    def user(self, linear_SL: np.ndarray, theta_SP: np.ndarray) -> list[np.ndarray]:
        """For each block its parameters [S, q] in the user's units and in the order of `form.parameters`."""
        return [
            block.form.to_user(linear_SL[:, self.linear_index[b]], theta_SP[:, self.exponent_index[b]], self.centres[b])
            for b, block in enumerate(self.blocks)
        ]

    def spans(self) -> np.ndarray:
        """For each exponent the range of the log factor that it acts on; what scales its starts."""
        span = np.zeros(len(self.exponents))
        for b, block in enumerate(self.blocks):
            for term in block.form.terms:
                for symbol, exponent in term.powers:
                    i = self.exponent_index[b][block.form.exponents.index(exponent)]
                    span[i] = max(span[i], float(np.ptp(self.logs[b][symbol])))
        return span
