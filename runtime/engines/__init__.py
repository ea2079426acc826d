"""Engines: where ready jobs are executed. An engine has five verbs; one registry entry and one file add one.

    capabilities() -> {"engine", "slots", "device", "free": [slot, ...], "warm": {slot: [hint, ...]}}
    submit(job, slot)         starts a job in a free slot
    poll(seconds) -> [event]  waits at most so long; events: {"event": "progress" | "end" | "lost" | "dead", "job": name, ...};
                              lost: the worker died under the job; dead: an idle worker ended and stays away
    cancel(gently)            asks running jobs to stop at a safe point, or ends them at once
    logs(key) -> str          what a job printed

and `close()`, which frees what the engine holds.
"""

from __future__ import annotations

import hashlib
import importlib

from compiler.identity import canonical_json

class EngineError(Exception):
    """An engine that cannot do its work on this machine."""


class DoesNotFit(EngineError):
    """More devices are asked for than this machine has."""


# name -> "module:class"; imported when it is asked for
ENGINES = {"local": "runtime.engines.local:LocalEngine"}


def register(name: str, target: str) -> None:
    """Adds an engine; `target` is `module:class`."""
    ENGINES[name] = target


def create(name: str, store, **options):
    """An engine by its name. Raises EngineError for a name nobody registered."""
    if name not in ENGINES:
        raise EngineError(f"no engine {name!r}; known are {', '.join(sorted(ENGINES))}")
    module, attribute = ENGINES[name].split(":")
    return getattr(importlib.import_module(module), attribute)(store, **options)


def hint(job: dict) -> str:
    """Jobs of equal hint share compiled programs, so the same worker should run them."""
    identity = job["identity"]
    method = identity.get("method") or {}
    parts = {
        "kind": job["kind"],
        "role": job["role"] if job["kind"] in ("pretrain", "data") else None,
        "shape": identity.get("shape"),
        "method": {k: method[k] for k in ("name", "rank", "prompt_length", "targets") if k in method},
        "batch_size": identity.get("batch_size"),
        "lengths": (identity.get("task") or {}).get("lengths"),
    }
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()[:8]
