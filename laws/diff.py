"""Two laws.json against each other: matched laws, shifted crossings, other winners; refused where their losses cannot be compared."""

from __future__ import annotations

import numpy as np

from laws.crossdiff import crossings_of
from laws.difference import LEVEL, common_range, holm, joint_test, of_parameters, of_predictions
from laws.predict import LawError, Laws

KEYS = ("task", "method", "response", "factor", "group", "form")
ALPHA = 0.05
RULE = f"laws differ where the joint test of their parameters gives p < {ALPHA:g} after Holm's correction for the number of laws compared"
FORGETTING = "pretraining_loss"
TEXT = "data/pretraining_text"
NOTHING = {"range": None, "difference": None, "same_within": None, "test": None, "parameters": {}, "reason": ""}


class NotComparable(LawError):
    """Two laws.json whose losses were measured on different things; `reasons` says on which."""

    def __init__(self, reasons: list[str]):
        super().__init__("these laws do not compare: " + "; ".join(reasons) + ". With --force they are compared all the same")
        self.reasons = reasons


def diff(first: Laws, second: Laws, force: bool = False) -> dict:
    """What differs between two laws.json in meaning; numbers are second - first, ratios second / first.

    Returns {level, rule, differ, forced, notes, laws, only_first, only_second, crossings, headlines}. Each of `laws` has
    `state` (identical, different, not told apart, refused, no common range, not comparable), the difference of the predictions on the common range with
    intervals, the joint test of the parameters, `same_within` and each parameter. Raises NotComparable where response, test set, tokenizer
    or the column of the data size differ, unless `force`: then `forced` holds the reasons.
    """
    for side, held in (("first", first), ("second", second)):
        if not held["laws"]:
            raise LawError(f"the {side} holds no law, so there is nothing to compare")
    reasons, unknown, blocked = conditions(first, second)
    if reasons and not force:
        raise NotComparable(reasons)
    notes = list(unknown)
    one, two = _keyed(first), _keyed(second)
    if force and not {e["response"] for e in first["laws"]} & {e["response"] for e in second["laws"]}:
        one, two = _keyed(first, "response"), _keyed(second, "response")
    matched = [k for k in one if k in two]
    compared = []
    for key in matched:
        if one[key]["response"] in blocked and not force:
            compared.append({**_names(one[key], two[key]), **NOTHING, "state": "not comparable", "reason": blocked[one[key]["response"]]})
        else:
            compared.append(of_law(one[key], two[key], first.draws, second.draws))
    tested = [c["test"]["p"] if c.get("test") else None for c in compared]
    for entry, adjusted in zip(compared, holm(tested)):
        if entry.get("test"):
            entry["test"]["adjusted"] = adjusted
            if entry["state"] != "identical":
                entry["state"] = "different" if adjusted < ALPHA else "not told apart"
    shared = [c for c in compared if c.get("shared_cells")]
    if any(c["state"] != "identical" for c in shared):
        notes.append(
            f"{len(shared)} of the laws rest in part on the same cells with the same losses: the two are taken as independent, so their intervals "
            "are too wide and their tests too mild"
        )
    if not matched:
        notes.append("no law of the first has its like in the second: task, method, response, factor, group and form must agree")
    return {
        "level": LEVEL, "rule": RULE, "differ": any(c["state"] == "different" for c in compared), "forced": reasons if force else [],
        "notes": notes, "laws": compared, "only_first": [_short(one[k]) for k in one if k not in two],
        "only_second": [_short(two[k]) for k in two if k not in one], "crossings": crossings_of(first, second, blocked if not force else {}),
        "headlines": _headlines(first, second),
    }  # fmt: skip


def conditions(first: Laws, second: Laws) -> tuple[list[str], list[str], dict[str, str]]:
    """(reasons why two laws.json do not compare, what is not known, {response: reason} of what alone does not)."""
    reasons, unknown, blocked = [], [], {}
    responses = [list(dict.fromkeys(e["response"] for e in laws["laws"])) for laws in (first, second)]
    if not set(responses[0]) & set(responses[1]):
        reasons.append(f"response: {_words(responses[0])} in the first, {_words(responses[1])} in the second")
    columns = [laws.get("request", {}).get("data") for laws in (first, second)]
    if columns[0] != columns[1]:
        reasons.append(f"data size: the column {columns[0]} in the first, {columns[1]} in the second")
    one, two = first.get("data") or {}, second.get("data") or {}
    sets = [data.get("test_sets") or {} for data in (one, two)]
    if all(sets):
        tasks = set(sets[0]) & set(sets[1]) if all(isinstance(s, dict) for s in sets) else set()
        if isinstance(sets[0], dict) and isinstance(sets[1], dict):
            for task in sorted(tasks):
                reasons += _sets(task, sets[0][task], sets[1][task])
            if not tasks:
                reasons.append(f"test set: that of {_words(sets[0])} in the first, that of {_words(sets[1])} in the second")
        elif sets[0] != sets[1]:
            reasons.append(f"test set: {sets[0]} in the first, {sets[1]} in the second")
    else:
        unknown.append(f"{_which(sets)} which test sets its losses were measured on: that they are the same is taken on trust")
    tokens = [data.get("tokenizer") or None for data in (one, two)]
    if all(tokens) and tokens[0] != tokens[1]:
        reasons.append(f"tokenizer: {_digest(tokens[0])} in the first, {_digest(tokens[1])} in the second: losses a token do not compare")
    elif not all(tokens):
        unknown.append(f"{_which(tokens)} which tokenizer its losses are counted with: that it is the same is taken on trust")
    texts = [(data.get("digests") or {}).get(TEXT) for data in (one, two)]
    if all(texts) and texts[0] != texts[1]:
        blocked[FORGETTING] = "the pretraining text differs, and with it what the loss on held-out pretraining text is measured on"
    return reasons, unknown, blocked


