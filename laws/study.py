"""From a table and a request to laws: which cells belong to which law, what is fitted together, and one entry a law."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from laws import intervals
from laws.baselines import NAMES, Baselines, error_of
from laws.fitting import Law, Procedure
from laws.forms import FORMS, Form, all_factors
from laws.points import Cell, Variance, cells_of, root_weights, usable, weigh
from laws.request import at_default, settings_of, symbol_of
from laws.system import Block
from laws.table import Table

DELTA_WITHOUT_SEEDS = 1e-3
DELTA_FLOOR = 1e-4
HUBER = 1.345  # of a standard deviation: 95 % efficiency with normal errors
LISTED = 1000  # cells that an entry lists


@dataclass
class Question:
    """One law that is asked for: its cells, its factors and the form; `refused` where it cannot be fitted."""

    task: str
    method: str
    response: str
    factor: str
    group: str
    form: Form
    symbols: dict[str, str]
    fitted: list[Cell]
    held: list[Cell]
    refused: str | None = None
    reason: str = ""
    needed: int | None = None
    parameters: np.ndarray | None = None
    draws: np.ndarray | None = None
    extra: dict = field(default_factory=dict)

    @property
    def name(self) -> tuple:
        return (self.task, self.method, self.response, self.factor, self.group, self.form.name)

    def factors(self, cells: list[Cell]) -> dict[str, np.ndarray]:
        """{symbol: values} of some cells."""
        return {s: np.array([c.factors[column] for c in cells]) for s, column in self.symbols.items()}

    def predict(self, cells: list[Cell]) -> np.ndarray:
        """The fitted law at some cells."""
        return self.form.value(self.parameters[None], self.factors(cells))[0]


@dataclass
class Response:
    """All cells of one response, and the variance model of its fitted cells for each task."""

    name: str
    cells: list[Cell]
    variance: dict[str, Variance]
    unused: dict[str, np.ndarray]
    log: bool


def gather(table: Table, request: dict, response: str) -> Response:
    """Cells of a response; standard errors come from fitted cells alone, so that a hold-out never touches a fit."""
    log = request["fit"]["residual"] == "log"
    keys = list(dict.fromkeys([*settings_of(request), *request["factors"], request["data"]]))
    cells, _ = cells_of(table, response, keys, request["data"], log)
    variance = {}
    for task in sorted({c.task for c in cells}):
        own = [c for c in cells if c.task == task and not c.held_out]
        variance[task] = weigh(own, request["data"], log)
        for cell in cells:
            if cell.task == task and cell.held_out:
                value = variance[task].of(cell.method, cell.factors.get(request["data"], 0.0))
                cell.se = None if value is None else float(np.sqrt(value / cell.count))
    return Response(response, cells, variance, usable(table, response)[1], log)


def questions(table: Table, request: dict, data: Response) -> list[Question]:
    """Every law that the request asks of one response, in a fixed order."""
    out = []
    d = request["data"]
    usable = [c for c in data.cells if c.factors.get(d, 0) > 0 and c.method != "none"]
    values = {c.key: {s: table[s][c.rows[0]] for s in settings_of(request) if s in table} for c in usable}
    pairs = sorted({(c.task, c.method) for c in usable})
    varied = []
    for task, method in pairs:
        own = [c for c in usable if c.task == task and c.method == method]
        kept = []
        for factor in request["factors"]:
            others = [s for s in settings_of(request) if s not in request["owners"][factor]]
            rows = [c for c in own if c.factors.get(factor, np.nan) > 0 and all(at_default(request, s, method, values[c.key].get(s, "")) for s in others)]
            levels = {c.factors[factor] for c in rows}
            if len(levels) < 2 and _others_vary(request, factor, usable):
                continue  # this method does not vary it, or has no such factor
            if len(levels) < 2 and not request["asked"]:
                continue
            if not rows:
                continue
            varied.append(factor)
            if len({c.factors[factor] for c in rows if not c.held_out}) >= 3:
                kept.append(factor)
            for form in request["forms"]:
                if form != "power":
                    symbols = {"X": factor, "D": d}
                    out.append(_question(task, method, data, factor, "factor", FORMS[form], symbols, rows))
        if len(kept) > 1 and any(f != "power" for f in request["forms"]):
            free = {s for f in kept for s in request["owners"][f]}
            others = [s for s in settings_of(request) if s not in free]
            rows = [c for c in own if all(c.factors.get(f, np.nan) > 0 for f in kept) and all(at_default(request, s, method, values[c.key].get(s, "")) for s in others)]
            symbols = {"N" if symbol_of(request, f) == "X" else symbol_of(request, f): f for f in kept}
            if len(symbols) == len(kept):
                out.append(_question(task, method, data, "all", "all", all_factors(tuple(symbols)), {**symbols, "D": d}, rows))
        if "power" in request["forms"]:
            out.extend(_powers(request, data, task, method, own, values))
    return out


def _others_vary(request, factor, cells) -> bool:
    """Whether the factor varies, or another factor does, somewhere: then a method without levels is passed over in silence."""
    spread = lambda f: len({c.factors.get(f) for c in cells if c.factors.get(f, 0) > 0}) > 1  # noqa: E731
    return any(spread(f) for f in request["factors"])


def _powers(request, data, task, method, own, values) -> list[Question]:
    sizes = [f for f in request["factors"] if not request["foreign"] and "model_size" in request["owners"][f]] or request["factors"][:1]
    d = request["data"]
    if not sizes:
        return [_question(task, method, data, d, "", FORMS["power"], {"D": d}, own)]
    factor, out = sizes[0], []
    others = [s for s in settings_of(request) if s not in request["owners"][factor]]
    rows = [c for c in own if all(at_default(request, s, method, values[c.key].get(s, "")) for s in others)]
    for level in sorted({c.factors[factor] for c in rows if c.factors.get(factor, 0) > 0}):
        mine = [c for c in rows if c.factors[factor] == level]
        setting = request["owners"][factor][0]
        name = values[mine[0].key].get(setting, level)
        name = name if isinstance(name, str) and name else f"{level:.6g}"
        out.append(_question(task, method, data, d, f"{setting}={name}", FORMS["power"], {"D": d}, mine))
    return out


def _question(task, method, data: Response, factor, group, form, symbols, cells) -> Question:
    cells = sorted(cells, key=lambda c: (tuple(c.factors[f] for f in symbols.values()), c.key))
    q = Question(task, method, data.name, factor, group, form, symbols, [c for c in cells if not c.held_out], [c for c in cells if c.held_out])
    q.needed = form.minimum
    _refuse(q)
    return q


def _refuse(q: Question, needed: int | None = None) -> None:
    needed = q.needed if needed is None else needed
    q.refused, q.reason, q.needed = None, "", needed
    y = np.array([c.mean for c in q.fitted])
    levels = {s: len({c.factors[f] for c in q.fitted}) for s, f in q.symbols.items()}
    short = {s: n for s, n in levels.items() if n < (3 if s != "D" or q.form.name == "power" else 2)}
    if len(y) == 0:
        q.refused, q.reason = "TOO_FEW_POINTS", f"no fitted cell is left for this law; {needed} are needed"
    elif np.any(y <= 0):
        bad = q.fitted[int(np.argmin(y))]
        q.refused, q.reason = "NOT_POSITIVE", f"{q.response} is {bad.mean:.6g} in a cell; the laws describe positive losses"
    elif short:
        s, n = next(iter(short.items()))
        least = 2 if s == "D" and q.form.name != "power" else 3
        q.refused, q.reason = "TOO_FEW_LEVELS", f"{q.symbols[s]} has {n} fitted value{'s' * (n != 1)}; {least} are needed"
    elif len(y) < needed:
        q.refused, q.reason = "TOO_FEW_POINTS", f"{len(y)} fitted cells; {q.form.name} has {len(q.form.parameters)} parameters and needs {needed}"
    elif np.ptp(y) <= 1e-9 * np.max(np.abs(y)):
        q.refused, q.reason = "CONSTANT_RESPONSE", f"{q.response} is {y[0]:.6g} in every fitted cell; there is nothing that a law could explain"


def delta_of(request: dict, data: Response, task: str, method: str) -> float:
    """Huber's delta: a number as asked, or 1.345 pooled seed deviations (1e-3 where there are none)."""
    asked = request["fit"]["delta"]
    if asked != "auto":
        return float(asked)
    deviation = data.variance[task].deviation(method) if task in data.variance else None
    return DELTA_WITHOUT_SEEDS if not deviation else max(HUBER * deviation, DELTA_FLOOR)


