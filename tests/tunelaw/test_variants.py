"""The same study on a mesh of eight emulated devices, and with every kind of pretraining checkpoint."""

import csv
import math

import pytest
from shell import SMALLEST, tunelaw

SETTINGS = ["design.grids.0.pretraining_tokens=[24576]", "design.grids.0.finetuning_examples=[16, 32]", "finetune.budget_check=false", "laws={}"]


def rows(tmp_path, name, *changes):
    """results.csv of the smallest study with changes, by (method, examples)."""
    out = tmp_path / name
    sets = [word for change in (*SETTINGS, *changes) for word in ("--set", change)]
    done = tunelaw("run", SMALLEST, "--out", out, "--store", tmp_path / f"store-{name}", *sets)
    assert done.returncode in (0, 4), done.stderr[-2000:]
    with open(out / "results.csv", newline="") as file:
        return {(row["method"], row["finetuning_examples"]): row for row in csv.DictReader(file)}


METHODS = ["methods={full: {learning_rate: 3.0e-3, batch_size: 16}, lora: {learning_rate: 1.0e-2, batch_size: 16, rank: 2, alpha: 2}, prompt: {learning_rate: 1.0e-1, batch_size: 16, prompt_length: 4}}",
           "design.grids.0.method=[full, lora, prompt]"]


@pytest.mark.slow
def test_a_mesh_changes_nothing_but_speed(tmp_path):
    one = rows(tmp_path, "one", *METHODS)
    for data, model in ((4, 2), (2, 4)):
        many = rows(tmp_path, f"mesh-{data}-{model}", *METHODS, f"machine.mesh.data={data}", f"machine.mesh.model={model}")
        assert many.keys() == one.keys() and len(one) == 7
        for cell, row in many.items():
            assert row["key"] == one[cell]["key"], "a mesh is execution: it must not change a key"
            for name in ("test_loss", "pretraining_loss", "dev_loss"):
                assert math.isclose(float(row[name]), float(one[cell][name]), abs_tol=1e-5), (cell, name, row[name], one[cell][name])


def test_raw_and_separate_checkpoints_run(tmp_path):
    plain = ["methods.full.learning_rate=3.0e-3"]
    decayed = rows(tmp_path, "decayed", *plain)
    raw = rows(tmp_path, "raw", *plain, "models.pretrain.checkpoints.kind=raw", "models.pretrain.optimizer={schedule: cosine, warmup_steps: 4}")
    separate = rows(tmp_path, "separate", *plain, "models.pretrain.checkpoints.kind=separate")
    base = {name: float(table["none", "0"]["test_loss"]) for name, table in (("decayed", decayed), ("raw", raw), ("separate", separate))}
    assert base["separate"] == base["decayed"] != base["raw"]
