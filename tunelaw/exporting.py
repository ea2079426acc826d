"""`tunelaw export`: finds the model that a key or a job's name means, and writes it."""

from __future__ import annotations

from pathlib import Path

from tunelaw import studies


def export(word: str, target: Path, store: str | None, out: str | None) -> list[str]:
    """Writes the model of `word` into `target`; returns lines for people. A scored cell means the model it scored."""
    import compiler
    from runtime import export as room
    from runtime.store import Store

    root = store
    if out and not store:
        from tunelaw.status import read_progress

        root = read_progress(Path(out)).get("store")
    shelf = Store(studies.store_root(root))
    if out:
        from tunelaw.cli import find_job

        plan = studies.last_plan(Path(out))
        if plan is None:
            from tunelaw.errors import CommandError

            raise CommandError(f"--out {out}: holds no plan.json, so job names mean nothing there; give a key")
        job = find_job(compiler.resolve(plan, shelf.record), word)
        word = job["identity"]["model"] if job["kind"] == "evaluate" and job["key"] else job["key"] or word
    else:
        record = shelf.record(word) if word in shelf.keys() else None
        if record is not None and record["kind"] == "evaluate":
            word = record["identity"]["model"]
    return room.export(shelf, word, target).splitlines()
