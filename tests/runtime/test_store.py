"""The store: what is served, what is not, and what a kill leaves behind."""

import json
import multiprocessing
import os
import signal
import time

import pytest

import fakes
from compiler.identity import canonical_json
from runtime import records
from runtime.store import Store, StaleAttempt, merge_tree


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def publish(store, job, files=None, training=None, number=None):
    attempt, staging = store.begin(job["key"])
    for name, text in (files or {"out.txt": "x"}).items():
        (staging / name).write_text(text)
    record = records.build(job, {"metrics": {}, "training": training, "training_seconds": 0.5}, seconds=1.0)
    store.publish(job["key"], record, staging, attempt if number is None else number)
    return record


def test_published_job_is_done_and_leaves_nothing_unfinished(store, tmp_path):
    job = fakes.job("a", tmp_path)
    assert store.done(job) is None
    record = publish(store, job)
    assert store.done(job) == record
    assert (store.artifact(job["key"]) / "out.txt").read_text() == "x"
    names = {entry.name for entry in store.folder(job["key"]).iterdir()}
    assert names == {"record.json", "artifact", "attempt"}


def test_other_identity_is_never_served_and_told_once(tmp_path):
    told = []
    store = Store(tmp_path / "store", warn=told.append)
    job = fakes.job("a", tmp_path)
    publish(store, job)
    drifted = {**job["identity"], "steps": 2}
    assert store.record(job["key"], drifted) is None
    assert store.record(job["key"], drifted) is None
    assert len(told) == 1 and "steps: 1 -> 2" in told[0]
    assert store.record(job["key"], job["identity"]) is not None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": "x"}', "\x00"])
def test_damaged_record_counts_as_absent(tmp_path, text):
    told = []
    store = Store(tmp_path / "store", warn=told.append)
    job = fakes.job("a", tmp_path)
    publish(store, job)
    (store.folder(job["key"]) / "record.json").write_text(text)
    assert store.record(job["key"]) is None and len(told) == 1
    publish(store, job)
    assert store.done(job) is not None


def test_record_whose_identity_was_edited_is_not_served(tmp_path):
    told = []
    store = Store(tmp_path / "store", warn=told.append)
    job = fakes.job("a", tmp_path)
    record = publish(store, job)
    record["identity"]["steps"] = 5
    (store.folder(job["key"]) / "record.json").write_text(json.dumps(record))
    assert store.record(job["key"]) is None and "does not give its key" in told[0]


def test_record_without_artifact_is_not_done(store, tmp_path):
    job = fakes.job("a", tmp_path)
    publish(store, job)
    os.rename(store.artifact(job["key"]), tmp_path / "gone")
    assert store.done(job) is None


def test_leftovers_of_an_attempt_are_cleared_and_resume_state_is_kept(store, tmp_path):
    job = fakes.job("a", tmp_path)
    _, staging = store.begin(job["key"])
    (staging / "half").write_text("half")
    (store.resume(job["key"]) / "step").write_text("7")
    number, again = store.begin(job["key"])
    assert number == 2 and list(again.iterdir()) == [] and not staging.exists()
    assert (store.resume(job["key"]) / "step").read_text() == "7"
    publish(store, job)
    assert not store.resume(job["key"]).exists()


def test_overtaken_attempt_may_not_publish(store, tmp_path):
    job = fakes.job("a", tmp_path)
    store.begin(job["key"])
    with pytest.raises(StaleAttempt):
        publish(store, job, number=1)
    assert store.done(job) is None


def test_artifact_without_record_is_replaced(store, tmp_path):
    job = fakes.job("a", tmp_path)
    publish(store, job, {"old.txt": "old"})
    (store.folder(job["key"]) / "record.json").unlink()
    assert store.done(job) is None
    publish(store, job, {"new.txt": "new"})
    assert [p.name for p in store.artifact(job["key"]).iterdir()] == ["new.txt"]


def test_trunk_is_done_only_with_all_its_checkpoints_and_extends(store, tmp_path):
    job = {**fakes.job("t", tmp_path), "kind": "pretrain", "role": "trunk"}
    job["execution"] = {"checkpoint_steps": [10, 20]}
    publish(store, job, {"10": "a", "20": "b"}, {"checkpoint_steps": [10, 20]})
    assert store.done(job) is not None
    longer = {**job, "execution": {"checkpoint_steps": [20, 30]}}
    assert store.done(longer) is None and store.done(job) is not None
    publish(store, longer, {"30": "c"}, {"checkpoint_steps": [10, 20, 30]})
    assert store.done(longer) is not None and store.done(job) is not None
    assert sorted(p.name for p in store.artifact(job["key"]).iterdir()) == ["10", "20", "30"]


def test_merge_keeps_what_is_there(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    (a / "deep").mkdir(parents=True), (b / "deep").mkdir(parents=True)
    (a / "deep" / "new").write_text("new"), (a / "both").write_text("a")
    (b / "deep" / "old").write_text("old"), (b / "both").write_text("b")
    merge_tree(a, b)
    assert (b / "deep" / "new").read_text() == "new" and (b / "deep" / "old").read_text() == "old" and (b / "both").read_text() == "a"


def hold(root, key, ready):
    with Store(root).lock(key) as held:
        ready.put(held)
        time.sleep(60)


def test_lock_is_exclusive_and_freed_by_kill_9(store, tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Queue()
    holder = context.Process(target=hold, args=(store.root, "k" * 20, ready))
    holder.start()
    assert ready.get(timeout=20)
    with store.lock("k" * 20, wait=False) as held:
        assert not held
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with store.lock("k" * 20, wait=False) as held:
        assert held


def test_failure_is_kept_until_the_job_is_done(store, tmp_path):
    job = fakes.job("a", tmp_path)
    store.fail(job["key"], {"kind": "ValueError", "message": "no", "traceback": ""})
    assert store.failure(job["key"])["message"] == "no"
    publish(store, job)
    assert store.failure(job["key"]) is None


def test_record_holds_no_number_that_json_lacks(tmp_path):
    job = fakes.job("a", tmp_path)
    record = records.build(job, {"status": "diverged", "metrics": {"dev": {"loss_sum": float("nan"), "target_tokens": 3}}}, seconds=1.0)
    assert record["metrics"]["dev"]["loss_sum"] is None
    assert json.loads(canonical_json(record)) == record


def test_record_outside_the_schema_is_refused(tmp_path):
    job = fakes.job("a", tmp_path)
    with pytest.raises(ValueError, match="metrics/dev"):
        records.build(job, {"metrics": {"dev": {"loss_sum": 1.0, "target_tokens": -1}}}, seconds=1.0)
    with pytest.raises(ValueError, match="status"):
        records.build(job, {"status": "fine"}, seconds=1.0)
    with pytest.raises(TypeError, match="PosixPath"):
        records.build(job, {"metrics": {"x": tmp_path}}, seconds=1.0)


def test_tidy_removes_leftovers_unless_somebody_works_there(tmp_path):
    store = Store(tmp_path)
    key = "0" * 20
    _, staging = store.begin(key)
    (store.resume(key) / "state").write_text("x")
    with store.lock(key):
        store.tidy(key)
        assert staging.exists() and store.resume(key).exists()
    store.tidy(key)
    assert not staging.exists() and not store.resume(key).exists()
