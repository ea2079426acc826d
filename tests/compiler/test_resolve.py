"""Placeholders are filled from records: the winner of each corner, interpolated in D, then every key that follows."""

import copy

import pytest
import studies

import compiler
from compiler.identity import is_pending
from compiler.resolve import interpolate, winner


def record(dev, trained=None, status="ok", best_step=5):
    score = lambda loss: {"loss_sum": loss * 100, "target_tokens": 100}
    return {"status": status, "metrics": {"dev": score(dev), "trained_dev": score(dev if trained is None else trained), "untuned_dev": score(3.0)}, "training": {"best_step": best_step}}


@pytest.fixture
def plan(tmp_path):
    return compiler.compile_plan(compiler.load_study(studies.write(studies.synthetic(), tmp_path)))


def records_of(plan, loss):
    """Records of all sweep jobs: `loss(job)` gives a record or None."""
    found = {job["key"]: loss(job) for job in plan["jobs"] if job["role"] == "sweep"}
    return found.get


def test_nothing_is_filled_in_before_the_trials_are_done_and_the_plan_is_left_alone(plan):
    before = copy.deepcopy(plan)
    assert compiler.resolve(plan, lambda key: None) == before == plan


def test_everything_is_filled_in_when_all_trials_are_done(plan):
    best = {32: 0.001, 128: 0.0003}  # of full, at its corners
    records = records_of(plan, lambda job: record(1.0 if job["identity"]["learning_rate"] == best.get(job["factors"]["finetuning_examples"]) else 2.0))
    resolved = compiler.resolve(plan, records)
    assert all(job["key"] and not is_pending(job["identity"]) for job in resolved["jobs"])
    assert all(job["key"] == compiler.job_key(job["identity"]) for job in resolved["jobs"])
    rate = {job["name"]: job["identity"].get("learning_rate") for job in resolved["jobs"]}
    assert rate["finetune/translation/full-xs-40.96K-d32-s0"] == 0.001
    assert rate["finetune/translation/full-m-40.96K-d128-s0"] == rate["finetune/translation/full-m-40.96K-d256-s0"] == 0.0003
    assert rate["finetune/translation/full-s-40.96K-d64-s0"] == 0.000547723  # the geometric mean, half-way in log D
    assert compiler.resolve(resolved, records) == resolved
    names = {job["name"]: job for job in resolved["jobs"]}
    assert names["evaluate/translation/full-xs-40.96K-d32-s0"]["identity"]["model"] == names["finetune/translation/full-xs-40.96K-d32-s0"]["key"]
    # A corner cell is its own sweep's winner: the same identity, run once.
    assert names["finetune/translation/full-xs-40.96K-d32-s0"]["key"] == names["sweep/translation/full-xs-40.96K-d32-s0-lr0.001"]["key"]


def test_only_what_waits_for_a_missing_trial_stays_pending(plan):
    full = compiler.resolve(plan, records_of(plan, lambda job: record(1.0) if job["factors"]["method"] == "full" else None))
    assert all((job["key"] is None) == (job["factors"].get("method") == "lora" and job["role"] != "sweep") for job in full["jobs"])


def test_widening_a_sweep_rekeys_only_cells_whose_rate_changes(plan, tmp_path):
    study = studies.synthetic()
    study["methods"]["full"]["learning_rate"]["sweep"].append(3e-3)
    study["methods"]["lora"]["learning_rate"]["sweep"].append(1e-2)
    wider = compiler.compile_plan(compiler.load_study(studies.write(study, tmp_path)))
    records = lambda plan: records_of(plan, lambda job: record(job["identity"]["learning_rate"]))
    keys = lambda plan: {job["name"]: job["key"] for job in compiler.resolve(plan, records(plan))["jobs"]}
    before, after = keys(plan), keys(wider)
    assert before.items() <= after.items()


@pytest.mark.parametrize("trials,best", [
    ({"a": (1e-3, record(2.0)), "b": (3e-3, record(1.0))}, "b"),
    ({"a": (1e-3, record(2.0, 2.3)), "b": (3e-3, record(2.0, 2.1))}, "b"),
    ({"a": (3e-3, record(2.0, 2.1)), "b": (1e-3, record(2.0, 2.1))}, "b"),
    ({"a": (1e-3, record(1.0, status="diverged")), "b": (3e-3, record(2.0))}, "b"),
    ({"a": (3e-3, record(float("nan"), status="diverged")), "b": (1e-3, record(float("nan"), status="diverged"))}, "b"),
    ({"a": (1e-3, {"status": "ok", "metrics": {"dev": None}}), "b": (3e-3, record(2.0))}, "b"),
])  # fmt: skip
def test_who_wins(trials, best):
    assert winner(trials) == best and winner(dict(reversed(trials.items()))) == best


def test_rates_between_corners_are_geometric_and_constant_beyond():
    points = [(100, 1e-3), (10_000, 1e-1)]
    assert [interpolate(points, examples) for examples in (10, 100, 1000, 10_000, 10**6)] == [1e-3, 1e-3, 1e-2, 1e-1, 1e-1]
    assert interpolate([(64, 3e-3)], 1024) == 3e-3 and interpolate(list(reversed(points)), 1000) == 1e-2


def test_winners_name_trials_choice_and_edge(plan):
    def losses(job):
        rate, examples = job["identity"]["learning_rate"], job["factors"]["finetuning_examples"]
        return record(rate if examples == 32 else -rate, best_step=0 if examples == 64 else 5)

    found = compiler.winners(plan, records_of(plan, losses))
    full = [group for group in found if group["method"] == "full"]
    assert [(group["level"], group["learning_rate"], group["edge"]) for group in full] == [("xs d32", 3e-4, "low"), ("s d128", 1e-3, "high")]
    assert [trial["chosen"] for trial in full[0]["trials"]] == [True, False]
    lora = {group["level"]: group["edge"] for group in found if group["method"] == "lora"}
    assert lora["s d64"] == "", "where the untouched base wins, no rate is at an edge"
    assert "s d128 r2" in lora
    nothing = compiler.winners(plan, lambda key: None)
    assert all(group["chosen"] is None and group["edge"] == "" for group in nothing) and len(nothing) == len(found)
