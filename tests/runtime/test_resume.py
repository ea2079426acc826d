"""Pretraining and finetuning jobs stopped and gone on with equal the undisturbed ones, bit for bit."""

import json
import math

import jax
import numpy as np
import pytest
import tiny

from compiler import counts
from runtime import checkpoints, jobs
from runtime.data import PackedText
from runtime.data.rows import write_rows, write_sources
from runtime.store import Store, job_key

OPTIMIZER = {"kind": "adamw", "learning_rate": 1e-2, "warmup_steps": 3, "clip": 1.0, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999}


def prepare(folder):
    """A store with text, tokenizer and examples; returns it with their keys."""
    store = Store(folder)
    keys = {"tokenizer": tiny.tokenizer(store)}
    lines = tiny.sentences()

    def text(staging):
        for part, chosen in (("train", lines[:300]), ("dev", lines[300:])):
            write_rows(staging / f"{part}.jsonl", [{"text": line, "language": "a", "source": 0} for line in chosen])
        write_sources(staging, {"train": [{"share": 1.0, "rows": 300}], "dev": [{"share": 1.0, "rows": 100}]})

    def examples(staging):
        rows = [{"source": line, "targets": [" ".join(reversed(line.split()[:3]))], "language": None, "origin": 0} for line in lines]
        write_rows(staging / "train.jsonl", rows[:300])
        write_rows(staging / "dev.jsonl", rows[300:340])
        write_sources(staging, {"train": [{"share": 1.0, "rows": 300}], "dev": [{"share": 1.0, "rows": 40}]})

    keys["text"] = tiny.publish(store, "data", "pretraining_text", {}, text)
    keys["data"] = tiny.publish(store, "data", "examples", {}, examples)
    return store, keys


def shape():
    return vars(tiny.shape_of("mqa tied swiglu", 96))


def trunk(keys, stops, **more):
    identity = {
        "kind": "pretrain", "version": 1, "role": "trunk", "shape": shape(), "text": keys["text"], "tokenizer": keys["tokenizer"],
        "sequence_length": 16, "batch_size": 4, "optimizer": {**OPTIMIZER, "schedule": "wsd"}, "objective": "causal",
        "precision": {"compute": "float32", "weights": "float32"}, "seed": 0, **more,
    }
    return job("pretrain", "trunk", identity, {"checkpoint_steps": stops})


def level(keys, trunk_key, first, steps):
    identity = trunk(keys, [])["identity"]
    return job("pretrain", "level", {**identity, "role": "level", "trunk": trunk_key, "trunk_step": first, "steps": steps})


def tuning(keys, base, method="lora", **more):
    identity = {
        "kind": "finetune", "version": 1, "base": base, "tokenizer": keys["tokenizer"], "data": keys["data"], "task": tiny.TASK,
        "method": tiny.METHODS[method], "learning_rate": 1e-2, "batch_size": 8, "examples": 64, "steps": 30,
        "evaluate": {"at": [0, 1, 2, 4, 8], "every": 10}, "keep": "best_dev", "optimizer": {**OPTIMIZER, "schedule": "cosine"},
        "precision": tiny.PRECISION, "shape": shape(), "seed": 0, **more,
    }
    del identity["optimizer"]["learning_rate"]
    return job("finetune", "cell", identity)


def job(kind, role, identity, execution=None):
    return {
        "name": f"{kind}/{role}", "key": job_key(identity), "kind": kind, "role": role, "identity": identity, "needs": [],
        "factors": {}, "execution": execution or {}, "resources": {"mesh": {"data": 1, "model": 1}},
    }


def run(store, job, stops=()):
    """Runs a job to its end, stopped at each count of safe points in `stops` and gone on with afterwards."""
    for stop in stops:
        asked = iter(range(10**6))
        result = jobs.execute(job, store, should_stop=lambda: next(asked) >= stop)
        assert result["state"] == "interrupted", result
        assert store.done(job) is None
    result = jobs.execute(job, store)
    assert result["state"] == "done", result.get("failure")
    return result["record"]


def weights(store, key, part, like):
    return checkpoints.load(store.artifact(key) / part, like)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """An undisturbed store with a trunk and a level."""
    store, keys = prepare(tmp_path_factory.mktemp("whole"))
    first = trunk(keys, [30, 60])
    run(store, first)
    branch = level(keys, first["key"], 60, 75)
    record = run(store, branch)
    return store, keys, first, branch, record


def level_weights(store, branch):
    return checkpoints.load_base(store, branch["key"], tiny.shape_of("mqa tied swiglu", 96))


def test_pretraining_learns(bases):
    store, keys, first, branch, record = bases
    curve = store.record(first["key"])["training"]["curve"]
    assert curve[-1]["train_loss"] < curve[0]["train_loss"] - 0.3
    dev = record["metrics"]["dev"]
    assert 0 < dev["loss_sum"] / dev["target_tokens"] < math.log(96)
    assert record["training"]["tokens_seen"] == 75 * 4 * 16


def test_a_stopped_trunk_and_branch_equal_the_undisturbed_ones(bases, tmp_path):
    store, keys, first, branch, record = bases
    other, again = prepare(tmp_path / "stopped")
    assert again == keys
    stopped = run(other, first, stops=[1, 1])
    assert stopped["training"]["curve"][-1] == store.record(first["key"])["training"]["curve"][-1]
    assert run(other, branch)["metrics"] == record["metrics"]
    assert same(level_weights(store, branch), level_weights(other, branch))
    other_seed, _ = prepare(tmp_path / "other")
    mutated = trunk(keys, [60], seed=1)
    run(other_seed, mutated)
    moved = level(keys, mutated["key"], 60, 75)
    moved["identity"]["seed"] = 1
    moved["key"] = job_key(moved["identity"])
    run(other_seed, moved)
    assert not same(level_weights(store, branch), level_weights(other_seed, moved))