def of_law(first: dict, second: dict, draws_first, draws_second) -> dict:
    """Two entries of laws.json with the same form against each other; `draws_*` are the mappings of all draws."""
    out = {**_names(first, second), "points": [first["points"], second["points"]], "shared_cells": _shared(first, second), **NOTHING}
    refused = [(side, e) for side, e in (("first", first), ("second", second)) if e["refused"]]
    if refused:
        return {**out, "state": "refused", "reason": "; ".join(f"in the {side}: {e['refused']}, {e['reason']}" for side, e in refused)}
    one, two = (None if e["id"] not in draws else np.asarray(draws[e["id"]]) for e, draws in ((first, draws_first), (second, draws_second)))
    values = [[p["value"] for p in e["parameters"].values()] for e in (first, second)]
    ranges = common_range(first, second)
    out.update(range=_columns(first, ranges), parameters=of_parameters(first, second, one, two), state="not told apart")
    if values[0] == values[1] and first["range"] == second["range"]:
        out.update(state="identical", same_within=0.0)
        return out
    if ranges is None:
        out.update(state="no common range", reason="the two were fitted on values of a factor that do not overlap: " + _apart(first, second))
    else:
        out["difference"] = of_predictions(first, second, ranges, one, two)
        out["same_within"] = out["difference"].pop("same_within")
        out["test"] = joint_test(first, second, one, two)
        if out["test"] is None:
            out["reason"] = "no joint test: one of the laws has neither a covariance nor draws"
    return out


def _keyed(laws: Laws, without: str = "") -> dict[tuple, dict]:
    return {(*(e[k] for k in KEYS if k != without), e["expression"]): e for e in laws["laws"]}


def _names(first: dict, second: dict) -> dict:
    return {**_short(first), "first": first["id"], "second": second["id"]}


def _short(entry: dict) -> dict:
    return {**{k: entry[k] for k in KEYS}, "expression": entry["expression"], "refused": entry["refused"]}


def _columns(entry: dict, ranges) -> dict | None:
    return None if ranges is None else {entry["symbols"].get(s, s): v for s, v in ranges.items()}


def _apart(first: dict, second: dict) -> str:
    parts = []
    for symbol, column in first["symbols"].items():
        one, two = first["range"].get(column), second["range"].get(second["symbols"].get(symbol, symbol))
        if one and two and max(one[0], two[0]) > min(one[1], two[1]):
            parts.append(f"{column} from {one[0]:g} to {one[1]:g} in the first, {two[0]:g} to {two[1]:g} in the second")
    return ", ".join(parts) or "a factor of one is not a factor of the other"


def _shared(first: dict, second: dict) -> int:
    """How many fitted cells have the same factors and the same loss to the last digit in both: the same runs."""
    def marks(entry):
        factors = entry["symbols"].values()
        return {(*(cell.get(f) for f in factors), cell["seen"]) for cell in entry["cells"] if not cell["held_out"]}

    return len(marks(first) & marks(second))


def _headlines(first: Laws, second: Laws) -> list[dict]:
    """Places whose winner differs: {task, method, response, factor, group, first, second}."""
    keys = KEYS[:-1]
    one, two = ({tuple(h[k] for k in keys): h for h in laws.get("headline") or []} for laws in (first, second))
    return [
        {**dict(zip(keys, key)), "first": one[key]["winner"], "second": two[key]["winner"]}
        for key in one
        if key in two and one[key]["winner"] != two[key]["winner"]
    ]


def _sets(task: str, first, second) -> list[str]:
    if first == second:
        return []
    of = f" of {task}" if task else ""
    if not isinstance(first, dict) or not isinstance(second, dict):
        return [f"test set{of}: {first} in the first, {second} in the second"]
    out = [f"test set {name!r}{of}: {_digest(first[name])} in the first, {_digest(second[name])} in the second" for name in first if name in second and first[name] != second[name]]
    for where, names in (("first", set(first) - set(second)), ("second", set(second) - set(first))):
        if names:
            out.append(f"test sets{of}: only the {where} has {_words(sorted(names))}")
    return out


def _digest(value) -> str:
    """The beginning of a digest, enough to tell two apart."""
    while isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    text = str(value)
    return text[: text.index(":") + 9] if text.startswith("sha256:") else text


def _which(pair) -> str:
    return "neither file says" if not any(pair) else f"the {'second' if pair[0] else 'first'} file does not say"


def _words(names) -> str:
    return ", ".join(map(str, names)) or "none"
