"""`tunelaw fit`: a run folder, a results.csv of ours or a foreign table, to laws.json."""

from __future__ import annotations

import json
from pathlib import Path

from tunelaw import errors


def fit(results, factors=None, response=None, group=None, forms=None, residual=None, delta=None, out=None) -> tuple[dict, Path]:
    """Fits and writes; returns the laws and the path of laws.json.

    A run folder (or its results.csv) is fitted as its plan asks, `forms`, `residual` and `delta` aside;
    with `factors` the table is foreign and its columns must be named.
    """
    import laws

    results = Path(results)
    if not results.exists():
        raise errors.CommandError(f"{results}: there is no such file or folder")
    if factors is None and (response or group):
        raise errors.CommandError("--response and --group name columns of a foreign table: give --factors X=COLUMN,D=COLUMN too")
    delta = number(delta)
    if factors is not None:
        fitted = laws.fit_foreign(
            results, factors=pairs(factors), response=response, group=names(group), forms=names(forms),
            **{name: value for name, value in (("residual", residual), ("delta", delta)) if value is not None},
        )
        folder = Path(out) if out else Path("runs") / results.name.split(".")[0]
        return fitted, laws.write(fitted, folder)
    home = results if results.is_dir() else results.parent
    request = request_of(home)
    if forms:
        request["forms"] = names(forms)
    for name, value in (("residual", residual), ("delta", delta)):
        if value is not None:
            request["fit"] = {**request.get("fit", {}), name: value}
    table = laws.read_table(results)
    fitted = laws.fit_table(table, request or None, trials=laws.read_trials(results), provenance=provenance_of(home))
    return fitted, laws.write(fitted, Path(out) if out else home)


def request_of(home: Path) -> dict:
    """The laws that the plan of a results folder asks for; empty without a plan, when they are inferred from the table."""
    try:
        return dict(json.loads((home / "plan.json").read_text(encoding="utf-8"))["laws"])
    except FileNotFoundError:
        return {}


def provenance_of(home: Path) -> dict:
    """What the losses of a results folder were measured on, from its run.json, as `laws.fit_table` takes it."""
    try:
        data = json.loads((home / "run.json").read_text(encoding="utf-8"))["data"]
    except FileNotFoundError:
        return {}
    return {
        "test_sets": data.get("test_sets", {}), "tokenizer": data["digests"].get("tokenizer"), "digests": data["digests"],
        "training_pool": data.get("training_pool", {}),
    }


def pairs(text: str) -> dict[str, str]:
    """`X=params,D=examples` as a dict."""
    found = {}
    for part in text.split(","):
        symbol, equals, column = part.partition("=")
        if not equals or not symbol.strip() or not column.strip():
            raise errors.CommandError(f"--factors {text}: {part!r} is not SYMBOL=COLUMN, as in X=params,D=examples")
        found[symbol.strip()] = column.strip()
    return found


def names(text: str | None) -> list[str]:
    """`a,b` as a list."""
    return [part.strip() for part in text.split(",") if part.strip()] if text else []


def number(text):
    """--delta: a positive number or `auto`."""
    if text is None or text == "auto" or isinstance(text, float):
        return text
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise errors.CommandError(f"--delta {text}: give a positive number, or auto")
    return value


def status(fitted: dict) -> int:
    """0, or 4 where not one law could be fitted."""
    laws = fitted["laws"]
    return errors.REFUSED if laws and all(law.get("refused") for law in laws) else errors.DONE
