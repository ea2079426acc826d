"""The driver: takes a plan to its records. It keeps the graph, submits ready jobs only, and can die at any moment."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import Callable

from runtime.engines import EngineError, hint
from runtime.progress import Pace
from runtime.store import Store

RETRIES = 1  # free new attempts after the death of a worker; a job's own error has none
EQUAL_ERRORS = 3  # so many failures with one message stop the run: the rest would fail likewise
BUSY_PAUSE = 1.0  # seconds before a job that another run holds is looked at again
WINDOW = 0.5  # a job on a warm worker may overtake one whose path to the end is at most twice as long


@dataclass
class Outcome:
    """What came of a run. `failed` maps job names to one line each; `blocked` are the jobs that needed them."""

    plan: dict
    ran: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    blocked: list[str] = field(default_factory=list)
    interrupted: bool = False
    stopped: str = ""
    seconds: float = 0.0
    workers: int = 0
    training_seconds: float = 0.0

    @property
    def complete(self) -> bool:
        return not (self.failed or self.blocked or self.interrupted or self.stopped)


class Driver:
    """Runs what a plan lacks.

    resolve: `compiler.resolve`; on_event: told of everything that happens, as dicts with "event":
    start, end, failed, lost, progress, waiting, stopping. `stop()` may be called from a signal handler:
    once for a gentle end, twice to cut off.
    """

    def __init__(self, plan: dict, store: Store, engine, resolve: Callable, on_event: Callable[[dict], None] = lambda event: None):
        self.store, self.engine, self.resolve, self.on_event = store, engine, resolve, on_event
        self.plan = resolve(plan, store.record)
        self.running: dict[str, dict] = {}  # name -> job as submitted
        self.progress: dict[str, dict] = {}  # name -> last progress event of a running job
        self.done: set[str] = set()
        self.waiting: dict[str, float] = {}  # name -> when another run's job is looked at again
        self.attempts: dict[str, int] = {}
        self.stops = 0
        self.slots = 0
        self.pace = Pace()
        self.outcome = Outcome(self.plan)
        self._index()
        for job in self.plan["jobs"]:
            if job["name"] in self.done:
                self.pace.learn(job, self.store.done(job))

    # the graph

    def _index(self) -> None:
        """Reads the resolved plan: which jobs there are, which are done, how long each one's path to the end is."""
        self.jobs = {job["name"]: job for job in self.plan["jobs"]}
        finished = {name for name, job in self.jobs.items() if name not in self.done and self.store.done(job)}
        for name in finished:
            self.store.tidy(self.jobs[name]["key"])
        self.done |= finished
        self.path = critical_paths(self.plan["jobs"])

    def refresh(self) -> None:
        """Looks at the records anew and fills in what they make known."""
        self.plan = self.outcome.plan = self.resolve(self.plan, self.store.record)
        self._index()

    def ready(self) -> list[dict]:
        """Jobs that can start now, each key once, the longest path to the end first."""
        taken = {job["key"] for job in self.running.values()}
        failed = {self.jobs[name]["key"] for name in self.outcome.failed if name in self.jobs}
        now = time.monotonic()
        found = []
        for job in sorted(self.plan["jobs"], key=lambda job: (-self.path[job["name"]], job["name"])):
            name, key = job["name"], job["key"]
            if key is None or name in self.done or key in taken or key in failed or self.waiting.get(name, 0) > now:
                continue
            if all(need in self.done for need in job["needs"]):
                taken.add(key)
                found.append(job)
        return found

    # the loop

    def stop(self) -> None:
        """Ends the run: the first call gently, any further one at once."""
        self.stops += 1

    def run(self) -> Outcome:
        """Runs until nothing can be run any more; the engine is left open."""
        start = time.monotonic()
        told = 0
        for job in self.jobs.values():
            if job["key"] and job["name"] not in self.done:
                self.store.clear_failure(job["key"])
        if len(self.done) < len(self.jobs):
            self.slots = self.outcome.workers = self.engine.capabilities()["slots"]
        # A record may be seen before its worker's last word is read: what this run did is counted all the same.
        while len(self.done) < len(self.jobs) or self.running:
            if self.stops > told:
                told = self.stops
                self.on_event({"event": "stopping", "running": len(self.running), "gently": told == 1})
                self.engine.cancel(gently=told == 1)
                if told > 1:
                    break
            if not self.stops and not self.outcome.stopped:
                self._submit()
            if not self.running:
                if self.stops or self.outcome.stopped or not self._waits():
                    break
            for event in self.engine.poll(0.2):
                self._take(event)
            self.outcome.seconds = time.monotonic() - start
            self.on_event({"event": "tick"})
        self.outcome.interrupted = bool(self.stops)
        self.outcome.seconds = time.monotonic() - start
        self.outcome.blocked = [n for n in self.jobs if n not in self.done and n not in self.outcome.failed]
        return self.outcome

    def _waits(self) -> bool:
        """Whether another run holds jobs that this one needs; looks whether they are finished."""
        if not self.waiting:
            return False
        if min(self.waiting.values()) <= time.monotonic():
            self.waiting = {name: until for name, until in self.waiting.items() if name not in self.done}
            self.refresh()
        return bool(self.waiting) or bool(self.ready())

    def _submit(self) -> None:
        able = self.engine.capabilities()
        ready = self.ready() if able["free"] else []
        warm = {slot: set(hints) for slot, hints in able["warm"].items()}
        for slot in able["free"]:
            if not ready:
                return
            elsewhere = set().union(*(hints for other, hints in warm.items() if other != slot))
            job = choose(ready, self.path, warm.get(slot, set()), elsewhere)
            ready.remove(job)
            warm.setdefault(slot, set()).add(hint(job))
            self.running[job["name"]] = job
            self.waiting.pop(job["name"], None)
            self.on_event({"event": "start", "job": job["name"], "slot": slot})
            self.engine.submit(job, slot)

    def _take(self, event: dict) -> None:
        """Acts on one event of the engine."""
        name = event.get("job")
        if event["event"] == "progress":
            if name in self.running:
                self.progress[name] = event
                self.on_event(event)
            return
        if event["event"] == "dead":
            self.running.pop(name, None)
            if not self.running and not self.engine.capabilities()["free"]:
                raise EngineError(f"no worker could be started ({event['reason']}); its log ends with:\n{event['log']}")
            return
        job = self.running.pop(name)
        self.progress.pop(name, None)
        if event["event"] == "lost":
            self._lost(job, event)
        elif event["state"] in ("done", "present"):
            if event["state"] == "done":
                self.outcome.ran.append(name)
                self.outcome.training_seconds += event["record"]["run"]["training_seconds"]
                self.pace.learn(job, event["record"])
            self.refresh()
            self.on_event({"event": "end", "job": name, "state": event["state"], "record": event["record"]})
        elif event["state"] == "busy":
            self.waiting[name] = time.monotonic() + BUSY_PAUSE
            self.on_event({"event": "waiting", "job": name})
        elif event["state"] == "failed":
            self._fail(job, event["failure"])

    def _lost(self, job: dict, event: dict) -> None:
        name = job["name"]
        if self.stops > 1:
            return
        self.attempts[name] = self.attempts.get(name, 0) + 1
        if self.attempts[name] <= RETRIES:
            self.on_event({"event": "lost", "job": name, "reason": event["reason"]})
            return
        failure = {"kind": "WorkerDied", "message": f"{event['reason']}, {self.attempts[name]} times", "traceback": event["log"]}
        self.store.fail(job["key"], failure)
        self._fail(job, failure)

    def _fail(self, job: dict, failure: dict) -> None:
        name, line = job["name"], failure["message"]
        self.outcome.failed[name] = line
        self.on_event({"event": "failed", "job": name, "message": line, "log": str(self.store.log(job["key"]))})
        equal = [n for n, other in self.outcome.failed.items() if gist(other) == gist(line)]
        if len(equal) >= EQUAL_ERRORS and not self.outcome.stopped:
            self.outcome.stopped = f"{len(equal)} jobs failed with the same error, so no more were started"

    # for displays

    def seconds_left(self) -> float | None:
        """Time left, from the measured pace of each kind of job; None before anything was measured."""
        left = [job for name, job in self.jobs.items() if name not in self.done and name not in self.outcome.failed]
        unique = {job["key"] or job["name"]: job for job in left}
        shares = {n: (p["step"] / p["steps"]) for n, p in self.progress.items() if p.get("steps")}
        return self.pace.left(list(unique.values()), shares, max(1, self.slots))


