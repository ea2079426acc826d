"""The tables: pooled losses, baselines, diverged runs, partial tables, and an order that time does not change."""

import random

import fakes
from runtime import records, results
from runtime.accounts import Accounts, entropies
from runtime.driver import Outcome
from runtime.progress import Pace
from runtime.store import Store


def sums(loss, tokens=10):
    return {"loss_sum": loss * tokens, "target_tokens": tokens}


def evaluate(name, model, base, method, losses, factors):
    job = fakes.job(f"evaluate {name}", "none", model=model, base=base, method={"name": method}, sets=[
        {"name": set_name, "role": role, "data": "d" * 20, "metrics": ["loss", "bleu"]} for set_name, role in (("a", "test"), ("b", "test"), ("z", "zero_shot"))
    ])  # fmt: skip
    body = {"metrics": {"sets": {
        "a": {"role": "test", **sums(losses[0], 10), "examples": 2, "bleu": {"score": 1.5, "signature": "s"}},
        "b": {"role": "test", **sums(losses[1], 30), "examples": 2},
        "z": {"role": "zero_shot", **sums(9.0), "examples": 2},
    }, "pretraining": sums(4.0), "dev": sums(2.0) if method == "none" else None}}  # fmt: skip
    return {**job, "kind": "evaluate", "factors": factors, "held_out": ""}, body


def finetune(name, rate, loss, role="cell", status="ok", best_step=5, **factors):
    job = fakes.job(name, "none", learning_rate=rate, seed=0, method={"name": "full"})
    body = {
        "status": status,
        "metrics": {"dev": sums(loss), "trained_dev": sums(loss), "untuned_dev": sums(3.0), "train": {"loss": loss}},
        "training": {"steps": 10, "best_step": best_step, "examples_seen": 40, "epochs": 2.5, "flops": 7.0, "finetuning_tokens": 99},
    }
    return {**job, "role": role, "factors": {"task": "t", "method": "full", "model_size": "s", "pretraining_tokens": 5, **factors}}, body


def publish(store, pairs):
    for job, body in pairs:
        number, staging = store.begin(job["key"])
        store.publish(job["key"], records.build(job, body, seconds=2.0), staging, number)


def small_plan():
    base = "b" * 20
    common = {"task": "t", "model_size": "s", "pretraining_tokens": 5}
    none = evaluate("none", base, base, "none", (5.0, 5.0), {**common, "method": "none", "finetuning_examples": 0})
    tuned, scored = [], []
    for examples in (16, 32, 64):
        tuned.append(finetune(f"cell {examples}", 1e-3, 2.0, finetuning_examples=examples, seed=0))
        factors = {**common, "method": "full", "finetuning_examples": examples, "seed": 0}
        scored.append(evaluate(f"cell {examples}", tuned[-1][0]["key"], base, "full", (2.0, 4.0), factors))
    pairs = [*tuned, *scored, none]
    plan = fakes.plan(*(job for job, _ in pairs))
    plan["laws"] = {"defaults": {"pretraining_tokens": 5}}
    return plan, pairs


def test_rows_pool_test_sets_and_carry_the_baseline(tmp_path):
    plan, pairs = small_plan()
    store = Store(tmp_path)
    publish(store, pairs)
    rows, columns = results.results(plan, store)
    assert [row["finetuning_examples"] for row in rows] == [16, 32, 64, 0]
    row = rows[0]
    assert row["test_loss"] == (2.0 * 10 + 4.0 * 30) / 40 and row["untuned_loss"] == 5.0
    assert row["a.loss"] == 2.0 and row["a.bleu"] == 1.5 and row["z.loss"] == 9.0
    assert row["pretraining_loss_before"] == 4.0 and row["train_loss"] == 2.0 and row["seconds"] == 4.0
    assert columns[columns.index("train_loss") + 1 :][:4] == ["a.loss", "a.bleu", "b.loss", "z.loss"]


def test_table_does_not_depend_on_the_order_of_events_and_may_be_partial(tmp_path):
    plan, pairs = small_plan()
    one, two, part = Store(tmp_path / "one"), Store(tmp_path / "two"), Store(tmp_path / "part")
    publish(one, pairs)
    random.Random(0).shuffle(pairs)
    publish(two, pairs)
    publish(part, [pair for pair in pairs if "64" not in pair[0]["name"]])
    results.write(plan, one, tmp_path / "a")
    results.write(plan, two, tmp_path / "b")
    assert (tmp_path / "a" / "results.csv").read_text() == (tmp_path / "b" / "results.csv").read_text()
    assert len(results.results(plan, part)[0]) == 3


def test_diverged_run_is_a_row_that_says_so(tmp_path):
    plan, pairs = small_plan()
    pairs[0][1].update(status="diverged")
    pairs[0][1]["metrics"]["train"] = {"loss": float("nan")}
    store = Store(tmp_path)
    publish(store, pairs)
    row = results.results(plan, store)[0][0]
    assert row["status"] == "diverged" and row["train_loss"] is None