def answer(request: dict, data: Response, asked: list[Question]) -> None:
    """Fit all questions of one response: alone, with shared parameters, or in the paper's two stages."""
    by: dict[tuple, list[Question]] = {}
    for q in asked:
        together = q.group == "factor" and (request["stages"] == "paper" or bool(request["shared"]))
        by.setdefault((q.task, q.method, q.form.name) + (() if together else (q.factor, q.group)), []).append(q)
    for group in by.values():
        if group[0].group == "factor" and request["stages"] == "paper":
            _paper(request, data, group)
        elif group[0].group == "factor" and request["shared"]:
            _joint(request, data, group)
        else:
            for q in group:
                if not q.refused:
                    _run(request, data, [q], Procedure([_law(q)], delta=delta_of(request, data, q.task, q.method), log=data.log), "joint")


def _law(q: Question) -> Law:
    d = q.symbols["D"]
    strata = [tuple((f, c.factors[f]) for f in sorted(c.factors) if f != d and c.factors[f] == c.factors[f]) for c in q.fitted]
    return Law(
        Block(q.factor, q.form, q.factors(q.fitted)), np.array([c.mean for c in q.fitted]), root_weights(q.fitted), [c.key for c in q.fitted], strata
    )


def _joint(request, data, group: list[Question]) -> None:
    shared = {n for n in request["shared"] if n in group[0].form.parameters}
    for q in group:
        _refuse(q, len([n for n in q.form.parameters if n not in shared]) + 3 if len(group) > 1 else None)
    live = [q for q in group if not q.refused]
    if len(live) == 1:
        _refuse(live[0], live[0].form.minimum)
        live = [q for q in live if not q.refused]
    if live:
        one = live[0]
        procedure = Procedure([_law(q) for q in live], shared if len(live) > 1 else set(), delta=delta_of(request, data, one.task, one.method), log=data.log)
        _run(request, data, live, procedure, "joint")


