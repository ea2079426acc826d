"""`tunelaw fit`: a run folder, a results.csv of ours or a foreign table, to laws.json."""

from __future__ import annotations

import json
from pathlib import Path

from tunelaw import errors

FOREIGN = ("response", "group", "hold_out")  # what only a foreign table takes, --factors or --wide beside it
FITTING = ("loss", "delta", "residual", "points", "bounds")


def fit(results, out=None, **asked) -> tuple[dict, Path]:
    """Fits and writes; returns the laws and the path of laws.json.

    `asked` are the options of the command that were given, by name. With `factors` or `wide` the table is foreign and its columns are
    named. Otherwise it is a run folder or its results.csv, fitted as its plan asks, what is given here aside.
    """
    import laws

    results = Path(results)
    if not results.exists():
        raise errors.CommandError(f"{results}: there is no such file or folder")
    asked = {name: value for name, value in asked.items() if value not in (None, "", (), [])}
    if "factors" in asked or "wide" in asked:
        if "trials" in asked:
            raise errors.CommandError("--trials: the trials of a sweep go with a results.csv of tunelaw, not with a foreign table")
        shared = asked.pop("shared", None)
        fitted = laws.fit_foreign(results, shared_across=shared, **asked)
        return fitted, laws.write(fitted, Path(out) if out else Path("runs") / results.name.split(".")[0])
    for name in FOREIGN:
        if name in asked:
            raise errors.CommandError(f"--{name.replace('_', '-')} is for a foreign table: say which column is what too, as in --factors X=COLUMN,D=COLUMN")
    home = results if results.is_dir() else results.parent
    table = laws.read_table(results)
    trials = laws.read_trials(Path(asked["trials"])) if "trials" in asked else laws.read_trials(results)
    if "trials" in asked and trials is None:
        raise errors.CommandError(f"--trials {asked['trials']}: there is no such file, or no row in it")
    request = merged(request_of(home), asked)
    fitted = laws.fit_table(table, request or None, trials=trials, provenance=provenance_of(home))
    return fitted, laws.write(fitted, Path(out) if out else home)


def merged(request: dict, asked: dict) -> dict:
    """A plan's request with what the command line says instead."""
    from laws import options

    request = dict(request)
    readers = {"forms": options.parse_forms, "delta": options.parse_delta, "bounds": options.parse_bounds}
    values = {name: readers.get(name, lambda v: v)(value) for name, value in asked.items()}
    if "shared" in values:
        request["shared_across"] = options.parse_shared(values["shared"])
    request.update({name: values[name] for name in ("forms", "stages", "intervals", "draws") if name in values})
    fit_part = {name: values[name] for name in FITTING if name in values}
    return request | ({"fit": {**request.get("fit", {}), **fit_part}} if fit_part else {})


def request_of(home: Path) -> dict:
    """The laws that the plan of a results folder asks for; empty without a plan, when they are inferred from the table."""
    return dict((read_json(home / "plan.json") or {"laws": {}})["laws"])


def provenance_of(home: Path) -> dict:
    """What the losses of a results folder were measured on, from its run.json, as `laws.fit_table` takes it."""
    run = read_json(home / "run.json")
    if run is None:
        return {}
    data = run["data"]
    return {
        "test_sets": data.get("test_sets", {}), "tokenizer": data["digests"].get("tokenizer"), "digests": data["digests"],
        "training_pool": data.get("training_pool", {}),
    }


def read_json(path: Path) -> dict | None:
    """What a file of a run folder holds; None where there is none. Raises CommandError where it is not whole."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise errors.CommandError(f"{path}: this is not whole JSON ({error}); run the study again, or name the table in a folder of its own") from None


def status(fitted: dict) -> int:
    """0, or 4 where not one law could be fitted."""
    found = fitted["laws"]
    return errors.REFUSED if all(law.get("refused") for law in found) else errors.DONE