def test_a_new_level_extends_or_branches_the_trunk_and_rekeys_nothing(bases, tmp_path):
    store, keys, first, branch, record = bases
    other, _ = prepare(tmp_path)
    run(other, trunk(keys, [30]))
    grown = trunk(keys, [30, 60])
    assert grown["key"] == first["key"] and other.done(grown) is None
    assert run(other, grown)["training"]["checkpoint_steps"] == [30, 60]
    between = trunk(keys, [45, 60])
    assert run(other, between)["training"]["checkpoint_steps"] == [30, 45, 60]
    assert run(other, branch)["metrics"] == record["metrics"]


def test_a_separate_run_equals_trunk_and_branch(bases):
    """Decayed checkpoints are what whole runs of their own would give, only cheaper."""
    store, keys, first, branch, record = bases
    identity = {**branch["identity"], "trunk": None, "trunk_step": 0, "decay_start": 60}
    alone = job("pretrain", "level", identity)
    assert run(store, alone)["metrics"] == record["metrics"]
    assert same(level_weights(store, alone), level_weights(store, branch))
    later = job("pretrain", "level", {**identity, "decay_start": 70})
    assert run(store, later)["metrics"] != record["metrics"]


@pytest.mark.parametrize("method", ["full", "lora", "prompt"])
def test_a_stopped_finetuning_equals_the_undisturbed_one(bases, tmp_path, method):
    store, keys, _, branch, _ = bases
    whole = tuning(keys, branch["key"], method)
    record = run(store, whole)
    assert record["status"] == "ok" and record["training"]["best_step"] > 0
    again = {**whole, "identity": {**whole["identity"]}, "key": whole["key"][::-1]}
    stopped = run(store, again, stops=[2, 1])
    for part in ("metrics", "training"):
        without = [{k: v for k, v in r[part].items() if k != "compilations"} for r in (record, stopped)]
        assert without[0] == without[1]
    method = checkpoints.methods.of(whole["identity"]["method"])
    trained = [checkpoints.load_trained(store, key, method, tiny.shape_of("mqa tied swiglu", 96), "float32") for key in (whole["key"], again["key"])]
    assert same(*trained)


def test_a_harmful_rate_keeps_the_base_and_says_so(bases):
    store, keys, _, branch, _ = bases
    record = run(store, tuning(keys, branch["key"], "full", learning_rate=30.0, evaluate={"at": [], "every": 10}))
    assert record["training"]["best_step"] == 0
    assert record["metrics"]["dev"] == record["metrics"]["untuned_dev"]
    assert [w["id"] for w in record["run"]["warnings"]] == ["WORSE_THAN_BASE"]
    untouched = tuning(keys, branch["key"], "full", learning_rate=30.0, evaluate={"at": [], "every": 10})
    assert checkpoints.kept_base(store, untouched["key"])
    assert json.loads((store.artifact(untouched["key"]) / "kept.json").read_text()) == {"step": 0}


def test_records_hold_the_operations_of_their_own_steps(bases):
    store, keys, first, branch, record = bases
    size = counts.parameters(shape())
    a_step = 4 * 6 * size["total"] * 16  # six operations a weight and token, attention and norms aside
    assert 0.9 < store.record(first["key"])["training"]["flops"] / (60 * a_step) < 1.2
    assert record["training"]["flops"] == store.record(first["key"])["training"]["flops"] / 60 * 15
    tuned = {m: run(store, tuning(keys, branch["key"], m, steps=20, seed=5))["training"]["flops"] for m in ("full", "lora", "prompt")}
    assert 0 < tuned["lora"] < tuned["full"] and 0 < tuned["prompt"] < tuned["full"]


def test_too_few_examples_after_dropping_says_why(bases):
    store, keys, _, branch, _ = bases
    task = {**tiny.TASK, "lengths": {"source": 8, "target": 12, "too_long": "drop"}}
    result = jobs.execute(tuning(keys, branch["key"], task=task, examples=290), store)
    assert result["state"] == "failed"
    assert "training examples" in result["failure"]["message"] and "source 8 or target 12" in result["failure"]["message"]


def test_keep_last_keeps_the_last(bases):
    store, keys, _, branch, _ = bases
    best, last = (run(store, tuning(keys, branch["key"], "full", learning_rate=0.05, steps=40, keep=keep)) for keep in ("best_dev", "last"))
    assert last["training"]["best_step"] == 40
    assert best["metrics"]["dev"]["loss_sum"] <= last["metrics"]["dev"]["loss_sum"]


def test_pretraining_text_order_is_a_function_of_seed_and_step(bases):
    store, keys, *_ = bases
    tokenizer = checkpoints_tokenizer(store, keys)
    first, again, other = (PackedText(store.artifact(keys["text"]), tokenizer, 16, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.batch(7, 4), again.batch(7, 4))
    assert not np.array_equal(first.batch(7, 4), other.batch(7, 4))


def checkpoints_tokenizer(store, keys):
    from runtime import tokenizers

    return tokenizers.load(store.artifact(keys["tokenizer"]))
