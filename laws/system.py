"""One or several laws as one system of parameters: which are shared, which are a law's own, and the way back to the user's units.

Factors enter divided by a centre (the geometric mean of the fitted values), which takes the ridge between A and its exponents out of the
problem. Laws that share a parameter whose unit holds a factor have one centre for it; where no centre can serve all of them there is none.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np

from laws.form import Form

FAR = 80.0  # a positive parameter's logarithm stays within this of its scale
Shared = set | frozenset | Mapping[str, Mapping[str, Hashable]]


@dataclass
class Block:
    """One law inside a system: its label, form, and factors {symbol: [n]} in the user's units."""

    label: str
    form: Form
    factors: dict[str, np.ndarray]

    @property
    def points(self) -> int:
        return len(next(iter(self.factors.values())))


def place_of(name: str, label: str, shared: Shared) -> tuple:
    """What identifies a parameter of the law `label`: laws with the same place hold one value."""
    if isinstance(shared, Mapping):
        keys = shared.get(name, {})
        return (name, "shared", keys[label]) if label in keys else (name, "own", label)
    return (name, "shared", None) if name in shared else (name, "own", label)


class System:
    """Blocks stacked point after point, with the parameters they share.

    `shared` is a set of names (each is one parameter for all blocks that have it), or for each name the group of each law by its label:
    `{"beta": {"lora/size": "lora", "lora/pretraining": "lora"}, "E": {...}}`; laws with equal groups hold one value, a label that is
    not named keeps its own. Labels are unique. `centres` {symbol: mean log} takes the place of the geometric means.

    `linear` and `exponents` name the columns L and P; `linear_index[b]` and `exponent_index[b]` say which columns block b has.
    """

    def __init__(self, blocks: list[Block], shared: Shared = frozenset(), centres: dict[str, float] | None = None):
        if len({b.label for b in blocks}) < len(blocks):
            raise ValueError("two laws of one system have the same label")
        self.blocks = blocks
        self.shared = shared
        self.points = sum(b.points for b in blocks)
        self.linear: list[str] = []
        self.exponents: list[str] = []
        self.places: dict[tuple, int] = {}
        self.rows: list[slice] = []
        self.linear_index: list[np.ndarray] = []
        self.exponent_index: list[np.ndarray] = []
        at = 0
        for block in blocks:
            self.rows.append(slice(at, at + block.points))
            at += block.points
            self.linear_index.append(np.array([self._place(self.linear, n, block) for n in block.form.columns], int))
            self.exponent_index.append(np.array([self._place(self.exponents, n, block) for n in block.form.exponents], int))
        self.centres = self._centres(centres)
        self.logs: list[dict[str, np.ndarray]] = []
        self.values: list[dict[str, np.ndarray]] = []
        for block, centre in zip(blocks, self.centres):
            with np.errstate(divide="ignore", invalid="ignore"):
                self.logs.append({s: np.log(np.asarray(v, float)) - centre[s] for s, v in block.factors.items()})
            self.values.append({s: np.asarray(v, float) / np.exp(centre[s]) for s, v in block.factors.items()})
        self._bounds()

    def _place(self, names: list[str], name: str, block: Block) -> int:
        place = place_of(name, block.label, self.shared)
        if place not in self.places:
            self.places[place] = len(names)
            names.append(name if place[1:] == ("shared", None) else f"{name}[{place[2]}]")
        return self.places[place]

    def _centres(self, given: dict[str, float] | None) -> list[dict[str, float]]:
        """Mean logs of each block's factors: common where a shared parameter asks for it, zero where the form or a bound forbids any."""
        group: dict[tuple[int, str], tuple[int, str]] = {(b, s): (b, s) for b, block in enumerate(self.blocks) for s in block.factors}
        fixed: set[tuple[int, str]] = {(b, s) for b, s in group if s not in self.blocks[b].form.scalable}

        def root(node):
            while group[node] != node:
                node = group[node]
            return node

        holders: dict[tuple, list[int]] = {}
        for b, block in enumerate(self.blocks):
            for name, unit in block.form.units.items():
                holders.setdefault(place_of(name, block.label, self.shared), []).append(b)
                low, high = block.form.bound(name)
                if low not in (0.0, -np.inf) or high != np.inf:  # a bound in the user's units is no box in others
                    fixed.update((b, s) for s, _ in unit)
        for (name, *_), members in holders.items():
            first = members[0]
            for b in members[1:]:
                one, two = self.blocks[first], self.blocks[b]
                for symbol, exponents in {**one.form.units[name], **two.form.units[name]}:
                    same = one.form.units[name] == two.form.units[name] and all(
                        place_of(e, one.label, self.shared) == place_of(e, two.label, self.shared) for e in exponents
                    )
                    if same:
                        group[root((b, symbol))] = root((first, symbol))
                    else:
                        fixed.update((m, symbol) for m in members if symbol in self.blocks[m].factors)
        stuck = {root(node) for node in fixed}
        values: dict[tuple, list[np.ndarray]] = {}
        for b, s in group:
            v = np.asarray(self.blocks[b].factors[s], float)
            values.setdefault(root((b, s)), []).append(np.log(v[v > 0]))
        out: list[dict[str, float]] = [{} for _ in self.blocks]
        for b, s in group:
            logs = np.concatenate(values[root((b, s))])
            mean = 0.0 if root((b, s)) in stuck or not len(logs) else float(np.mean(logs))
            out[b][s] = given[s] if given is not None and s in given else mean
        return out

    def _bounds(self) -> None:
        """Boxes of the inner parameters: (low, high) of the linear ones and of the others."""
        low, high = np.full(len(self.exponents), -np.inf), np.full(len(self.exponents), np.inf)
        floor, ceiling = np.full(len(self.linear), -np.inf), np.full(len(self.linear), np.inf)
        for block, linear, index in zip(self.blocks, self.linear_index, self.exponent_index):
            form = block.form
            for name, i, log in zip(form.exponents, index, form.logs):
                bound = form.bound(name)
                if log:
                    bound = (np.log(bound[0]) if bound[0] > 0 else -FAR, np.log(bound[1]) if np.isfinite(bound[1]) else FAR)
                low[i], high[i] = max(low[i], bound[0]), min(high[i], bound[1])
            for name, i in zip(form.columns, linear):
                bound = form.bound(name) if name else (1.0, 1.0)
                floor[i], ceiling[i] = max(floor[i], bound[0]), min(ceiling[i], bound[1])
        self.exponent_bounds = (low, high)
        self.linear_bounds = (floor, ceiling)

    def thin(self, step: int) -> tuple["System", np.ndarray]:
        """Every `step`-th point of each block as a system with the same parameters, and the rows that it holds."""
        small = copy.copy(self)
        small.logs = [{s: v[::step] for s, v in logs.items()} for logs in self.logs]
        small.values = [{s: v[::step] for s, v in values.items()} for values in self.values]
        kept = [np.arange(r.start, r.stop)[::step] for r in self.rows]
        ends = np.cumsum([0] + [len(k) for k in kept])
        small.rows = [slice(int(a), int(b)) for a, b in zip(ends, ends[1:])]
        small.points = int(ends[-1])
        return small, np.concatenate(kept)

    @property
    def size(self) -> int:
        """The number of parameters that are fitted."""
        fixed = sum(a == b for bounds in (self.linear_bounds, self.exponent_bounds) for a, b in zip(*bounds))
        return len(self.linear) + len(self.exponents) - int(fixed)

    def basis(self, theta_SP: np.ndarray) -> np.ndarray:
        """[S, N, L]: each point's terms without their linear parameters; zero for terms of other blocks."""
        if len(self.blocks) == 1:
            return self.blocks[0].form.basis(theta_SP, self.logs[0], self.values[0])
        phi_SLN = np.zeros((len(theta_SP), len(self.linear), self.points))
        for b, block in enumerate(self.blocks):
            own = block.form.basis(theta_SP[:, self.exponent_index[b]], self.logs[b], self.values[b])
            phi_SLN[:, self.linear_index[b], self.rows[b]] = own.transpose(0, 2, 1)
        return phi_SLN.transpose(0, 2, 1)

    def slope(self, phi_SNL: np.ndarray, linear_SL: np.ndarray, theta_SP: np.ndarray | None = None) -> np.ndarray:
        """[S, N, P]: derivative of the prediction by each parameter that is not linear; `theta_SP` is needed by forms that are no sum of terms."""
        if len(self.blocks) == 1:
            return self.blocks[0].form.slope(phi_SNL, linear_SL, self.logs[0], theta_SP, self.values[0])
        out_SPN = np.zeros((len(phi_SNL), len(self.exponents), self.points))
        for b, block in enumerate(self.blocks):
            rows, linear, index = self.rows[b], self.linear_index[b], self.exponent_index[b]
            theta = None if theta_SP is None else theta_SP[:, index]
            own = block.form.slope(phi_SNL[:, rows][:, :, linear], linear_SL[:, linear], self.logs[b], theta, self.values[b])
            out_SPN[:, index, rows] = own.transpose(0, 2, 1)
        return out_SPN.transpose(0, 2, 1)

    def user(self, linear_SL: np.ndarray, theta_SP: np.ndarray) -> list[np.ndarray]:
        """For each block its parameters [S, q] in the user's units and in the order of `form.parameters`."""
        out = []
        for b, block in enumerate(self.blocks):
            form, linear, theta = block.form, linear_SL[:, self.linear_index[b]], theta_SP[:, self.exponent_index[b]]
            plain = {n: np.exp(theta[:, i]) if form.logs[i] else theta[:, i] for i, n in enumerate(form.exponents)}
            values = {}
            for i, name in enumerate(form.exponents):
                shift = self._shift(b, name, plain)
                values[name] = plain[name] if shift is None else np.exp(theta[:, i] + shift)
            for k, name in enumerate(form.linear):
                shift = self._shift(b, name, plain)
                with np.errstate(over="ignore", divide="ignore"):
                    size = linear[:, k] if shift is None else np.sign(linear[:, k]) * np.exp(np.log(np.abs(linear[:, k])) + shift)
                values[name] = np.where(linear[:, k] == 0, 0.0, size)
            out.append(np.stack([values[name] for name in form.parameters], axis=1))
        return out

    def _shift(self, b: int, name: str, plain: dict[str, np.ndarray]) -> np.ndarray | None:
        """log(user's value / inner value) of a parameter, [S]; None where they are equal."""
        unit = self.blocks[b].form.units.get(name)
        if not unit:
            return None
        total = np.zeros(1)
        for (symbol, exponents), coefficient in unit.items():
            part = np.full(1, coefficient * self.centres[b][symbol])
            for e in exponents:
                part = part * plain[e]
            total = total + part
        return total

    def chain(self, b: int, linear_L: np.ndarray, theta_P: np.ndarray, logs: tuple[str, ...] = ()) -> np.ndarray:
        """Derivative [q, Q] of block b's parameters in the user's units by the inner ones (linear, then others), at one solution.

        Parameters named in `logs` are differentiated as logarithms.
        """
        form, linears = self.blocks[b].form, len(self.linear)
        user = dict(zip(form.parameters, self.user(linear_L[None], theta_P[None])[b][0]))
        theta = dict(zip(form.exponents, theta_P[self.exponent_index[b]]))
        is_log = dict(zip(form.exponents, form.logs))
        plain = {n: np.exp(v) if is_log[n] else v for n, v in theta.items()}
        column = {n: linears + i for n, i in zip(form.exponents, self.exponent_index[b])}
        column.update(zip(form.linear, self.linear_index[b]))
        out = np.zeros((len(form.parameters), linears + len(self.exponents)))
        for row, name in enumerate(form.parameters):
            grow = 1.0 if name in logs else user[name]  # d(value) = value d(log value)
            if name in form.exponents:
                out[row, column[name]] = grow if is_log[name] else (1 / user[name] if name in logs else 1.0)
            else:
                inner = linear_L[column[name]]
                shift = self._shift(b, name, {n: np.array([v]) for n, v in plain.items()})
                plainly = 1.0 if shift is None else float(np.exp(shift[0]))
                out[row, column[name]] = 1 / max(inner, 1e-300) if name in logs else plainly
            for (symbol, exponents), coefficient in form.units.get(name, {}).items():
                for i, e in enumerate(exponents):
                    rest = coefficient * self.centres[b][symbol] * np.prod([plain[o] for j, o in enumerate(exponents) if j != i])
                    out[row, column[e]] += grow * rest * (plain[e] if is_log[e] else 1.0)
        return out
