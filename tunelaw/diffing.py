"""`tunelaw diff A B`: finds out what the two are, compares them in meaning, and shows the answer as tables."""

from __future__ import annotations

import json
from pathlib import Path

from tunelaw import errors
from tunelaw.show import console, number, table


def kind_of(path: Path) -> str:
    """What a path holds: `laws` (a laws.json, or a folder with one), `plan` or `study`. Raises CommandError for anything else."""
    if not path.exists():
        raise errors.CommandError(f"{path}: there is no such file or folder")
    if path.is_dir():
        if (path / "laws.json").is_file():
            return "laws"
        raise errors.CommandError(f"{path}: this folder has no laws.json; `tunelaw fit {path}` writes it, where there are results")
    if path.suffix.lower() in (".yaml", ".yml"):
        return "study"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise errors.CommandError(f"{path}: this is neither a laws.json nor a run folder ({error})") from None
    for kind, key in (("laws", "laws"), ("plan", "jobs")):
        if isinstance(content, dict) and isinstance(content.get(key), list):
            return kind
    raise errors.CommandError(f"{path}: this JSON file is not a laws.json: it has no list of laws")


def diff(first: str, second: str, force: bool = False) -> dict:
    """What differs between two results of one kind; `kind` in the answer says of which. Raises CommandError and what the room raises."""
    paths = [Path(first), Path(second)]
    kinds = [kind_of(path) for path in paths]
    if kinds[0] != kinds[1]:
        raise errors.CommandError(f"{first} is a {kinds[0]} file and {second} a {kinds[1]} file: give two of one kind")
    compare = COMPARE.get(kinds[0])
    if compare is None:
        raise errors.CommandError(f"{first}: {kinds[0]} files cannot be compared yet; diff compares two laws.json or two run folders")
    return {"tunelaw": 1, "kind": kinds[0], "first": str(first), "second": str(second), **compare(*paths, force)}


def _laws(first: Path, second: Path, force: bool) -> dict:
    import laws
    from laws.diff import diff as room

    return room(laws.load(first), laws.load(second), force)


NAMES = ("task", "method", "response", "factor", "form")
COMPARE = {"laws": _laws}  # what can be compared: kind -> function of two paths and `force`


def status(found: dict, exit_code: bool) -> int:
    """3 where `--exit-code` asks and the two differ significantly, else 0."""
    return errors.TO_DO if exit_code and found["differ"] else errors.DONE


def lines(found: dict):
    """The answer as renderables of rich, in reading order."""
    from rich.text import Text

    for reason in found["forced"]:
        yield Text(f"FORCED: these laws do not compare: {reason}", style="bold red")
    for note in found["notes"]:
        yield Text(f"note: {note}")
    states = [law["state"] for law in found["laws"]]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    yield Text(f"{len(states)} laws in both: {counts or 'none'}. Differences are second - first; intervals are {found['level']:.0%}.")
    same = _constant(found["laws"])
    if same:
        yield Text("All of them: " + ", ".join(f"{key} {found['laws'][0][key]}" for key in same))
    if states:
        yield _law_table(found["laws"], same)
    changed = [law for law in found["laws"] if law["state"] not in ("identical", "refused", "not comparable")]
    if changed:
        yield Text("\nParameter by parameter (A and alpha trade off: judge by the predictions and the joint test above)")
        yield _parameter_table(changed, same)
    moved = [c for c in found["crossings"] if c["changed"] or (c["shift"] and c["shift"]["from"] != "identical")]
    if moved:
        yield Text("\nCrossings (shift: the second's number of examples over the first's)")
        yield _crossing_table(moved)
    for law in (law for law in found["laws"] if law["state"] in ("refused", "not comparable", "no common range")):
        yield Text(f"{law['state']}: {_name(law)}: {law['reason']}")
    for side in ("first", "second"):
        for law in found[f"only_{side}"]:
            yield Text(f"only in the {side}: {_name(law)}" + (f" (refused: {law['refused']})" if law["refused"] else ""))
    for place in found["headlines"]:
        yield Text(f"headline: {_name(place)}: {place['first'] or 'none'} in the first, {place['second'] or 'none'} in the second")
    yield Text(found["rule"] + ": " + ("they differ." if found["differ"] else "none does."))


def show(found: dict) -> None:
    """Prints the answer to standard output."""
    out = console()
    for line in lines(found):
        out.print(line)


