"""A whole run from the command line, and what can be done with its results."""

import json
import math
import os
import signal
import time

import pexpect
from shell import ROOT, SMALLEST, command, environment, tunelaw, tunelaw_without_stack


def test_run_writes_everything_and_says_where(finished):
    names = {path.name for path in finished.out.iterdir()}
    assert {"plan.json", "results.csv", "trials.csv", "run.json", "laws.json", "report.html", "report.md", "report.json"} <= names
    assert finished.process.stdout.splitlines()[-1] == f"report: {finished.out / 'report.html'}"
    assert "training steps took" in finished.process.stderr
    run = json.loads((finished.out / "run.json").read_text())
    assert run["jobs"]["done"] == run["jobs"]["total"] and 0 < run["training_share"] < 1 and run["finished"]
    assert run["data"]["entropy"]["translation"] > 0


def test_run_twice_runs_nothing_and_changes_no_table(finished):
    before = {name: (finished.out / name).read_bytes() for name in ("plan.json", "results.csv", "trials.csv")}
    stamps = {path: path.stat().st_mtime_ns for path in finished.store.glob("jobs/*/record.json")}
    seconds = json.loads((finished.out / "run.json").read_text())["seconds"]
    again = finished.to_the_end()
    assert again.returncode == 0 and " done, 0 to run" in again.stderr
    assert {name: (finished.out / name).read_bytes() for name in before} == before
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert json.loads((finished.out / "run.json").read_text())["seconds"] == seconds


def test_another_study_shares_the_jobs(finished, tmp_path):
    done = tunelaw("run", SMALLEST, "--set", "study=other", "--store", finished.store, "--out", tmp_path)
    assert done.returncode == 0 and " done, 0 to run" in done.stderr


def test_results_agree_with_the_records(finished):
    records = {record["key"]: record for record in finished.records()}
    scored = [record for record in records.values() if record["kind"] == "evaluate"]
    rows = {row["key"]: row for row in finished.rows()}
    assert len(rows) == len(finished.rows()) == len(scored) == 12
    for record in scored:
        row = rows[record["identity"]["model"]]
        pooled = [s for s in record["metrics"]["sets"].values() if s["role"] == "test"]
        expected = sum(s["loss_sum"] for s in pooled) / sum(s["target_tokens"] for s in pooled)
        assert math.isclose(float(row["test_loss"]), expected, rel_tol=1e-12)
        model = records[record["identity"]["model"]]
        if row["method"] == "none":
            assert row["finetuning_examples"] == "0" and row["seed"] == row["learning_rate"] == "" and row["untuned_loss"] == row["test_loss"]
            continue
        assert float(row["learning_rate"]) == model["identity"]["learning_rate"]
        assert float(row["dev_loss"]) == model["metrics"]["dev"]["loss_sum"] / model["metrics"]["dev"]["target_tokens"]
        base = next(r for r in rows.values() if r["method"] == "none" and r["base"] == row["base"])
        assert row["untuned_loss"] == base["test_loss"] and row["pretraining_loss_before"] == base["pretraining_loss"]


def test_columns_stand_in_the_order_of_the_contract(finished):
    assert list(finished.rows()[0]) == (
        "task method model_size model_parameters non_embedding_parameters pretraining_tokens finetuning_examples finetuning_tokens "
        "peft_parameters rank prompt_length learning_rate seed held_out dev_loss test_loss untuned_loss pretraining_loss "
        "pretraining_loss_before train_loss test.loss test.chrf key status base steps best_step examples_seen epochs flops seconds device"
    ).split()


def test_trials_name_the_winner_and_the_budget_check(finished):
    trials = finished.rows("trials.csv")
    sweeps = {}
    for row in (row for row in trials if row["role"] == "sweep"):
        sweeps.setdefault((row["method"], row["level"]), []).append(row)
    assert len(sweeps) == 2
    for rows in sweeps.values():
        chosen = [row for row in rows if row["chosen"] == "1"]
        assert len(chosen) == 1 and float(chosen[0]["dev_loss"]) == min(float(row["dev_loss"]) for row in rows)
    checks = [row for row in trials if row["role"] == "budget_check"]
    assert {row["method"] for row in checks} == {"full"}
    for row in checks:
        assert math.isclose(float(row["gain"]), float(row["cell_dev_loss"]) - float(row["dev_loss"]), abs_tol=1e-12)