def gist(message: str) -> str:
    """A message without what differs from job to job: keys and numbers."""
    return re.sub(r"[0-9a-f]{20}|[0-9][0-9.e+-]*", "#", message)


def critical_paths(jobs: list[dict]) -> dict[str, float]:
    """FLOPs from the start of each job to the end of the plan along the costliest chain of jobs that need it.

    A job whose cost is not counted (data) weighs one; what depends on a sweep counts into the sweep's path.
    """
    users: dict[str, list[str]] = {job["name"]: [] for job in jobs}
    cost = {job["name"]: max(1.0, float(job["cost"]["flops"])) for job in jobs}
    for job in jobs:
        for need in job["needs"]:
            if need in users:
                users[need].append(job["name"])
    path: dict[str, float] = {}
    for start in users:
        stack = [start]
        while stack:
            name = stack[-1]
            if name in path:
                stack.pop()
                continue
            open_ends = [user for user in users[name] if user not in path]
            if open_ends:
                stack += open_ends
                continue
            path[name] = cost[name] + max((path[user] for user in users[name]), default=0.0)
            stack.pop()
    return path


def choose(ready: list[dict], path: dict[str, float], warm: set[str], elsewhere: set[str]) -> dict:
    """The job for a free worker: of those near the longest path, one that it has compiled already.

    Failing that one that no other worker has compiled or is compiling, else simply the longest.
    """
    longest = path[ready[0]["name"]]
    near = [job for job in ready if path[job["name"]] >= WINDOW * longest]
    for job in near:
        if hint(job) in warm:
            return job
    for job in near:
        if hint(job) not in elsewhere:
            return job
    return ready[0]
