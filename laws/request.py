"""What is asked of a table: the laws part of a plan, completed and checked, or inferred from the table itself."""

from __future__ import annotations

import numpy as np

from laws.forms import FORMS
from laws.intervals import KINDS
from laws.table import Table, TableError

DATA = "finetuning_examples"
SYMBOLS = {"model_parameters": "N", "non_embedding_parameters": "N", "pretraining_tokens": "P", "peft_parameters": "T", DATA: "D"}
OWNERS = {  # the settings of a study that a factor varies
    "non_embedding_parameters": ("model_size",),
    "model_parameters": ("model_size",),
    "pretraining_tokens": ("pretraining_tokens",),
    "peft_parameters": ("rank", "prompt_length"),
}
KEYS = {"responses", "factors", "forms", "shared_across", "stages", "fit", "intervals", "defaults", "data", "symbols", "foreign"}
SHAREABLE = ("alpha", "beta", "B", "E")


def complete(request: dict | None, table: Table) -> dict:
    """The request with every key filled in; raises TableError where it asks for what is not there."""
    request = dict(request or {})
    unknown = sorted(set(request) - KEYS)
    if unknown:
        raise TableError(f"laws.{unknown[0]}: unknown; a request has the keys {', '.join(sorted(KEYS - {'symbols', 'foreign'}))}")
    out = {"data": request.get("data", DATA), "foreign": bool(request.get("foreign"))}
    out["symbols"] = dict(request.get("symbols") or {})
    out["responses"] = list(request.get("responses") or [r for r in ("test_loss", "pretraining_loss") if _varies(table, r)] or ["test_loss"])
    for response in out["responses"]:
        if response not in table or table[response].dtype.kind != "f":
            raise TableError(f"laws.responses: {response!r} is not a column of numbers in {table.source}")
    if "factors" in request:
        out["factors"] = list(request["factors"])
        for factor in out["factors"]:
            if factor not in table:
                raise TableError(f"laws.factors: {factor!r} is not a column of {table.source}")
    else:
        sizes = "non_embedding_parameters" if "non_embedding_parameters" in table else "model_parameters"
        out["factors"] = [f for f in (sizes, "pretraining_tokens", "peft_parameters") if f in table and len(_levels(table, f)) > 1]
    out["asked"] = "factors" in request
    forms = list(request.get("forms") or (["multiplicative", "additive"] if out["factors"] else ["power"]))
    for form in forms:
        if form not in FORMS or form == "all_factors":
            raise TableError(f"laws.forms: {form!r} is not a form; known are {', '.join(f for f in FORMS if f != 'all_factors')}")
    out["forms"] = forms
    out["stages"] = request.get("stages", "joint")
    if out["stages"] not in ("joint", "paper"):
        raise TableError(f"laws.stages: {out['stages']!r} is not joint or paper")
    shared = dict(request.get("shared_across") or {})
    for name, groups in shared.items():
        if name not in SHAREABLE or list(groups) != ["factor"]:
            raise TableError(f"laws.shared_across.{name}: {groups!r}; {', '.join(SHAREABLE)} can be shared, each across [factor]")
    out["shared"] = sorted(shared)
    fit = {"loss": "huber", "delta": "auto", "residual": "level", **(request.get("fit") or {})}
    if fit["loss"] != "huber":
        raise TableError(f"laws.fit.loss: {fit['loss']!r} is not huber")
    if fit["residual"] not in ("level", "log"):
        raise TableError(f"laws.fit.residual: {fit['residual']!r} is not level or log")
    if fit["delta"] != "auto":
        if isinstance(fit["delta"], (bool, str)) or not np.isfinite(fit["delta"]) or fit["delta"] <= 0:
            raise TableError(f"laws.fit.delta: {fit['delta']!r} is not auto or a positive number")
    out["fit"] = fit
    out["intervals"] = request.get("intervals", "auto")
    if out["intervals"] not in KINDS:
        raise TableError(f"laws.intervals: {out['intervals']!r} is not one of {', '.join(KINDS)}")
    if out["foreign"]:
        out["owners"] = {f: (f,) for f in out["factors"]}
        out["defaults"] = _infer(table, out) if len(out["factors"]) > 1 else {}
    else:
        out["owners"] = {f: OWNERS.get(f, (f,)) for f in out["factors"]}
        given = dict(request.get("defaults") or {})
        out["defaults"] = {**_infer(table, out), **{k: v for k, v in given.items() if v not in (None, {})}}
    return out


def settings_of(request: dict) -> list[str]:
    """All columns that tell one setting from another, D left out."""
    if request["foreign"]:
        return list(request["factors"])
    return ["model_size", "pretraining_tokens", "rank", "prompt_length"]


def at_default(request: dict, setting: str, method: str, value) -> bool:
    """Whether a cell's setting is at its default; a setting that does not apply (empty) always is."""
    if value == "" or value != value:
        return True
    default = request["defaults"].get(setting)
    if isinstance(default, dict):
        default = default.get(method)
    if default is None:
        return True
    if isinstance(value, str):
        return value == str(default)
    return abs(value - float(default)) <= 1e-3 * abs(float(default))


def symbol_of(request: dict, column: str) -> str:
    """The symbol of a factor's column when several factors stand in one law."""
    return request["symbols"].get(column) or SYMBOLS.get(column, "X")


def _infer(table: Table, request: dict) -> dict:
    """Defaults from the table: for each setting the value that most fitted rows have (rank and prompt length: for each method)."""
    fitted = (table.words("held_out") == "") & (table.numbers(request["data"]) > 0)
    methods = table.words("method")
    out: dict = {}
    for setting in settings_of(request):
        if setting not in table:
            continue
        if setting in ("rank", "prompt_length"):
            per = {m: _mode(table[setting][fitted & (methods == m)]) for m in sorted(set(methods[fitted]))}
            out[setting] = {m: v for m, v in per.items() if v is not None}
        else:
            out[setting] = _mode(table[setting][fitted])
    return out


def _mode(values):
    clean = [v for v in values.tolist() if v != "" and v == v]
    if not clean:
        return None
    counts = {v: clean.count(v) for v in set(clean)} if len(clean) < 2000 else dict(zip(*np.unique(np.array(clean), return_counts=True)))
    return min(counts, key=lambda v: (-counts[v], str(v)))


def _levels(table: Table, column: str) -> np.ndarray:
    values = table[column]
    return np.unique(values[np.isfinite(values) & (values > 0)])


def _varies(table: Table, column: str) -> bool:
    return column in table and table[column].dtype.kind == "f" and bool(np.isfinite(table[column]).any())
