"""A warm worker: runs the jobs that come in as JSON lines on standard input, one after another, in one process."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import queue
import signal
import sys
import threading
import time

PROGRESS_EVERY = 0.5  # seconds between two progress lines of a job


def main(arguments: list[str] | None = None) -> None:
    """`python -m runtime.worker --store DIR ...`; ends when standard input ends, at once and whatever it does."""
    parser = argparse.ArgumentParser(prog="runtime.worker")
    parser.add_argument("--store", required=True)
    parser.add_argument("--parent", type=int, required=True, help="process id of the driver")
    parser.add_argument("--cores", default="", help="cores to stay on, as 0,1")
    parser.add_argument("--data", action="append", default=[], help="root of the data paths; first wins")
    parser.add_argument("--runner", action="append", default=[], help="kind=module:function")
    options = parser.parse_args(arguments)

    die_with(options.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business
    if options.cores and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):  # a core that was taken away since is no reason to stop
            os.sched_setaffinity(0, {int(core) for core in options.cores.split(",")})
    # The pipe keeps its own descriptor; whatever a library prints goes to the log.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    idle_log = os.dup(2)

    tasks: queue.Queue = queue.Queue()
    stop = threading.Event()
    threading.Thread(target=listen, args=(tasks, stop), daemon=True).start()

    from runtime import jobs
    from runtime.store import Store

    for entry in options.runner:
        jobs.register(*entry.split("=", 1))
    store = Store(options.store)
    speaking = threading.Lock()

    def say(event: dict) -> None:
        with speaking:
            answers.write(json.dumps(event, ensure_ascii=False) + "\n")
            answers.flush()

    say({"event": "ready", "pid": os.getpid()})
    warmed = False
    while True:
        try:
            task = tasks.get(timeout=None if warmed else 0.05)
        except queue.Empty:
            warm_up(options.store)  # the first wait is used for the slow imports
            warmed = True
            continue
        if task is None:
            break
        if task["job"]["kind"] in ("pretrain", "finetune", "evaluate"):
            warm_up(options.store)
        say(serve(task, store, options.data, say, stop, idle_log))


def serve(task: dict, store, data_roots, say, stop, idle_log: int) -> dict:
    """Runs one task with its prints going to the job's log; returns the closing event."""
    from runtime import jobs

    job = task["job"]
    log = store.log(job["key"])
    log.parent.mkdir(parents=True, exist_ok=True)
    last = [0.0]

    def progress(event: dict) -> None:
        now = time.monotonic()
        if now - last[0] >= PROGRESS_EVERY:
            last[0] = now
            say({"event": "progress", "job": job["name"], **_plain(event)})

    start = time.perf_counter()
    with open(log, "a", encoding="utf-8") as handle:
        redirect(handle.fileno())
        try:
            print(f"# {job['name']} ({job['key']}), {time.strftime('%Y-%m-%d %H:%M:%S')}", file=sys.stderr, flush=True)
            result = jobs.execute(job, store, data_roots, progress, stop.is_set)
            if "failure" in result:
                print(result["failure"]["traceback"], file=sys.stderr, flush=True)
        finally:
            redirect(idle_log)
    return {"event": "end", "job": job["name"], "seconds": time.perf_counter() - start, **result}


def redirect(target: int) -> None:
    """Points descriptors 1 and 2 (Python's and C's prints) at `target`."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(target, 1)
    os.dup2(target, 2)


def listen(tasks: queue.Queue, stop: threading.Event) -> None:
    """Reads commands; when the driver is gone the process ends at once, so that no orphan goes on writing."""
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "run":
            tasks.put(command)
        elif command["do"] == "stop":
            stop.set()
        elif command["do"] == "exit":
            tasks.put(None)
    os._exit(1)


def die_with(parent: int) -> None:
    """Asks the kernel to kill this process when its parent dies: holds even while a C call keeps Python's lock."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def warm_up(store: str) -> None:
    """Imports JAX and points its compilation cache at the store, so that equal shapes compile once a store."""
    if "jax" in sys.modules:
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", os.path.join(os.path.abspath(store), "cache", "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.devices()


def _plain(event: dict) -> dict:
    return {k: (v.item() if hasattr(v, "item") else v) for k, v in event.items()}


if __name__ == "__main__":
    main()
