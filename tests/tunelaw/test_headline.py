"""The quickstart's headline must not hang on the draw of its world, the width of its learning-rate grids or its steps."""

import json
import math
from pathlib import Path

import pytest

import compiler
import tunelaw

pytestmark = pytest.mark.slow
SPEC = Path(__file__).resolve().parents[2] / "specs" / "quickstart.yaml"


def headline(out):
    """The sentence that the report opens with."""
    return json.loads((out / "report.json").read_text())["answers"][0]["lead"]


def three_times_as_wide(rates):
    """A geometric grid with the same spacing, three times as long on the logarithmic axis."""
    step = math.log(rates[-1] / rates[0]) / (len(rates) - 1)
    more = len(rates) - 1
    return [float(f"{rates[0] * math.exp(step * k):.3g}") for k in range(-more, 2 * more + 1)]


def run(tmp_path, name, **changes):
    out = tmp_path / name
    results = tunelaw.load(SPEC, store=str(tmp_path / "store"), **changes).run(out=out)
    assert results.status == 0
    return headline(out)


def test_another_world_wider_grids_and_longer_training_leave_the_headline(tmp_path):
    methods = compiler.load_study(SPEC).resolved["methods"]
    wide = {f"methods__{name}__learning_rate__sweep": three_times_as_wide(value["learning_rate"]["sweep"]) for name, value in methods.items()}
    steps = compiler.load_study(SPEC).resolved["finetune"]["steps"]
    variants = {
        "plain": {},
        "world": {"tasks__translation__data__seed": 1, "models__pretrain__data__seed": 1},
        "wide": wide,
        "longer": {"finetune__steps": {name: 2 * value for name, value in steps.items()}},
    }
    found = {name: run(tmp_path, name, **changes) for name, changes in variants.items()}
    assert len(set(found.values())) == 1, found