def test_trials_choose_mark_edges_and_compare_budgets(tmp_path):
    factors = {"finetuning_examples": 16}
    sweep = [finetune(f"sweep {rate}", rate, loss, "sweep", **factors) for rate, loss in ((1e-3, 2.0), (3e-3, 1.5), (1e-2, 1.2))]
    at_base = [finetune(f"base {rate}", rate, 3.0, "sweep", best_step=0, finetuning_examples=32) for rate in (1e-3, 3e-3)]
    cell = finetune("cell", 1e-2, 1.2, seed=0, **factors)
    check = finetune("check", 1e-2, 1.0, "budget_check", seed=0, **factors)
    pairs = [*sweep, *at_base, cell, check]
    plan = fakes.plan(*(job for job, _ in pairs))
    plan["laws"] = {"defaults": {"pretraining_tokens": 5}}
    store = Store(tmp_path)
    publish(store, pairs)
    rows = results.trials(plan, store)
    assert [(row["role"], row["level"], row["chosen"], row.get("at_edge")) for row in rows] == [
        ("sweep", "s d16", 0, ""), ("sweep", "s d16", 0, ""), ("sweep", "s d16", 1, "high"),
        ("sweep", "s d32", 1, ""), ("sweep", "s d32", 0, ""), ("budget_check", "s d16", 0, None),
    ]  # fmt: skip
    assert rows[-1]["cell_dev_loss"] == 1.2 and abs(rows[-1]["gain"] - 0.2) < 1e-12


def test_floats_keep_every_digit(tmp_path):
    results.write_csv(tmp_path / "t.csv", [{"x": 0.1 + 0.2, "y": None, "z": "a,b"}], ["x", "y", "z"])
    assert (tmp_path / "t.csv").read_text() == 'x,y,z\n0.30000000000000004,,"a,b"\n'


def test_accounts_add_up_over_runs_and_a_run_of_nothing_adds_nothing(tmp_path):
    plan, pairs = small_plan()
    store = Store(tmp_path / "store")
    publish(store, pairs)
    ran = Outcome(plan, ran=["cell 16"], workers=2, training_seconds=3.0)
    accounts = Accounts(tmp_path, plan)
    accounts.begin -= 10.0
    first = accounts.write(plan, store, ran, finished=True)
    assert 10.0 <= first["seconds"] < 12.0 and abs(first["training_share"] - 3.0 / first["worker_seconds"]) < 1e-3
    accounts = Accounts(tmp_path, plan)
    accounts.begin -= 10.0
    second = accounts.write(plan, store, ran, finished=True)
    assert 20.0 <= second["seconds"] < 24.0 and second["training_seconds"] == 6.0
    nothing = Accounts(tmp_path, plan).write(plan, store, Outcome(plan), finished=True)
    assert {k: nothing[k] for k in ("seconds", "training_share", "finished", "workers")} == {
        k: second[k] for k in ("seconds", "training_share", "finished", "workers")
    }


def test_entropy_is_a_token_of_the_pooled_test_sets(tmp_path):
    plan, pairs = small_plan()
    data = {**fakes.job("data", "none"), "kind": "data", "role": "test_set"}
    body = {"metrics": {"entropy": {"nats_per_target": 5.0}, "rows": {"test": 2}}}
    for job, _ in pairs:
        if job["kind"] == "evaluate":
            for test_set in job["identity"]["sets"]:
                test_set["data"] = data["key"]
            job["key"] = fakes.job_key(job["identity"])
    plan["jobs"].append(data)
    store = Store(tmp_path)
    publish(store, [*pairs, (data, body)])
    assert entropies(plan, store) == {"t": (5.0 * 2 + 5.0 * 2) / 40}


def test_pace_learns_a_fixed_part_and_a_rate():
    pace = Pace()
    job = lambda flops: {"name": str(flops), "kind": "finetune", "cost": {"flops": flops}}  # noqa: E731
    assert pace.left([job(100)], {}, 2) is None
    for flops in (100, 200, 300, 400):
        pace.learn(job(flops), {"run": {"seconds": 1.0 + 0.01 * flops}})
    assert abs(pace.seconds(job(1000)) - 11.0) < 1e-9
    jobs = [job(900), job(901), job(902), job(903)]
    assert abs(pace.left(jobs, {}, 2) - sum(1 + 0.01 * f for f in (900, 901, 902, 903)) / 2) < 1e-9
    assert abs(pace.left([job(1000), job(0)], {}, 8) - 11.0) < 1e-9
    assert abs(pace.left([job(1000)], {"1000": 0.5}, 1) - 5.5) < 1e-9
