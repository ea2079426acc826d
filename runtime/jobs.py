"""Running one job: the registry of job kinds, the context a job runs in, and the way from job to record."""

from __future__ import annotations

import importlib
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from runtime import records
from runtime.errors import RuntimeInputError
from runtime.store import Store

# kind -> "module:function"; imported when the first such job runs
RUNNERS = {
    "data": "runtime.data.jobs:run_data",
    "tokenizer": "runtime.data.jobs:run_tokenizer",
    "pretrain": "runtime.pretrain:run_pretrain",
    "finetune": "runtime.finetune:run_finetune",
    "evaluate": "runtime.evaluate:run_evaluate",
}


@dataclass
class Context:
    """What a job may use beside its identity; nothing in here may change a number.

    staging: empty folder that becomes the artifact; resume: folder that outlives a killed run;
    data_roots: where relative paths of `execution` are looked up, in this order; mesh: {"data", "model"};
    progress: takes {"step", "steps", "loss", "tokens_per_second", "phase"}; should_stop: asked at safe
    points, after which the job saves its state to `resume` and raises `records.Interrupted`.
    """

    staging: Path
    resume: Path
    store: Store
    data_roots: list[Path] = field(default_factory=list)
    mesh: dict = field(default_factory=lambda: {"data": 1, "model": 1})
    execution: dict = field(default_factory=dict)
    progress: Callable[[dict], None] = lambda event: None
    should_stop: Callable[[], bool] = lambda: False


def register(kind: str, target: str) -> None:
    """Adds a job kind; `target` is `module:function`, called as `function(job, store, context) -> body`."""
    RUNNERS[kind] = target


def runner(kind: str) -> Callable:
    """The function that runs jobs of `kind`. Raises ValueError for a kind nobody registered."""
    if kind not in RUNNERS:
        raise ValueError(f"no runner for jobs of kind {kind!r}; known are {', '.join(sorted(RUNNERS))}")
    module, name = RUNNERS[kind].split(":")
    return getattr(importlib.import_module(module), name)


def run(job: dict, store: Store, context: Context) -> dict:
    """Runs one job and returns the record's body: status, metrics, training, digests, warnings, training_seconds.

    The artifact lies in `context.staging` when it returns.
    """
    return runner(job["kind"])(job, store, context)


def execute(job: dict, store: Store, data_roots=(), progress=lambda event: None, should_stop=lambda: False) -> dict:
    """Runs `job` under its lock unless it is done; returns `{"state": ...}` and never raises for a job's own fault.

    States: `done` (with "record"), `present` (somebody finished it before), `busy` (somebody runs it now),
    `interrupted`, `failed` (with "failure": {"kind", "message", "traceback"}, written to the store too).
    """
    key = job["key"]
    with store.lock(key, wait=False) as held:
        if not held:
            return {"state": "busy"}
        record = store.done(job)
        if record is not None:
            return {"state": "present", "record": record}
        attempt, staging = store.begin(key)
        context = Context(
            staging=staging,
            resume=store.resume(key),
            store=store,
            data_roots=[Path(root) for root in data_roots],
            mesh=(job.get("resources") or {}).get("mesh") or {"data": 1, "model": 1},
            execution=job.get("execution") or {},
            progress=progress,
            should_stop=should_stop,
        )
        start = time.perf_counter()
        try:
            body = run(job, store, context)
            record = records.build(job, body, time.perf_counter() - start)
            store.publish(key, record, staging, attempt)
        except records.Interrupted:
            return {"state": "interrupted"}
        except Exception as error:  # whatever a job raises is its failure; the other jobs go on
            failure = {
                "kind": type(error).__name__,
                "message": one_line(error),
                "traceback": traceback.format_exc(),
            }
            store.fail(key, failure)
            return {"state": "failed", "failure": failure}
        return {"state": "done", "record": record}


def one_line(error: BaseException) -> str:
    """The error as one line for people: our own errors speak for themselves, others carry their type's name."""
    text = " ".join(str(error).split())
    if len(text) > 500:
        text = text[:497] + "..."
    if isinstance(error, (RuntimeInputError, ValueError, OSError)) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