def _name(law: dict, skip=()) -> str:
    """One law in words: task, method, response, factor, group, form, but those in `skip`."""
    group = law["group"] if law["group"] not in ("factor", "all", "") else ""
    words = {**{key: law.get(key, "") for key in NAMES}, "group": group}
    return " ".join(str(words[key]) for key in ("task", "method", "response", "factor", "group", "form") if words[key] and key not in skip)


def _constant(laws: list[dict]) -> list[str]:
    """Names that all laws have in common; said once above the table instead of in every row."""
    return [key for key in NAMES if len(laws) > 1 and laws[0][key] and len({law[key] for law in laws}) == 1]


def _law_table(laws: list[dict], same):
    from rich.text import Text

    made = table("law", "points", "mean difference", "largest difference", "at", "joint test", "same within", "", right=("points", "same within"))
    for law in laws:
        gap, test = law.get("difference"), law.get("test")
        made.add_row(
            Text(_name(law, same)), "{}, {}".format(*law["points"]) if "points" in law else "", "" if gap is None else _spread(gap["mean"]),
            "" if gap is None else _spread(gap["largest"]), "" if gap is None else _place(gap["largest"]["at"]),
            "" if test is None else _test(test), "" if law.get("same_within") is None else _percent(law["same_within"]),
            Text(law["state"], style={"different": "bold red", "identical": "green"}.get(law["state"], "")),
        )  # fmt: skip
    return made


def _parameter_table(laws: list[dict], same):
    made = table("law", "parameter", "first", "second", "difference or ratio", right=("first", "second"))
    for law in laws:
        for k, (name, p) in enumerate(law["parameters"].items()):
            change = ("x " if p["kind"] == "ratio" else "") + _spread(p, signed=p["kind"] != "ratio")
            made.add_row(_name(law, same) if not k else "", name, number(p["first"]["value"]), number(p["second"]["value"]), change)
    return made


def _crossing_table(crossings: list[dict]):
    made = table("task", "response", "methods", "at", "source", "first", "second", "shift")
    for c in crossings:
        at = f"{c['factor']} {c['at_name']}" if c["at_name"] else ""
        source = c["source"] + (f", {c['form']}" if c["form"] else "") + (f", equal {c['cost']}" if c["cost"] != "data" else "")
        shift = c["shift"]
        words = "" if shift is None else "x " + _spread(shift, signed=False) + (f" in {shift['share']:.0%} of draws" if shift["share"] is not None else "")
        made.add_row(c["task"], c["response"], " / ".join(c["methods"]), at, source, _event(c["first"]), _event(c["second"]), words)
    return made


def _event(c: dict | None) -> str:
    if c is None:
        return "no such root"
    if c["examples"]:
        return f"{c['kind']} at {c['examples']['value']:,.0f}" + ("" if c["inside"] else " (outside the data)")
    leads = f", {c['leader']} leads" if c["leader"] else ""
    return f"refused: {c['refused']}" if c["refused"] else c["kind"] + leads


def _spread(value: dict, signed: bool = True) -> str:
    sign = "+" if signed and value["value"] > 0 else ""
    text = sign + number(value["value"])
    return text if value["low"] is None else f"{text} [{number(value['low'])}, {number(value['high'])}]"


def _place(at: dict) -> str:
    from tunelaw.lawtext import amount

    return ", ".join(f"{name} {amount(value)}" for name, value in at.items())


def _test(test: dict) -> str:
    kind = f"chi2({test['df1']}) {test['statistic']:.3g}" if test["df2"] is None else f"T2 {test['statistic']:.3g} ({test['df1']}, {test['df2']:.1f})"
    adjusted = test.get("adjusted")
    return f"{kind}, p {_p(test['p'])}" + (f" (Holm {_p(adjusted)})" if adjusted is not None and adjusted != test["p"] else "")


def _p(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def _percent(share: float) -> str:
    """A share as per cent, rounded up, so that what is said holds: 0.01234 is `1.3 %`."""
    import math

    if share <= 0:
        return "0 %"
    if share >= 10:
        return "more than 1000 %"
    digits = max(0, 1 - math.floor(math.log10(100 * share)))
    return f"{math.ceil(100 * share * 10**digits - 1e-9) / 10**digits:.{digits}f} %"
