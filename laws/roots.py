"""Where two methods' laws cross: all roots of L1 - L2 over the data, each with an interval and the share of draws that have one.

Searched from a third of the smaller to three times the larger end that both methods share; beyond three times either method's own range
of D nothing is said (refused). A pair without a root still reports the share of its draws that have one: the rate of false roots.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from laws.predict import predict, predict_draws

REACH = 3.0
GRID = 241


def roots_of(first: dict, second: dict, factors: dict, draws: dict, data: str) -> dict:
    """All crossings of two law entries in D at fixed other `factors` ({column: value}).

    Returns {refused, reason, low, high, roots: [{value, low, high, inside, before, after}], share, limits: difference at both ends}.
    """
    ranges = [first["range"][data], second["range"][data]]
    low, high = max(r[0] for r in ranges) / REACH, min(r[1] for r in ranges) * REACH
    if low >= high:
        return {"refused": "OUT_OF_RANGE", "reason": f"the methods' ranges of {data} lie more than {REACH:g} times apart"}
    grid = np.geomspace(low, high, GRID)
    at = {**factors, data: grid}
    gap = predict(first, at).value - predict(second, at).value
    exact = lambda log_d: float(  # noqa: E731
        predict(first, {**factors, data: np.exp(log_d)}).value - predict(second, {**factors, data: np.exp(log_d)}).value
    )
    logs = np.log(grid)
    found = []
    for i in _flips(gap[None])[0]:
        found.append(float(brentq(exact, logs[i], logs[i + 1])) if gap[i] * gap[i + 1] < 0 else float(logs[i + 1]))
    drawn = _drawn_roots(first, second, at, logs, draws)
    inner = (max(r[0] for r in ranges), min(r[1] for r in ranges))
    out = {"refused": None, "reason": "", "low": float(low), "high": float(high), "roots": [], "share": None}
    if drawn is not None:
        out["share"] = float(np.mean([len(r) > 0 for r in drawn]))
    for k, root in enumerate(found):
        bounds = [logs[0]] + [(a + b) / 2 for a, b in zip(found, found[1:])] + [logs[-1]]
        low_high = _interval(drawn, bounds[k], bounds[k + 1], len(found) == 1)
        before = exact(root - 1e-4)
        out["roots"].append({
            "value": float(np.exp(root)), "low": low_high[0], "high": low_high[1],
            "inside": bool(inner[0] <= np.exp(root) <= inner[1]), "before": "first" if before < 0 else "second",
        })  # fmt: skip
    return out


def _flips(gap_SN: np.ndarray) -> list[np.ndarray]:
    """For each row the indices after which the sign changes."""
    sign = np.where(gap_SN > 0, 1, -1)
    return [np.flatnonzero(row[1:] != row[:-1]) for row in sign]


def _drawn_roots(first, second, at, logs, draws):
    if first["id"] not in draws or second["id"] not in draws:
        return None
    gap_SN = predict_draws(first, at, draws) - predict_draws(second, at, draws)
    out = []
    for row, flips in zip(gap_SN, _flips(gap_SN)):
        out.append([logs[i] + (logs[i + 1] - logs[i]) * row[i] / (row[i] - row[i + 1]) for i in flips])
    return out


def _interval(drawn, low, high, alone: bool):
    """The central 95 % of the draws' roots that belong to this root (all of them where it is alone: then the nearest in each draw)."""
    if drawn is None:
        return None, None
    mine = [r for row in drawn for r in row if alone or low <= r <= high]
    if len(mine) < 20:
        return None, None
    return tuple(float(v) for v in np.exp(np.quantile(mine, [0.025, 0.975])))


def compare_laws(entries: list[dict], draws: dict, slices, request: dict) -> list[dict]:
    """Crossings of the laws of every two methods at every level of each factor; one form for a pair, the one that extrapolates best."""
    out = []
    by: dict[tuple, dict[str, list[dict]]] = {}
    for entry in entries:
        if entry["group"] == "factor":
            by.setdefault((entry["task"], entry["response"], entry["factor"]), {}).setdefault(entry["method"], []).append(entry)
    data = request["data"]
    for s in slices:
        methods = by.get((s.task, s.response, s.factor), {})
        names = sorted(m for m in s.methods if m in methods)
        for i, a in enumerate(names):
            for b in names[i + 1 :]:
                base = {
                    "task": s.task, "response": s.response, "factor": s.factor, "at": s.at, "at_name": s.at_name, "first": a, "second": b,
                    "source": "laws", "cost": "data", "form": None, "kind": "refused", "inside": False, "share": None, "examples": None,
                    "leader": None, "leader_before": None, "tie": [], "differences": [], "df": None, "rule": "", "refused": None, "reason": "",
                }  # fmt: skip
                one, two = _best_form(methods[a], methods[b])
                if one is None:
                    out.append({**base, "refused": "NO_LAW", "reason": f"{a} and {b} have no form in common that could be fitted"})
                    continue
                base["form"] = one["form"]
                found = roots_of(one, two, {s.factor: s.at}, draws, data)
                if found["refused"]:
                    out.append({**base, "refused": found["refused"], "reason": found["reason"]})
                    continue
                if not found["roots"]:
                    middle = {s.factor: s.at, data: np.sqrt(found["low"] * found["high"])}
                    leads = a if predict(one, middle).value < predict(two, middle).value else b
                    out.append({**base, "kind": "none", "inside": True, "share": found["share"], "leader": leads})
                for root in found["roots"]:
                    before = a if root["before"] == "first" else b
                    out.append({
                        **base, "kind": "crossing", "inside": root["inside"], "share": found["share"], "leader_before": before,
                        "leader": b if before == a else a, "examples": {k: root[k] for k in ("value", "low", "high")},
                    })  # fmt: skip
    return out


def _best_form(first: list[dict], second: list[dict]):
    """The entries of the form that both have fitted, with the lowest held-out error of the two together (else the first asked)."""
    other = {e["form"]: e for e in second if not e["refused"]}
    both = [(e, other[e["form"]]) for e in first if not e["refused"] and e["form"] in other]
    if not both:
        return None, None
    def error(pair):
        errors = [e["held_out_error"]["all"] for e in pair]
        return np.inf if None in errors else sum(errors)
    return min(both, key=error)
