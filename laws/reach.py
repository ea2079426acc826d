"""How far a law's data carry it: the factor by which a value may lie outside the fitted range, and the warning where it lies further.

The rule: half of the fitted range, in logarithms. A law fitted from D = 100 to 10,000 (a hundredfold) may be asked tenfold further on
either side. With fewer than four fitted values (three of D) it is threefold at most: so few cannot show that a power law bends.
"""

from __future__ import annotations

import numpy as np

from laws.explanations import note

FEW, FEW_FACTOR = {"D": 3}, 3.0  # fewer fitted values than this (four for any symbol but D) carry no further than FEW_FACTOR


def carries(low: float, high: float, count: int, symbol: str = "") -> float:
    """The factor (at least 1) by which `count` fitted values from `low` to `high` carry a law beyond either end."""
    if not (0 < low < high):
        return 1.0
    factor = float(np.sqrt(high / low))
    return min(factor, FEW_FACTOR) if count < FEW.get(symbol, 4) else factor


def distance(low: float, high: float, value) -> np.ndarray:
    """By which factor (at least 1) values lie outside low to high; 1 inside."""
    value = np.asarray(value, float)
    with np.errstate(divide="ignore"):
        return np.maximum(1.0, np.maximum(value / high, low / value))


def further(entry: dict, at: dict) -> list[dict]:
    """Where `at` ({column or symbol: number or array}) lies further outside a law's data than they carry it.

    Each is {factor (the column), value (the furthest), distance, carries}: `distance` the factor outside, `carries` what is supported.
    """
    out = []
    for symbol, column in entry["symbols"].items():
        given = at.get(column, at.get(symbol))
        span = entry["range"].get(column)
        if given is None or span is None or not 0 < span[0]:
            continue
        values = np.atleast_1d(np.asarray(given, float))
        values = values[values > 0]
        if not len(values):
            continue
        away, limit = distance(*span, values), carries(*span, len(entry["levels"][column]), symbol)
        if away.max() > limit * (1 + 1e-9):
            i = int(np.argmax(away))
            out.append({"factor": column, "value": float(values[i]), "distance": float(away[i]), "carries": limit})
    return out


def extrapolation(entry: dict, at: dict, what: str = "the prediction") -> dict | None:
    """EXTRAPOLATION where `at` lies further outside a law's data than they carry it, else None; `what` is asked there, for the message."""
    found = further(entry, at)
    if not found:
        return None
    words = [f"{f['factor']} {f['value']:,.6g} lies {f['distance']:.3g} times outside the fitted range, which carries {f['carries']:.3g} times" for f in found]
    return note("EXTRAPOLATION", f"{what} is beyond what the data support: {'; '.join(words)}", factors=found)


def of_held_out(q, entry: dict) -> list[dict]:
    """EXTRAPOLATION of a law whose held-out cells lie further out than its data carry it."""
    if not q.held:
        return []
    found = extrapolation(entry, {column: [c.factors[column] for c in q.held] for column in q.symbols.values()}, "the held-out error")
    return [found] if found else []


def of_crossings(entries: list[dict], crossings: list[dict], data: str) -> list[dict]:
    """EXTRAPOLATION of every root of two laws that lies further out than the data of either carry it."""
    out = []
    for c in crossings:
        if c["source"] != "laws" or c["kind"] != "crossing" or c["inside"] or not c["examples"]:
            continue
        mine = [e for e in entries if not e["refused"] and e["form"] == c["form"] and e["method"] in (c["first"], c["second"]) and e["task"] == c["task"] and e["factor"] == c["factor"] and e["group"] == "factor"]
        for entry in mine:
            found = extrapolation(entry, {data: c["examples"]["value"]}, f"the crossing of {c['first']} and {c['second']}" + (f" at {c['at_name']}" if c["at_name"] else ""))
            if found:
                out.append({**found, "task": c["task"], "response": c["response"], "factor": c["factor"], "form": c["form"], "method": entry["method"]})
                break
    return out
