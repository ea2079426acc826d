"""Tables and texts that commands print to standard output."""

from __future__ import annotations

import sys

from tunelaw.display import duration

COLOURS = {"done": "green", "to run": "yellow", "pending": "cyan", "failed": "red", "running": "blue"}


def console():
    """A console on standard output; wide where that is no terminal, so that nothing is cut."""
    from rich.console import Console

    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200, highlight=False)


def table(*columns: str, right=()):
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return made


def quantity(value: float | None) -> str:
    """A number with a metric prefix: 1.2e9 is `1.20 G`."""
    if value is None:
        return ""
    for limit, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g} {prefix}"
    return f"{value:.3g}"


def jobs(plan: dict, states: dict[str, dict]) -> None:
    """The table of all jobs of a plan: state, key, FLOPs, memory, why."""
    from rich.text import Text

    made = table("state", "job", "key", "FLOPs", "memory", "why", right=("FLOPs", "memory"))
    for job in plan["jobs"]:
        state = states[job["name"]]
        made.add_row(
            Text(state["state"], style=COLOURS.get(state["state"], "")),
            Text(job["name"]), (job["key"] or "")[:8], quantity(job["cost"]["flops"]),
            quantity(job["cost"]["memory_bytes"]) + "B", Text(state["why"]),
        )
    console().print(made)


def totals(total: dict) -> str:
    """What is still to run, in one line."""
    words = [f"to run: {quantity(total['flops'])}FLOPs", f"largest job {quantity(total['memory_bytes'])}B"]
    if total["seconds"] is not None:
        words.append(f"about {duration(total['seconds'])} of one worker at the pace of the jobs in the store")
    else:
        words.append("no time estimate yet: no job of this kind has run in this store")
    return ", ".join(words)


def explain(plan: dict, job: dict, state: dict) -> None:
    """All about one job: its state, what it needs, who needs it, its identity leaf by leaf."""
    out = console()
    out.print(f"{job['name']}: {state['state']}" + (f" ({state['why']})" if state["why"] else ""), markup=False)
    out.print(f"key        {job['key'] or 'not known yet'}", markup=False)
    out.print(f"cost       {quantity(job['cost']['flops'])}FLOPs, {quantity(job['cost']['memory_bytes'])}B of memory", markup=False)
    out.print(f"needs      {', '.join(job['needs']) or 'nothing'}", markup=False)
    users = [other["name"] for other in plan["jobs"] if job["name"] in other["needs"]]
    out.print(f"needed by  {', '.join(users) or 'nothing'}", markup=False)
    for change in state["changes"]:
        out.print(f"changed    {change['path']}: {change['old']} -> {change['new']}", markup=False)
    out.print("identity", markup=False)
    for path, value in leaves(job["identity"]):
        out.print(f"  {path} = {value}", markup=False)


def leaves(value, path: str = ""):
    """(path, text) of every leaf of a JSON value."""
    import json

    if isinstance(value, dict) and value:
        for key in value:
            yield from leaves(value[key], f"{path}.{key}" if path else key)
    elif isinstance(value, list) and any(isinstance(v, (dict, list)) for v in value):
        for i, item in enumerate(value):
            yield from leaves(item, f"{path}[{i}]")
    else:
        yield path, json.dumps(value, ensure_ascii=False)


def laws(fitted: dict) -> None:
    """What laws.json holds: the laws, what is headlined, where methods meet."""
    from tunelaw.lawset import LawSet
    from tunelaw.lawtext import renderables

    out = console()
    for part in renderables(LawSet.of(fitted)):
        out.print(part)


def number(value) -> str:
    return "" if value is None else f"{value:.4g}"
