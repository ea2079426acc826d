"""All that is said of methods against each other in one table: at equal data, at equal cost, the map of winners, learning against forgetting."""

from __future__ import annotations

from laws import common, costs, pareto, roots, winners
from laws.compare import compare


def compare_methods(result, table, request: dict, data, asked: list, entries: list[dict], slices: list) -> None:
    """Adds the comparisons of one response to `result` (crossings, costs, map, common draws)."""
    shared = common.draws_of(data, asked, [e["id"] for e in entries])
    result.draws.update({common.PREFIX + name: values for name, values in shared.items()})
    draws = {**{e["id"]: result.draws[e["id"]] for e in entries if e["id"] in result.draws}, **shared}
    known = {(c["task"], c["method"], c["factor"], c["at"]) for c in result["costs"]}
    result["costs"] += [c for c in costs.curves_of(table, slices) if (c["task"], c["method"], c["factor"], c["at"]) not in known]
    compared = compare(slices)
    result["crossings"] += compared
    result["crossings"] += roots.compare_laws(entries, draws, slices, request)
    result["crossings"] += costs.compare_runs(slices, result["costs"])
    result["crossings"] += costs.compare_laws(entries, draws, slices, result["costs"], request)
    result["map"] += winners.map_of(slices, data, compared, best_laws(entries), draws, request["data"])


def best_laws(entries: list[dict]) -> dict[tuple, dict]:
    """{(task, method, factor): the fitted law over one factor with the lowest held-out (else fit) error}."""
    out: dict[tuple, dict] = {}
    for e in entries:
        if e["group"] == "factor" and not e["refused"]:
            key = (e["task"], e["method"], e["factor"])
            if key not in out or error_of(e) < error_of(out[key]):
                out[key] = e
    return out


def error_of(entry: dict) -> tuple[bool, float]:
    """How a law ranks among those of its place: by held-out error, else by fit error."""
    held = entry["held_out_error"]["all"]
    return (held is None, held if held is not None else entry["fit_error"])


def add_fronts(result, gathered: dict, slices: dict[str, list]) -> None:
    """Adds the Pareto fronts of target loss against forgetting to `result`."""
    result["pareto"] += pareto.fronts_of(gathered, slices)
