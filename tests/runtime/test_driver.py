"""The driver on real worker processes: order, resumption, deaths, failures, stops, and two runs on one store."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

import fakes
from runtime.driver import Driver, choose, critical_paths
from runtime.engines import EngineError, create, hint
from runtime.store import Store

pytestmark = pytest.mark.usefixtures("fake_workers")


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "trace"
    path.touch()
    return path


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def drive(plan, store, workers=2, resolve=fakes.same, on_event=None):
    events = []

    def tell(event):
        events.append(event)
        if on_event:
            on_event(driver, event)

    with create("local", store, workers=workers, runners=fakes.RUNNERS) as engine:
        driver = Driver(plan, store, engine, resolve, tell)
        outcome = driver.run()
    return outcome, events


def test_runs_each_key_once_in_order_and_a_second_run_does_nothing(store, trace):
    a = fakes.job("a", trace)
    b = fakes.job("b", trace, [a])
    c = fakes.job("c", trace, [a, b])
    twin = {**c, "name": "twin of c"}
    outcome, _ = drive(fakes.plan(c, twin, b, a), store)
    assert outcome.complete and outcome.ran[:2] == ["a", "b"]
    assert trace.read_text().split("\n")[:-1] in (["a", "b", "c"], ["a", "b", "twin of c"])
    assert (store.artifact(b["key"]) / "out.txt").read_text() == "b:a:"
    assert drive(fakes.plan(a, b, c, twin), store)[0].ran == []


def test_pending_job_runs_once_the_sweep_has_decided(store, trace):
    sweep = [fakes.job(f"sweep {i}", trace, loss=loss) for i, loss in enumerate((2.0, 1.0, 3.0))]
    pending = {**fakes.job("cell", trace), "key": None, "needs": [s["name"] for s in sweep]}

    def resolve(plan, record_of):
        records = [record_of(s["key"]) for s in sweep]
        if None in records:
            return plan
        best = min(range(3), key=lambda i: records[i]["metrics"]["dev"]["loss_sum"])
        cell = {**pending, "identity": sweep[best]["identity"], "key": sweep[best]["key"]}
        return {**plan, "jobs": [*sweep, cell]}

    outcome, _ = drive(fakes.plan(pending, *sweep), store, resolve=resolve)
    assert outcome.complete and sorted(outcome.ran) == ["sweep 0", "sweep 1", "sweep 2"]
    assert outcome.plan["jobs"][-1]["key"] == sweep[1]["key"]


def test_dead_worker_is_replaced_and_its_job_retried_once(store, trace):
    outcome, events = drive(fakes.plan(fakes.job("a", trace, die="once")), store, workers=1)
    assert outcome.complete and outcome.ran == ["a"]
    assert [e["reason"] for e in events if e["event"] == "lost"] == ["worker died (killed by SIGKILL)"]


def test_job_that_kills_its_worker_twice_fails(store, trace):
    bad = fakes.job("bad", trace, die="always")
    good = fakes.job("good", trace)
    outcome, _ = drive(fakes.plan(bad, good), store)
    assert outcome.failed == {"bad": "worker died (killed by SIGKILL), 2 times"} and outcome.ran == ["good"]
    assert store.failure(bad["key"])["kind"] == "WorkerDied"


def test_failure_blocks_what_needs_it_and_nothing_else(store, trace):
    bad = fakes.job("bad", trace, fail="row 3 has no second column")
    after = fakes.job("after", trace, [bad])
    good = fakes.job("good", trace)
    outcome, events = drive(fakes.plan(bad, after, good), store)
    assert outcome.failed == {"bad": "row 3 has no second column"}
    assert outcome.blocked == ["after"] and outcome.ran == ["good"] and not outcome.complete
    assert "Traceback" in store.failure(bad["key"])["traceback"] and "Traceback" in store.log(bad["key"]).read_text()


def test_third_equal_error_stops_the_run(store, trace):
    jobs = [fakes.job(f"bad {i}", trace, fail=f"disk full at byte {i}", flops=100) for i in range(6)] + [fakes.job("late", trace)]
    outcome, _ = drive(fakes.plan(*jobs), store, workers=1)
    assert len(outcome.failed) == 3 and "same error" in outcome.stopped and outcome.ran == []
    assert len(outcome.blocked) == 4


def test_gentle_stop_saves_and_the_next_run_resumes(store, trace):
    slow = fakes.job("slow", trace, steps=60, tick=0.05)
    next_ = fakes.job("next", trace, [slow])

    def stop(driver, event):
        if event["event"] == "progress" and event["step"] >= 5 and not driver.stops:
            driver.stop()

    outcome, _ = drive(fakes.plan(slow, next_), store, on_event=stop)
    assert outcome.interrupted and outcome.ran == []
    saved = int((store.resume(slow["key"]) / "step").read_text())
    assert 5 <= saved < 60
    assert drive(fakes.plan(slow, next_), store)[0].ran == ["slow", "next"]
    assert store.record(slow["key"])["run"]["digests"]["begin"] == str(saved)


def test_second_stop_cuts_off(store, trace):
    slow = fakes.job("slow", trace, steps=2, tick=30.0)

    def stop(driver, event):
        if event["event"] in ("progress", "stopping"):
            driver.stop()

    start = time.monotonic()
    outcome, _ = drive(fakes.plan(slow), store, on_event=stop)
    assert outcome.interrupted and time.monotonic() - start < 15


def test_longest_path_goes_first_and_sweeps_before_cells(trace):
    small, large = fakes.job("small", trace, flops=10), fakes.job("large", trace, flops=100)
    cell = fakes.job("cell", trace, [small], flops=500)
    path = critical_paths([cell, small, large])
    assert path == {"cell": 500.0, "small": 510.0, "large": 100.0}


def test_warm_worker_is_preferred_but_not_at_any_price(trace):
    a, b = fakes.job("a", trace, shape={"width": 8}), fakes.job("b", trace, shape={"width": 16})
    path = {"a": 100.0, "b": 90.0}
    assert choose([a, b], path, set(), set())["name"] == "a"
    assert choose([a, b], path, {hint(b)}, set())["name"] == "b"
    assert choose([a, b], {"a": 100.0, "b": 10.0}, {hint(b)}, set())["name"] == "a"
    assert choose([a, b], path, set(), {hint(a)})["name"] == "b"
    assert choose([a, b], path, set(), {hint(a), hint(b)})["name"] == "a"


SCRIPT = """
import json, sys
import fakes
from runtime.driver import Driver
from runtime.engines import create
from runtime.store import Store
store = Store(sys.argv[1])
with create("local", store, workers=2, runners=fakes.RUNNERS) as engine:
    outcome = Driver(json.load(open(sys.argv[2])), store, engine, fakes.same).run()