def _paper(request, data, group: list[Question]) -> None:
    """Stage 1: beta and E over model size and pretraining tokens, A and alpha each; stage 2: A and alpha with beta and E held."""
    held = ("beta", "E")
    own = len([n for n in group[0].form.parameters if n not in held])
    for q in group:
        _refuse(q, own + 3)
    first = [q for q in group if not q.refused and q.factor != "peft_parameters"]
    points = sum(len(q.fitted) for q in first)
    size = own * len(first) + 2
    if not first or points < size + 3:
        for q in group:
            if not q.refused:
                q.refused, q.needed = "TOO_FEW_POINTS", size + 3
                q.reason = f"stage 1 (beta and E over model size and pretraining tokens) has {points} fitted cells and needs {max(size + 3, q.form.minimum)}"
        return
    live = [q for q in group if not q.refused]
    one = first[0]
    procedure = Procedure(
        [_law(q) for q in first], set(held), [_law(q) for q in live], held, delta=delta_of(request, data, one.task, one.method), log=data.log
    )
    _run(request, data, live, procedure, "paper")


def _run(request, data: Response, live: list[Question], procedure: Procedure, stage: str) -> None:
    values, first, later = procedure.fit()
    cells = {key for law in procedure.laws + procedure.first for key in law.cells}
    levels = min(len({c.factors[f] for c in q.fitted}) for q in live for f in q.symbols.values())
    kind = intervals.choose(request["intervals"], len(cells), levels, len(procedure.y_N))
    draws = None
    if kind != "none":
        rng = intervals.seed_of(*[part for q in live for part in q.name])
        draws = intervals.draw(procedure, first, later, kind, rng)
    for i, q in enumerate(live):
        q.parameters = values[q.factor]
        q.draws = None if draws is None else draws.values[q.factor]
        solution = later.get(q.factor, first)
        q.extra = {
            "objective": solution.objective, "converged": bool(first.converged and solution.converged), "starts": solution.starts,
            "agreement": min(first.agreement, solution.agreement), "delta": procedure.delta, "stages": stage,
            "shared": sorted(procedure.shared) if len(procedure.first) > 1 or procedure.second else [], "intervals": kind,
            "covariance": intervals.covariance(procedure, first, later, i, q.draws), "procedure": (procedure, first, later),
        }  # fmt: skip


