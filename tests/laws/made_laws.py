"""Fitted laws made by hand, with known parameters and draws: nothing is fitted, so what is asked of them can be worked out apart."""

from __future__ import annotations

import numpy as np

import laws

SIZES = {"s": 1e7, "m": 1e8}
DATA = (100.0, 1000.0, 10_000.0)
TRUE = {"full": (60.0, 0.2, 0.3, 1.0), "lora": (12.0, 0.2, 0.1, 1.0)}  # A, alpha, beta, E
COST = {"full": 6.0, "lora": 4.0}  # FLOPs by parameter and example
FORGETS = {"full": 0.2, "lora": 0.05}  # nats by factor of ten in the data, from 100 examples on
NAMES = ("A", "alpha", "beta", "E")
COUNT = 400


def value(method, size, data):
    """The law itself, in the open."""
    a, alpha, beta, e = TRUE[method]
    return a * size**-alpha * data**-beta + e


def entry(number, method, parameters, form="multiplicative", held=0.01, task="t", response="test_loss"):
    """One law as laws.json holds it."""
    cells = [
        {"n": n, "d": d, "seen": value(method, n, d), "se": 0.005, "seeds": 4, "weight": 1.0, "held_out": "", "predicted": value(method, n, d) + 0.001 * (-1) ** k}
        for k, (n, d) in enumerate((n, d) for n in SIZES.values() for d in DATA)
    ]
    return {
        "id": f"law-{number:03d}", "task": task, "method": method, "response": response, "factor": "n", "group": "factor", "form": form,
        "expression": "A * X**-alpha * D**-beta + E", "symbols": {"X": "n", "D": "d"}, "refused": None, "reason": "", "warnings": [],
        "parameters": {k: {"value": v, "low": None, "high": None} for k, v in zip(NAMES, parameters)}, "range": {"n": [1e7, 1e8], "d": [100.0, 10_000.0]},
        "levels": {"n": [1e7, 1e8], "d": list(DATA)}, "held_out_error": {"all": held}, "fit_error": 0.001, "cells": cells, "fit": {"delta": 0.01, "residual": "level"},
    }  # fmt: skip


def make(sd=0.002, methods=TRUE) -> laws.Laws:
    """Laws of two methods over n and d, their map, costs and forgetting; draws move E by `sd`, the two methods independently."""
    entries = [entry(k, m, TRUE[m]) for k, m in enumerate(methods)]
    draws = {}
    for k, e in enumerate(entries):
        own = np.repeat(np.array([TRUE[e["method"]]]), COUNT, axis=0)
        own[:, 3] += np.random.default_rng(k).normal(0, sd, COUNT)
        draws[e["id"]] = own
    places = []
    for name, n in SIZES.items():
        for d in DATA:
            base = {"task": "t", "factor": "n", "at": n, "at_name": name, "examples": d, "leader": "full", "tied": [], "lead": None, "law_lead": None, "held_out": ""}
            places.append({**base, "response": "test_loss", "base": 3.5, "methods": {m: {"mean": value(m, n, d), "se": 0.005, "seeds": 4} for m in methods}})
            rise = {m: {"mean": 2.0 + FORGETS[m] * np.log10(d / 10), "se": 0.01, "seeds": 4} for m in methods}
            places.append({**base, "response": "pretraining_loss", "base": 2.0, "methods": rise})
    costs = [
        {"task": "t", "method": m, "factor": "n", "at": n, "at_name": name, "points": [[d, COST[m] * n * d] for d in DATA]} for m in methods for name, n in SIZES.items()
    ]
    headline = [{
        "task": "t", "method": m, "response": "test_loss", "factor": "n", "group": "factor", "winner": "multiplicative", "kind": "form", "law": e["id"],
        "held_out_error": 0.01, "cells": 3, "candidates": [], "reason": "",
    } for m, e in zip(methods, entries)]  # fmt: skip
    request = {"responses": ["test_loss"], "factors": ["n"], "forms": ["multiplicative"], "defaults": {}, "data": "d"}
    made = laws.Laws(
        tunelaw=1, headline=headline, laws=entries, crossings=[], map=places, costs=costs, pareto=[], correlations=[], warnings=[], request=request,
        data={"test_sets": {}, "tokenizer": None, "digests": {}}, rows=24, draws=draws,
    )  # fmt: skip
    return made
