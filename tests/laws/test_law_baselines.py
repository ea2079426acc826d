"""The naive baselines on tables small enough to check by hand, and the headline that goes to whoever extrapolates best."""

import make_table
import numpy as np
import pytest

import laws
from laws.baselines import Baselines
from laws.engine import headline

LEVELS = np.log(np.array([[1e6], [1e6], [1e6], [4e6], [4e6]]))
D = np.array([100.0, 200.0, 400.0, 100.0, 400.0])
Y = np.array([3.0, 2.5, 2.0, 2.8, 1.4])


def naive():
    return Baselines(LEVELS, D, Y, np.ones(5), 1e-3)


def test_carry_last_takes_the_largest_d_of_the_nearest_level():
    out = naive().predict("carry_last", np.log([[1e6], [4e6], [1e9], [1.9e6]]), np.array([1600.0, 1600.0, 100.0, 50.0]))
    np.testing.assert_array_equal(out, [2.0, 1.4, 1.4, 2.0])


def test_last_two_is_the_line_in_logs():
    out = naive().predict("last_two", np.log([[1e6], [4e6]]), np.array([800.0, 1600.0]))
    np.testing.assert_allclose(out, [2.0 * (2.0 / 2.5), 1.4 * (1.4 / 2.8)])


def test_power_needs_three_sizes_of_data():
    assert naive().predict("power", np.log([[4e6]]), np.array([800.0])) is None
    d = np.array([100.0, 400.0, 1600.0, 6400.0])
    exact = Baselines(np.zeros((4, 1)), d, 5 * d**-0.4 + 1, np.ones(4), 1e-3)
    np.testing.assert_allclose(exact.predict("power", np.zeros((1, 1)), np.array([25_600.0])), 5 * 25_600**-0.4 + 1, rtol=1e-5)


def test_baselines_stand_in_every_comparison_on_the_same_cells(fitted):
    rows = {(r["method"], r["model_size"], r["finetuning_examples"]): [] for r in make_table.rows()}
    for r in make_table.rows():
        if r["pretraining_tokens"] == make_table.LEVELS[-1] and r["rank"] in ("", 4):
            rows[r["method"], r["model_size"], r["finetuning_examples"]].append(r["test_loss"])
    for method in ("full", "lora", "prompt"):
        entry = fitted.find(method=method, factor="non_embedding_parameters", response="test_loss", form="multiplicative")[0]
        gap = np.mean([abs(np.mean(rows[method, s, 4096]) - np.mean(rows[method, s, 16384])) for s in make_table.SIZES])
        assert entry["baselines"]["carry_last"]["held_out_error"]["all"] == pytest.approx(gap)
        assert set(entry["baselines"]) == {"carry_last", "last_two", "power"}
    for h in fitted["headline"]:
        assert {"carry_last", "last_two", "power"} <= {c["name"] for c in h["candidates"]}
        errors = {c["name"]: c["held_out_error"]["all"] for c in h["candidates"] if c["held_out_error"]["all"] is not None}
        assert h["winner"] == min(errors, key=errors.get) and h["held_out_error"] == min(errors.values())


def test_a_baseline_can_win_and_none_without_hold_outs(quick):
    rows = make_table.rows()
    for r in rows:
        if r["held_out"]:
            same = [s for s in rows if (s["method"], s["model_size"], s["seed"], s["finetuning_examples"]) == (r["method"], r["model_size"], r["seed"], 4096)]
            r["test_loss"] = same[0]["test_loss"]
    result = laws.fit_table(make_table.columns(rows), quick)
    assert {h["winner"] for h in result["headline"]} == {"carry_last"} and {h["kind"] for h in result["headline"]} == {"baseline"}
    result = laws.fit_table(make_table.columns([r for r in make_table.rows() if not r["held_out"]]), quick)
    for h in result["headline"]:  # then the automatic choice, by the largest levels left out, and no held-out error
        assert (h["winner"], h["judged_by"], h["held_out_error"], h["reason"]) == (h["choice"]["name"], "leave_largest_out", None, "no cell was held out")
    assert all("NO_HELD_OUT" in [w["id"] for w in e["warnings"]] for e in result["laws"])


def test_refused_laws_stand_in_the_table_without_a_number():
    entry = {"task": "t", "method": "m", "response": "r", "factor": "f", "group": "factor", "form": "additive", "id": "law-0", "refused": "TOO_FEW_POINTS",
             "fit_error": None, "held_out_error": {"all": None}, "held_out_points": 1, "baselines": {"carry_last": {"fit_error": 0.1, "held_out_error": {"all": 0.2}}}}  # fmt: skip
    h = headline([entry])[0]
    assert h["winner"] == "carry_last" and h["candidates"][0]["refused"] == "TOO_FEW_POINTS"
