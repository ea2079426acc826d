"""The automatic extrapolation of every curve of a table (`forms: auto`): what is predicted beyond its data, and how it did on held-out cells."""

from __future__ import annotations

import numpy as np

from laws.baselines import error_of
from laws.choice import LEVELS, extrapolate
from laws.questions import Question

STEPS = (2, 4, 8, 16, 32, 64, 128)  # times the largest fitted size


def of_questions(asked: list[Question]) -> list[dict]:
    """One entry for each curve that a law of D alone was asked of; curves of one method and response lend each other what is common."""
    places: dict[tuple, Question] = {}
    for q in asked:
        if set(q.form.symbols) == {"D"} and q.fitted and all(c.mean > 0 for c in q.fitted):
            places.setdefault(q.place, q)
    out = []
    for kind in dict.fromkeys((q.method, q.response) for q in places.values()):
        mine = [q for q in places.values() if (q.method, q.response) == kind]
        curves = [tuple(np.array(v, float) for v in zip(*((c.factors[q.data], c.mean, c.count) for c in q.fitted))) for q in mine]
        beyond = [np.max(d) * np.array(STEPS, float) for d, *_ in curves]
        most = max(len(q.held) for q in mine)
        held = [[c.factors[q.data] for c in q.held] + [float(np.max(d))] * (most - len(q.held)) for q, (d, *_) in zip(mine, curves)]
        far = extrapolate(curves, np.array(beyond))
        near = extrapolate(curves, np.array(held)) if most else None
        for i, q in enumerate(mine):
            points = [
                {"examples": float(d), "value": float(far.value[i, j]), **{f"{side}{round(100 * level)}": float(ends[level][i, j]) for level in LEVELS for side, ends in (("low", far.low), ("high", far.high))}}
                for j, d in enumerate(beyond[i])
            ]
            out.append({
                **dict(zip(("task", "method", "response", "factor", "group"), q.place)), "points": points, "weights": far.weights, "origins": far.origins,
                "curves": len(mine), "held_out_error": error_of(None if near is None else near.value[i, : len(q.held)], q.held),
            })  # fmt: skip
    return out