def test_later_commands_need_no_accelerator_stack(finished, tmp_path):
    store = ["--store", finished.store]
    for arguments in (
        ["plan", SMALLEST, *store, "--out", finished.out], ["status", finished.out], ["fit", finished.out, "--out", tmp_path], ["report", finished.out],
    ):  # fmt: skip
        done = tunelaw_without_stack(*arguments)
        assert done.returncode == 0, (arguments, done.stderr)


def test_status_counts_and_remembers_the_store(finished):
    done = tunelaw("status", finished.out)
    assert done.returncode == 0 and " done, 0 to run" in done.stdout and "complete" in done.stdout
    assert json.loads(tunelaw("status", finished.out, "--json").stdout)["alive"] is False


def test_plan_says_what_changed_and_why(finished):
    done = tunelaw("plan", SMALLEST, "--set", "finetune.steps.at_least=18", "--store", finished.store, "--out", finished.out)
    assert "changed: steps: 16 -> 18" in done.stdout
    assert "changed" in done.stdout.splitlines()[0]


def test_new_level_extends_the_trunk_and_rekeys_nothing(finished):
    levels = "[8192, 12288, 16384, 24576]"
    more = [
        "--set", f"models.pretrain.checkpoints.tokens={levels}",
        "--set", f"design.grids=[{{name: more, method: full, pretraining_tokens: {levels}, finetuning_examples: [16, 32, 64]}}]",
    ]  # fmt: skip
    done = tunelaw("plan", SMALLEST, *more, "--store", finished.store, "--out", finished.out, "--json")
    state = json.loads(done.stdout)["state"]
    todo = {name for name, entry in state["jobs"].items() if entry["state"] != "done"}
    assert todo and all("trunk" in name or "12.288K" in name for name in todo), todo


def test_export_by_name(finished, tmp_path):
    plan = json.loads((finished.out / "plan.json").read_text())
    name = next(job["name"] for job in plan["jobs"] if job["kind"] == "finetune" and job["factors"]["method"] == "full")
    done = tunelaw("export", name, "-o", tmp_path / "model", "--out", finished.out)
    assert done.returncode == 0, done.stderr
    assert any((tmp_path / "model").rglob("*.safetensors"))


def test_python_api_gives_the_same(finished, monkeypatch):
    import tunelaw as library

    study = library.load(SMALLEST, store=finished.store)
    assert study.plan() == json.loads((finished.out / "plan.json").read_text())
    results = study.run(finished.out)
    assert results.status == 0 and len(results.table) == len(finished.rows())
    assert library.fit(finished.out)["laws"] == json.loads((finished.out / "laws.json").read_text())["laws"]


def test_ctrl_c_stops_gently_says_how_to_go_on_and_is_resumed(fresh):
    words = command(*fresh.arguments())
    child = pexpect.spawn(words[0], words[1:], cwd=str(ROOT), env=environment(TERM="xterm"), encoding="utf-8", timeout=120, dimensions=(24, 120))
    child.expect("jobs done")
    deadline = time.monotonic() + 120
    while len(fresh.records()) < 4 and time.monotonic() < deadline:
        time.sleep(0.1)
        child.read_nonblocking(100000, timeout=1)
    child.sendintr()
    child.expect("interrupted: [0-9]+ of [0-9]+ jobs are done and kept")
    child.expect("go on with: tunelaw run ")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    kept = len(fresh.records())
    assert 4 <= kept < 30
    assert f"{kept} of" in tunelaw("status", fresh.out).stdout or " done, " in tunelaw("status", fresh.out).stdout


def test_termination_signal_stops_gently_too(fresh):
    process = fresh.start()
    deadline = time.monotonic() + 120
    while len(fresh.records()) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(timeout=120) == 130
    assert "go on with" in fresh.messages.read_text()


def test_report_without_its_input_is_an_input_error(tmp_path):
    done = tunelaw("report", tmp_path)
    assert done.returncode == 2 and "not found" in done.stderr and "Traceback" not in done.stderr
