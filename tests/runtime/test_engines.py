"""Engines: the registry, what each worker is given, and that another engine needs nothing but the five verbs."""

import os

import pytest

import fakes
from runtime import engines, jobs
from runtime.driver import Driver
from runtime.engines import local
from runtime.store import Store


class InProcess:
    """An engine of a few lines: runs each job where it is, at once."""

    def __init__(self, store, **options):
        self.store, self.events = store, []

    def capabilities(self):
        return {"engine": "in-process", "slots": 1, "device": "here", "free": [0], "warm": {}}

    def submit(self, job, slot):
        self.events.append({"event": "end", "job": job["name"], **jobs.execute(job, self.store)})

    def poll(self, seconds):
        events, self.events = self.events, []
        return events

    def cancel(self, gently=True):
        raise AssertionError("nothing runs between two calls")

    def logs(self, key):
        return ""

    def close(self):
        self.events = []


def test_another_engine_needs_a_registry_entry_and_five_verbs(tmp_path, monkeypatch):
    monkeypatch.setitem(engines.ENGINES, "in-process", f"{__name__}:InProcess")
    monkeypatch.setitem(jobs.RUNNERS, "finetune", fakes.RUNNERS["finetune"])
    store = Store(tmp_path / "store")
    a = fakes.job("a", tmp_path / "trace")
    b = fakes.job("b", tmp_path / "trace", [a])
    outcome = Driver(fakes.plan(b, a), store, engines.create("in-process", store), fakes.same).run()
    assert outcome.complete and outcome.ran == ["a", "b"]


def test_unknown_engine_names_the_known_ones(tmp_path):
    with pytest.raises(engines.EngineError, match="known are local"):
        engines.create("slurm", Store(tmp_path))


def test_unknown_job_kind_is_a_failure_of_that_job(tmp_path):
    job = {**fakes.job("a", tmp_path), "kind": "unheard"}
    result = jobs.execute(job, Store(tmp_path))
    assert result["state"] == "failed" and "no runner" in result["failure"]["message"]


@pytest.fixture
def cpu(monkeypatch):
    monkeypatch.setattr(local, "nvidia_gpus", lambda: [])
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 3, 5}, raising=False)
    for name in ("JAX_PLATFORMS", "XLA_FLAGS"):
        monkeypatch.delenv(name, raising=False)


def test_on_cpu_auto_is_a_worker_with_one_thread_on_each_core(cpu):
    plans = local.layout("auto", devices=1)
    assert [plan["cores"] for plan in plans] == [[2], [3], [5]]
    for plan in plans:
        assert plan["environment"]["JAX_PLATFORMS"] == "cpu" and plan["environment"]["OMP_NUM_THREADS"] == "1"
        assert "--xla_cpu_multi_thread_eigen=false" in plan["environment"]["XLA_FLAGS"]


def test_one_worker_keeps_every_core(cpu):
    (plan,) = local.layout(1, devices=1)
    assert plan["cores"] == [] and "XLA_FLAGS" not in plan["environment"]


def test_mesh_on_cpu_is_one_worker_that_emulates_its_devices(cpu, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_some_flag=1")
    (plan,) = local.layout("auto", devices=8)
    assert plan["environment"]["XLA_FLAGS"] == "--xla_some_flag=1 --xla_force_host_platform_device_count=8"


@pytest.mark.parametrize("workers,devices,seen", [
    ("auto", 1, ["0", "1", "2", "3"]), ("auto", 2, ["0,1", "2,3"]), (2, 1, ["0", "1"]), ("auto", 3, ["0,1,2"]),
])  # fmt: skip
def test_gpus_are_shared_out_in_groups_of_the_mesh(monkeypatch, workers, devices, seen):
    monkeypatch.setattr(local, "nvidia_gpus", lambda: ["0", "1", "2", "3"])
    assert [plan["environment"]["CUDA_VISIBLE_DEVICES"] for plan in local.layout(workers, devices)] == seen


def test_several_workers_on_one_gpu_share_its_memory(monkeypatch):
    monkeypatch.setattr(local, "nvidia_gpus", lambda: ["0"])
    plans = local.layout(3, devices=1)
    assert [plan["environment"] for plan in plans] == [{"CUDA_VISIBLE_DEVICES": "0", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.30"}] * 3


def test_mesh_larger_than_the_machine_is_refused(monkeypatch):
    monkeypatch.setattr(local, "nvidia_gpus", lambda: ["0"])
    with pytest.raises(engines.DoesNotFit, match="spans 8 devices, this machine has 1"):
        local.layout("auto", devices=8)


def test_hint_tells_shapes_and_methods_apart_but_not_rates_and_seeds(tmp_path):
    base = fakes.job("a", tmp_path, shape={"width": 8}, method={"name": "lora", "rank": 4}, learning_rate=1e-3, seed=0)
    same = fakes.job("b", tmp_path, shape={"width": 8}, method={"name": "lora", "rank": 4}, learning_rate=1e-2, seed=1)
    other = fakes.job("c", tmp_path, shape={"width": 8}, method={"name": "lora", "rank": 8}, learning_rate=1e-3, seed=0)
    assert engines.hint(base) == engines.hint(same) != engines.hint(other)
