"""Fitting: data-scaled starts, the polish, and the two ways to stage laws that share parameters (joint, and the paper's two stages).

Source of the two stages: Zhang et al. 2024, section 3 and Eq. 2; of solving the linear parameters inside: Golub & Pereyra 1973.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from laws.solve import Target, minimise, residual, solve_linear
from laws.starts import starts_of
from laws.system import Block, Shared, System, place_of

REFINED = 24  # starts that are followed to the end, the best of the grid
ROUNDS = 24  # steps of each of them
POLISHED = 3  # starts that are followed on to a fine tolerance
SCREENED = 8  # steps of every start, where linear parameters do not give it its scale
SEARCHED = 4000  # points beyond which starts are followed on every k-th point, and only the best on all
AGREE = 1e-3  # starts agree when their objective is within this share of the best


@dataclass
class Solution:
    """A fitted system: normalised parameters, objective, and how sure the search was."""

    system: System
    linear_L: np.ndarray
    theta_P: np.ndarray
    objective: float
    converged: bool
    starts: int
    agreement: float


def fit_system(system: System, y_N, root_N, delta: float, log: bool = False) -> Solution:
    """The best fit of a system to responses `y_N` with root weights `root_N`; deterministic."""
    y_N, root_N = np.asarray(y_N, float), np.asarray(root_N, float)
    target = Target(y_N[None, :], root_N, np.ones((1, system.points)), float(delta), log)
    search, part = system, target
    if system.points > SEARCHED:
        search, rows = system.thin(-(-system.points // SEARCHED))
        part = Target(y_N[None, rows], root_N[rows], np.ones((1, len(rows))), float(delta), log)
    theta_SP = starts_of(system)
    linear_SL = solve_linear(search, part, theta_SP)
    cost_S = residual(search, part, linear_SL, theta_SP)[3]
    if len(theta_SP) > REFINED and not _solved_inside(system):
        # a start whose scale is off says little: a few steps first, then the choice
        linear_SL, theta_SP, cost_S, _ = minimise(search, part, linear_SL, theta_SP, rounds=SCREENED, tolerance=1e-3)
    keep = np.argsort(cost_S, kind="stable")[:REFINED]
    linear_SL, theta_SP, cost_S, done_S = minimise(search, part, linear_SL[keep], theta_SP[keep], rounds=ROUNDS, tolerance=1e-8)
    best = int(np.argmin(cost_S))
    starts = len(cost_S)
    scale = float(np.sum((part.root_N * (1.0 if log else part.y_SN[0])) ** 2))
    agree = float(np.mean(cost_S <= cost_S[best] * (1 + AGREE) + 1e-16 * scale))
    # the polish: on from the best few, and from the best with its linear parameters solved anew, with a fine tolerance
    few = np.argsort(cost_S, kind="stable")[: POLISHED if system.points <= SEARCHED else 1]
    linear_SL, theta_SP = np.concatenate([linear_SL[few], linear_SL[best : best + 1]]), np.concatenate([theta_SP[few], theta_SP[best : best + 1]])
    if not log:
        linear_SL[-1] = solve_linear(system, target, theta_SP[-1:], rounds=30)
    linear_SL, theta_SP, cost_S, done_S = minimise(system, target, linear_SL, theta_SP, rounds=400, tolerance=1e-15)
    top = int(np.argmin(cost_S))
    return Solution(system, linear_SL[top], theta_SP[top], float(cost_S[top]), bool(done_S[top]), starts, agree)


def _solved_inside(system: System) -> bool:
    """Whether every block has linear parameters, so that the cost of a start already says how good its exponents are."""
    return all(b.form.linear and len(b.form.linear) == len(b.form.columns) for b in system.blocks)


@dataclass
class Law:
    """One law that a procedure fits: its block, responses, root weights and, for each point, the id of the cell behind it."""

    block: Block
    y_N: np.ndarray
    root_N: np.ndarray
    cells: list
    strata: list = field(default_factory=list)

    @property
    def label(self) -> str:
        return self.block.label


class Procedure:
    """All that is fitted together for one (task, method, response, form), so that a draw can redo every stage.

    `shared` says which parameters are common to which laws: a set of names (one value for all laws), or {name: {label: group}} as in
    `System`, which names the laws of `second` too. Laws of `second` take `held` parameters from the first stage's law with the same
    group (the paper's second stage) and fit the rest alone. Without a second stage `second` is empty.
    """

    def __init__(self, first: list[Law], shared: Shared = frozenset(), second: list[Law] | None = None, held: tuple[str, ...] = (), *, delta: float, log: bool = False):
        self.first, self.second = first, second or []
        self.shared, self.held = shared, tuple(held)
        self.delta, self.log = float(delta), log
        self.system = System([law.block for law in first], self.shared)
        self.y_N = np.concatenate([law.y_N for law in first])
        self.root_N = np.concatenate([law.root_N for law in first])
        for law in self.second:
            for name in set(self.held) & set(law.block.form.parameters):
                self._place(name, law)
        self.later = [System([law.block], centres=self._centres(law)) for law in self.second]

    def _place(self, name: str, law: Law) -> int:
        """The column of the first stage in which a held parameter of a second-stage law stands."""
        places = self.system.places
        place = place_of(name, law.label, self.shared)
        if place not in places:
            raise ValueError(f"{name} of {law.label} is held, but no law of the first stage shares it")
        return places[place]

    def _centres(self, law: Law) -> dict[str, float]:
        """The centres on which held parameters of the first stage were fitted."""
        out: dict[str, float] = {}
        for name in self.held:
            place = place_of(name, law.label, self.shared)
            for b, other in enumerate(self.first):
                if name in other.block.form.parameters and place_of(name, other.label, self.shared) == place:
                    out.update({symbol: self.system.centres[b][symbol] for symbol, _ in law.block.form.units.get(name, {})})
                    break
        return out

    @property
    def laws(self) -> list[Law]:
        """The laws that come out, in order."""
        return self.second or self.first

    def fit(self) -> tuple[dict[str, np.ndarray], Solution, dict[str, Solution]]:
        """({label: parameters [q] in the user's units}, the first stage, {label: the second stage's solution})."""
        solution = fit_system(self.system, self.y_N, self.root_N, self.delta, self.log)
        self.solution = solution
        if not self.second:
            users = self.system.user(solution.linear_L[None], solution.theta_P[None])
            return {law.label: u[0] for law, u in zip(self.first, users)}, solution, {}
        out, later = {}, {}
        for law, system in zip(self.second, self.later):
            out[law.label], later[law.label] = self._fit_second(law, system, solution)
        return out, solution, later

    def _held(self, law: Law, system: System, linear_SL, theta_SP):
        """Free masks and held values of a second stage, taken from the first stage's normalised parameters."""
        form = system.blocks[0].form
        fixed_L = np.array([n in self.held for n in form.linear])
        fixed_P = np.array([n in self.held for n in form.exponents])
        values_L = {n: linear_SL[:, self._place(n, law)] for n in form.linear if n in self.held}
        values_P = {n: theta_SP[:, self._place(n, law)] for n in form.exponents if n in self.held}
        return fixed_L, fixed_P, values_L, values_P

    def _fit_second(self, law: Law, system: System, solution: Solution):
        form = system.blocks[0].form
        fixed_L, fixed_P, values_L, values_P = self._held(law, system, solution.linear_L[None], solution.theta_P[None])
        grid_SP = np.unique(starts_of(system)[:, ~fixed_P], axis=0)
        theta_SP = np.zeros((len(grid_SP), len(form.exponents)))
        theta_SP[:, ~fixed_P] = grid_SP
        for name, value in values_P.items():
            theta_SP[:, form.exponents.index(name)] = value
        target = Target(law.y_N[None], law.root_N, np.ones((1, system.points)), self.delta, self.log)
        linear_SL = solve_linear(system, target, theta_SP)
        for name, value in values_L.items():
            linear_SL[:, form.linear.index(name)] = value
        linear_SL[:, ~fixed_L] = np.maximum(linear_SL[:, ~fixed_L], 1e-3 * np.mean(law.y_N))
        linear_SL, theta_SP, cost_S, done_S = minimise(system, target, linear_SL, theta_SP, free_L=~fixed_L, free_P=~fixed_P, rounds=400)
        best = int(np.argmin(cost_S))
        agree = float(np.mean(cost_S <= cost_S[best] * (1 + AGREE) + 1e-16 * np.sum(law.y_N**2)))
        out = Solution(system, linear_SL[best], theta_SP[best], float(cost_S[best]), bool(done_S[best]), len(cost_S), agree)
        return system.user(out.linear_L[None], out.theta_P[None])[0][0], out

    def redo(self, y: dict, counts: dict[str, np.ndarray] | None, later: dict[str, Solution]) -> dict[str, np.ndarray]:
        """Fit all stages again to drawn responses and counts; {label: [S, q]} in the user's units.

        `y` holds [S, n] (or [1, n]) by ("first", label) for laws of the first stage and by label for those of a second; `counts` [S, n] by label.
        Each draw starts from the fit itself with its linear parameters solved anew.
        """
        y_first = np.concatenate([y["first", law.label] for law in self.first], axis=1)
        count = np.ones((1, y_first.shape[1])) if counts is None else np.concatenate([counts[law.label] for law in self.first], axis=1)
        target = Target(y_first, self.root_N, count, self.delta, self.log)
        linear_SL, theta_SP = self._warm(self.system, target, self.solution)
        if not self.second:
            return {law.label: u for law, u in zip(self.first, self.system.user(linear_SL, theta_SP))}
        out = {}
        for law, system in zip(self.second, self.later):
            form = system.blocks[0].form
            fixed_L, fixed_P, values_L, values_P = self._held(law, system, linear_SL, theta_SP)
            start = later[law.label]
            lin = np.repeat(start.linear_L[None], len(linear_SL), axis=0)
            the = np.repeat(start.theta_P[None], len(linear_SL), axis=0)
            for name, value in values_L.items():
                lin[:, form.linear.index(name)] = value
            for name, value in values_P.items():
                the[:, form.exponents.index(name)] = value
            mine = np.ones((1, system.points)) if counts is None else counts[law.label]
            t = Target(y[law.label], law.root_N, mine, self.delta, self.log)
            lin, the, _, _ = minimise(system, t, lin, the, free_L=~fixed_L, free_P=~fixed_P, rounds=80, tolerance=1e-9, near=True)
            out[law.label] = system.user(lin, the)[0]
        return out

    def _warm(self, system: System, target: Target, solution: Solution):
        draws = max(len(target.y_SN), len(target.count_SN))
        theta = np.repeat(solution.theta_P[None], draws, axis=0)
        linear = np.repeat(solution.linear_L[None], draws, axis=0)
        if not target.log:
            linear = solve_linear(system, target, theta, rounds=2)
        linear, theta, _, _ = minimise(system, target, linear, theta, rounds=80, tolerance=1e-9, near=True)
        return linear, theta