print(json.dumps(outcome.ran))
"""


def launch(store, plan, tmp_path, tmp="plan.json"):
    path = tmp_path / tmp
    path.write_text(json.dumps(plan))
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(store.root), str(path)], stdout=subprocess.PIPE, text=True, cwd=fakes.HERE.parents[1])


def test_two_runs_on_one_store_share_the_work(store, trace, tmp_path):
    first = fakes.job("first", trace, steps=5, tick=0.1)
    jobs = [first] + [fakes.job(f"job {i}", trace, [first], steps=3, tick=0.05) for i in range(6)]
    runs = [launch(store, fakes.plan(*jobs), tmp_path) for _ in range(2)]
    ran = [json.loads(run.communicate(timeout=60)[0]) for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert Counter(ran[0] + ran[1]) == Counter(job["name"] for job in jobs)
    assert Counter(trace.read_text().splitlines()) == Counter(job["name"] for job in jobs)


def test_kill_9_of_the_driver_ends_its_workers_and_loses_nothing(store, trace, tmp_path):
    slow = fakes.job("slow", trace, steps=200, tick=0.05)
    run = launch(store, fakes.plan(slow), tmp_path)
    state = store.resume(slow["key"]) / "step"
    deadline = time.monotonic() + 30
    while not (state.exists() and int(state.read_text()) >= 5):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    time.sleep(0.3)
    stopped_at = state.read_text()
    time.sleep(0.5)
    assert state.read_text() == stopped_at, "an orphan goes on writing"
    with store.lock(slow["key"], wait=False) as held:
        assert held


def test_worker_that_cannot_start_is_told_with_its_log(store, trace, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(EngineError, match="no worker could be started(.|\n)*nowhere"):
        drive(fakes.plan(fakes.job("a", trace)), store)