def entry_of(request: dict, data: Response, q: Question, number: int, cache: dict) -> dict:
    """The entry of laws.json for one question, without its warnings."""
    def spread(cells, column):
        seen = [c.factors[column] for c in cells]
        return [float(min(seen)), float(max(seen))] if seen else None

    entry = {
        "id": f"law-{number:03d}", "task": q.task, "method": q.method, "response": q.response, "factor": q.factor, "group": q.group,
        "form": q.form.name, "expression": q.form.expression, "symbols": q.symbols, "parameters": {}, "covariance": None,
        "points": len(q.fitted), "held_out_points": len(q.held), "range": {f: spread(q.fitted, f) for f in q.symbols.values()},
        "levels": {f: sorted({float(c.factors[f]) for c in q.fitted})[:LISTED] for f in q.symbols.values()},
        "fit_error": None, "held_out_error": error_of(None, q.held), "baselines": {}, "converged": None,
        "warnings": [], "refused": q.refused, "reason": q.reason, "needed": q.needed if q.refused else None,
        "fit": None, "intervals": None, "cells": [],
    }  # fmt: skip
    if q.fitted and all(c.mean > 0 for c in q.fitted) and len(q.fitted) <= LISTED:
        entry["baselines"] = _baselines(request, data, q, cache)
    predicted = {}
    if not q.refused:
        for name, value in zip(q.form.parameters, q.parameters):
            low, high = (None, None) if q.draws is None else intervals.interval(q.draws[:, q.form.parameters.index(name)])
            entry["parameters"][name] = {"value": float(value), "low": low, "high": high}
        fit, held = q.predict(q.fitted), q.predict(q.held) if q.held else np.zeros(0)
        entry["fit_error"] = float(np.mean(np.abs(fit - [c.mean for c in q.fitted])))
        entry["held_out_error"] = error_of(held, q.held)
        entry["converged"] = q.extra["converged"]
        entry["fit"] = {
            "loss": "huber", "delta": q.extra["delta"], "residual": request["fit"]["residual"], "objective": q.extra["objective"],
            "starts": q.extra["starts"], "agreement": q.extra["agreement"], "stages": q.extra["stages"], "shared": q.extra["shared"],
        }  # fmt: skip
        entry["covariance"] = _covariance(q)
        entry["intervals"] = {"kind": q.extra["intervals"], "level": intervals.LEVEL, "draws": 0 if q.draws is None else len(q.draws), "given": intervals.GIVEN}
        predicted = dict(zip([c.key for c in q.fitted + q.held], [*map(float, fit), *map(float, held)]))
    root = root_weights(q.fitted) if q.fitted else []
    weights = dict(zip([c.key for c in q.fitted], [float(w) ** 2 for w in root]))
    if len(q.fitted) + len(q.held) <= LISTED:
        entry["cells"] = [
            {**{f: float(c.factors[f]) for f in q.symbols.values()}, "seen": c.mean, "se": c.se, "seeds": c.count, "weight": weights.get(c.key), "held_out": c.held_out, "predicted": predicted.get(c.key)}
            for c in q.fitted + q.held
        ]
    return entry


def _covariance(q: Question) -> dict | None:
    matrix = q.extra["covariance"]
    if matrix is None:
        return None
    names = [n if n not in q.form.linear or n == "E" else f"log {n}" for n in q.form.parameters]
    return {"names": names, "matrix": [[None if not np.isfinite(v) else float(v) for v in row] for row in matrix]}


def _baselines(request, data: Response, q: Question, cache: dict) -> dict:
    others = [f for s, f in q.symbols.items() if s != "D"]
    d = q.symbols["D"]
    levels = lambda cells: np.array([[np.log(c.factors[f]) for f in others] for c in cells]).reshape(len(cells), len(others))  # noqa: E731
    sizes = lambda cells: np.array([c.factors[d] for c in cells])  # noqa: E731
    naive = Baselines(levels(q.fitted), sizes(q.fitted), [c.mean for c in q.fitted], root_weights(q.fitted), delta_of(request, data, q.task, q.method), data.log, cache)
    out = {}
    for name in NAMES:
        fit = naive.predict(name, levels(q.fitted), sizes(q.fitted))
        held = naive.predict(name, levels(q.held), sizes(q.held)) if q.held else None
        seen = np.array([c.mean for c in q.fitted])
        out[name] = {"fit_error": None if fit is None else float(np.mean(np.abs(fit - seen))), "held_out_error": error_of(held, q.held)}
    return out


__all__ = ["Question", "Response", "answer", "entry_of", "gather", "questions"]
