"""What is done of a plan, what is to run and why: computed from the store when it is shown, never stored."""

from __future__ import annotations

from collections import Counter


def states(plan: dict, store, before: dict | None = None) -> dict[str, dict]:
    """For every job of a resolved plan: {"state", "why", "changes"}.

    state: done, to run, pending (its key waits for a sweep), failed (the last attempt failed; it runs again).
    before: the last plan of the same results folder, resolved; a job of the same name and another identity
    is "changed", and `changes` names each leaf: {"path", "old", "new"}.
    """
    from compiler.identity import canonical_json

    old_jobs = {job["name"]: job for job in (before or {}).get("jobs", [])}
    names = {job["key"]: job["name"] for job in (before or {}).get("jobs", []) + plan["jobs"] if job["key"]}
    found = {}
    for job in plan["jobs"]:
        changes = []
        old = old_jobs.get(job["name"])
        if old is not None and canonical_json(old["identity"]) != canonical_json(job["identity"]):
            changes = leaves(old["identity"], job["identity"], names)
        if job["key"] is None:
            state, why = "pending", "its learning rate waits for a sweep"
            if not _waits_for_rate(job["identity"]):
                state, why = "pending", "it needs a job whose learning rate waits for a sweep"
        elif store.done(job) is not None:
            state, why = "done", ""
        else:
            failure = store.failure(job["key"])
            state, why = "to run", "no result yet"
            if store.record(job["key"], job["identity"]) is not None:
                why = "more checkpoints are asked of it than it holds"
            if failure is not None:
                state, why = "failed", failure["message"]
        if changes and state != "done":
            shown = "; ".join(f"{c['path']}: {c['old']} -> {c['new']}" for c in changes[:3])
            why = f"changed: {shown}" + (f" and {len(changes) - 3} more" if len(changes) > 3 else "")
        found[job["name"]] = {"state": state, "why": why, "changes": changes}
    return found


def _waits_for_rate(value) -> bool:
    if isinstance(value, dict):
        return "$rate" in value or any(_waits_for_rate(v) for v in value.values())
    return isinstance(value, list) and any(_waits_for_rate(v) for v in value)


def leaves(old, new, names: dict[str, str], path: str = "") -> list[dict]:
    """The leaves in which two identities differ; a key of another job is shown by that job's name."""
    if isinstance(old, dict) and isinstance(new, dict) and not any(k.startswith("$") for k in [*old, *new]):
        found = []
        for key in sorted(old.keys() | new.keys()):
            where = f"{path}.{key}" if path else key
            if key not in old or key not in new:
                found.append({"path": where, "old": _word(old.get(key, "absent"), names), "new": _word(new.get(key, "absent"), names)})
            else:
                found += leaves(old[key], new[key], names, where)
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [change for i, (a, b) in enumerate(zip(old, new)) for change in leaves(a, b, names, f"{path}[{i}]")]
    if old == new and type(old) is type(new):
        return []
    return [{"path": path, "old": _word(old, names), "new": _word(new, names)}]


def _word(value, names: dict[str, str]) -> str:
    if isinstance(value, str) and value in names:
        return f"{names[value]} ({value[:8]})"
    if isinstance(value, dict) and "$rate" in value:
        return "the rate its sweep will choose"
    if isinstance(value, dict) and "$key" in value:
        return f"{value['$key']} (pending)"
    return str(value)


def summary(found: dict[str, dict]) -> str:
    """`60 jobs: 36 done, 24 to run; 5 of them changed, 3 pending`."""
    count = Counter(entry["state"] for entry in found.values())
    todo = len(found) - count["done"]
    words = []
    changed = sum(bool(entry["changes"]) and entry["state"] != "done" for entry in found.values())
    if changed:
        words.append(f"{changed} changed")
    if count["pending"]:
        words.append(f"{count['pending']} pending on learning-rate sweeps")
    if count["failed"]:
        words.append(f"{count['failed']} failed before")
    line = f"{len(found)} jobs: {count['done']} done, {todo} to run"
    return line + (f"; of these {', '.join(words)}" if words else "")


def totals(plan: dict, found: dict[str, dict], store) -> dict:
    """What is still to run: {"jobs", "flops", "memory_bytes" (largest job), "seconds" (None if nothing was measured yet)}.

    Each key counts once. Seconds are for one worker, at the pace of the jobs in the store.
    """
    from runtime.progress import Pace

    pace, todo, seen = Pace(), [], set()
    for job in plan["jobs"]:
        if found[job["name"]]["state"] == "done":
            pace.learn(job, store.done(job))
        elif job["key"] is None or job["key"] not in seen:
            seen.add(job["key"])
            todo.append(job)
    return {
        "jobs": len(todo),
        "flops": sum(job["cost"]["flops"] for job in todo),
        "memory_bytes": max((job["cost"]["memory_bytes"] for job in todo), default=0),
        "seconds": pace.left(todo, {}, 1),
    }
