"""How far the crossings of one laws.json have moved in another: the ratio of the data sizes, with an interval.

Where both are roots of fitted laws, the roots are found again in every draw of both. Where they come from the runs themselves no draws
are kept, and the interval is made from the two intervals (Zou & Donner 2008, Stat. Med. 27, 1693: variance estimates recovery, in logs).
"""

from __future__ import annotations

import numpy as np

from laws.difference import pairs_of, spread
from laws.predict import LawError, Laws, predict_draws

GRID = 161
NEAR = 0.02  # levels of a factor within this share of each other are the same level


def crossings_of(first: Laws, second: Laws, blocked: dict[str, str]) -> list[dict]:
    """Every comparison of two methods that both files hold: kinds, data sizes, `shift` = second / first with an interval where both have one.

    Entries: {task, response, factor, at, at_name, methods, source, cost, first, second, shift, changed}; several roots at one place are
    matched in order. Those of a response in `blocked` are left out.
    """
    one, two = _grouped(first), _grouped(second)
    out = []
    for key, mine in one.items():
        theirs = _at(two, key, mine[0])
        if theirs is None or key[1] in blocked:
            continue
        for k in range(max(len(mine), len(theirs))):
            a, b = (found[min(k, len(found) - 1)] if k < len(found) or not _root(found[-1]) else None for found in (mine, theirs))
            entry = a or b
            out.append({
                **{name: entry[name] for name in ("task", "response", "factor", "at", "at_name", "source", "cost", "form")},
                "methods": [entry["first"], entry["second"]], "first": _said(a), "second": _said(b), "changed": _kind(a) != _kind(b), "shift": None,
            })  # fmt: skip
            if a and b and _root(a) and _root(b) and a["kind"] == b["kind"]:
                out[-1]["shift"] = _shift(first, second, a, b)
    return out


def _grouped(laws: Laws) -> dict[tuple, list[dict]]:
    out: dict[tuple, list[dict]] = {}
    for c in laws.get("crossings") or []:
        key = (c["task"], c["response"], c["factor"], c["first"], c["second"], c["source"], c["cost"], str(c["at_name"]))
        out.setdefault(key, []).append(c)
    return out


def _at(groups, key, mine):
    """The comparisons of the other file at the same level: of that name, or of nearly that value."""
    if key in groups and (mine["at"] is None or groups[key][0]["at"] is None or _near(mine["at"], groups[key][0]["at"])):
        return groups[key]
    for other, found in groups.items():
        if other[:-1] == key[:-1] and mine["at"] is not None and found[0]["at"] is not None and _near(mine["at"], found[0]["at"]):
            return found
    return None


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= NEAR * max(abs(a), abs(b))


def _root(c: dict) -> bool:
    return bool(c["examples"]) and c["examples"]["value"] is not None


def _kind(c: dict | None):
    return None if c is None else (c["kind"], c["leader_before"], c["leader"])


def _said(c: dict | None) -> dict | None:
    return None if c is None else {k: c.get(k) for k in ("kind", "examples", "leader", "leader_before", "inside", "share", "refused")}


def _shift(first: Laws, second: Laws, a: dict, b: dict) -> dict:
    """{value, low, high, from, share}: how many times as many examples the second's root needs."""
    value = b["examples"]["value"] / a["examples"]["value"]
    drawn = [_drawn(laws, c) for laws, c in ((first, a), (second, b))] if a["source"] == "laws" and a["cost"] == "data" else [None, None]
    if all(d is not None for d in drawn):
        i, j = pairs_of(len(drawn[0]), len(drawn[1]))
        moved = drawn[1][j] - drawn[0][i]
        moved = moved[np.isfinite(moved)]
        if len(moved) >= 100:
            low, high = np.exp(spread(moved))
            return {"value": value, "low": float(low), "high": float(high), "from": "draws", "share": float(len(moved) / len(i))}
    ends = [c["examples"].get(side) for c in (a, b) for side in ("low", "high")]
    if any(v is None for v in ends):
        return {"value": value, "low": None, "high": None, "from": "intervals", "share": None}
    x, xl, xh = np.log([a["examples"]["value"], *ends[:2]])
    y, yl, yh = np.log([b["examples"]["value"], *ends[2:]])
    low, high = y - x - np.hypot(y - yl, xh - x), y - x + np.hypot(yh - y, x - xl)
    return {"value": value, "low": float(np.exp(low)), "high": float(np.exp(high)), "from": "intervals", "share": None}


def _drawn(laws: Laws, c: dict) -> np.ndarray | None:
    """The logarithm of the root nearest to the crossing under each draw, [S]; NaN where a draw has none. None without draws."""
    pair = []
    for method in (c["first"], c["second"]):
        found = laws.find(task=c["task"], response=c["response"], factor=c["factor"], method=method, form=c["form"])
        if not found or found[0]["id"] not in laws.draws:
            return None
        pair.append(found[0])
    data = pair[0]["symbols"]["D"]
    if data not in pair[1]["range"]:
        return None
    low = max(e["range"][data][0] for e in pair) / 3
    high = min(e["range"][data][1] for e in pair) * 3
    if not 0 < low < high:
        return None
    logs = np.linspace(np.log(low), np.log(high), GRID)
    at = {data: np.exp(logs), **({} if c["at"] is None else {c["factor"]: c["at"]})}
    try:
        gap_SN = predict_draws(pair[0], at, laws.draws) - predict_draws(pair[1], at, laws.draws)
    except LawError:  # a law of more factors than the crossing names
        return None
    root = np.log(c["examples"]["value"])
    before, after = gap_SN[:, :-1], gap_SN[:, 1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        place_SN = logs[:-1] + (logs[1:] - logs[:-1]) * before / (before - after)
    far_SN = np.where((before > 0) != (after > 0), np.abs(place_SN - root), np.inf)
    nearest = np.argmin(far_SN, axis=1)
    rows = np.arange(len(far_SN))
    return np.where(np.isfinite(far_SN[rows, nearest]), place_SN[rows, nearest], np.nan)
