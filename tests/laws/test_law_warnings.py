"""Every named warning fires where it should, and not where it should not."""

import make_table
import numpy as np
import pytest

import laws
from laws.caveats import EXPLAIN, note, of_sweeps, widened


def ids(entry):
    return {w["id"] for w in entry["warnings"]}


def one(fitted, **wanted):
    return fitted.find(**{"factor": "non_embedding_parameters", "response": "test_loss", "form": "multiplicative", **wanted})[0]


def test_sweeps(fitted):
    top = [w for w in fitted["warnings"] if w["id"] == "LR_EDGE"]
    assert {(w["method"], w["level"], w["side"]) for w in top} == {("lora", "xs d256", "high"), ("prompt", "xs d256", "low"), ("prompt", "s d4096", "high")}
    lora = next(w for w in top if w["method"] == "lora")
    assert lora["sweep"] == [1e-3, 3e-3, 1e-2, 3e-2, 1e-1] and "methods.lora.learning_rate: {sweep: [0.001, 0.003, 0.01, 0.03, 0.1]}" in lora["message"]
    assert [w["method"] for w in fitted["warnings"] if w["id"] == "LR_VARIES"] == ["prompt"]
    assert of_sweeps(None) == []


def test_wider_sweeps_keep_the_step_of_the_grid():
    assert widened([3e-4, 1e-3, 3e-3], "low") == [3e-5, 1e-4, 3e-4, 1e-3, 3e-3]
    assert widened([1e-3], "high") == [1e-3, 3e-3, 1e-2]
    assert widened([1.0, 2.0, 4.0], "high") == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_budget_and_base(fitted):
    assert "BUDGET_LIMITED" in ids(one(fitted, method="full")) and "BUDGET_LIMITED" not in ids(one(fitted, method="lora"))
    assert "WORSE_THAN_BASE" in ids(one(fitted, method="lora"))
    warning = next(w for w in one(fitted, method="lora")["warnings"] if w["id"] == "WORSE_THAN_BASE")
    assert 256.0 in warning["examples"] and 16384.0 not in warning["examples"]
    assert "WORSE_THAN_BASE" not in ids(one(fitted, method="lora", response="pretraining_loss"))


def test_levels_and_rates(fitted):
    assert "FEW_LEVELS" in ids(one(fitted, method="full")) and "LR_FROZEN" in ids(one(fitted, method="full"))
    assert "FEW_LEVELS" not in ids(one(fitted, method="full", factor="pretraining_tokens"))
    assert not {"NO_SEEDS", "NO_HELD_OUT"} & ids(one(fitted, method="full"))


def test_rate_swept_at_each_level_is_not_frozen(quick):
    trials = [{**t, "model_size": size} for t in make_table.trial_rows() for size in make_table.SIZES]
    table = {k: [t[k] for t in trials] for k in trials[0]}
    words = ("role", "level", "task", "method", "model_size", "at_edge", "seed", "status", "key")
    columns = {k: np.array([str(x) for x in v], object) if k in words else np.array([np.nan if x == "" else float(x) for x in v]) for k, v in table.items()}
    result = laws.fit_table(make_table.columns(make_table.rows()), quick, trials=laws.Table(columns, np.arange(len(trials)) + 2))
    assert all("LR_FROZEN" not in ids(e) for e in result["laws"])


def foreign(y, x, d, **more):
    return laws.fit_foreign({"x": list(x), "d": list(d), "y": list(y)}, "X=x,D=d", "y", forms="multiplicative", **more)["laws"][0]


X, D = (a.ravel() for a in np.meshgrid([1e6, 4e6, 2e7, 9e7], [100.0, 400.0, 1600.0, 6400.0]))
NOISE = np.random.default_rng(0).normal(0, 0.004, len(X))


def test_bound_and_interval_that_holds_zero():
    entry = foreign(3 * D**-0.1 + NOISE, X, D)
    assert [w["parameter"] for w in entry["warnings"] if w["id"] == "INTERVAL_HOLDS_ZERO"] == ["alpha"]
    entry = foreign(30 * X**-0.2 * D**-0.1 * (1 - 0.02 * np.log(D / 100)) + NOISE, X, D)
    assert "E" in [w["parameter"] for w in entry["warnings"] if w["id"] == "BOUND_REACHED"]
    assert {"NO_SEEDS", "NO_HELD_OUT"} <= ids(entry)


def test_factors_that_act_together_are_not_separable():
    joint = 1.0 + 2.0 * D ** -(0.05 + 0.06 * np.log10(X / 1e6))
    assert "NOT_SEPARABLE" in ids(foreign(joint + NOISE / 2, X, D)) and "NOT_SEPARABLE" not in ids(foreign(40 * X**-0.3 * D**-0.2 + 1 + NOISE / 2, X, D))


def test_ranking_that_reverses_at_infinity():
    rows = []
    for method, (a, beta, e) in {"full": (12.0, 0.4, 1.2), "lora": (2.2, 0.1, 0.75)}.items():
        for x in (1e6, 4e6, 2e7):
            for d in (100.0, 400.0, 1600.0, 6400.0):
                rows.append({"method": method, "x": x, "d": d, "y": a * (x / 1e6) ** -0.1 * d**-beta + e})
    result = laws.fit_foreign({k: [r[k] for r in rows] for k in rows[0]}, "X=x,D=d", "y", group="method", forms="multiplicative")
    top = [w for w in result["warnings"] if w["id"] == "RANKING_REVERSES"]
    assert len(top) == 1 and (top[0]["ahead"], top[0]["behind"], top[0]["levels"]) == ("full", "lora", ["1M", "4M"])
    assert all("RANKING_REVERSES" in ids(e) for e in result["laws"])


def test_shared_subsets_need_the_size_of_the_pool(quick):
    rows = make_table.columns(make_table.rows())
    small = laws.fit_table(rows, quick, provenance={"training_pool": {"translation": 20_000}, "tokenizer": "abc", "digests": {"test": "sha256:1"}})
    assert [w["pool"] for w in small["warnings"] if w["id"] == "SHARED_SUBSETS"] == [20_000]
    assert small["data"] == {"test_sets": {}, "tokenizer": "abc", "digests": {"test": "sha256:1"}}
    large = laws.fit_table(rows, quick, provenance={"training_pool": {"translation": 70_000}})
    assert not [w for w in large["warnings"] if w["id"] == "SHARED_SUBSETS"]


def test_a_factor_that_is_not_varied_is_said(quick):
    rows = [r for r in make_table.rows() if r["pretraining_tokens"] == make_table.LEVELS[-1]]
    result = laws.fit_table(make_table.columns(rows), {**quick, "factors": ["non_embedding_parameters", "pretraining_tokens"]})
    assert [w["factor"] for w in result["warnings"] if w["id"] == "FACTOR_NOT_VARIED"] == ["pretraining_tokens"]
    assert {e["factor"] for e in result["laws"]} == {"non_embedding_parameters"}
    alone = laws.fit_table(make_table.columns(rows), {**quick, "factors": ["pretraining_tokens"]})
    assert {e["refused"] for e in alone["laws"]} == {"TOO_FEW_LEVELS"}


def test_every_warning_has_an_explanation(fitted):
    used = {w["id"] for w in fitted["warnings"]} | {w["id"] for e in fitted["laws"] for w in e["warnings"]}
    assert used <= set(EXPLAIN) and all(len(text) > 20 for text in EXPLAIN.values())
    with pytest.raises(KeyError):
        note("UNHEARD_OF", "")


def sweeps(*levels):
    """A trials table of one method: (examples, chosen rate, side) for each level, rates 1e-3 to 1e-1."""
    rows = [(d, rate, rate == best, side if rate == best else "") for d, best, side in levels for rate in (1e-3, 1e-2, 1e-1)]
    words = {"role": "sweep", "task": "t", "method": "full"}
    columns = {name: np.array([value] * len(rows), object) for name, value in words.items()}
    columns["level"] = np.array([f"s d{d}" for d, *_ in rows], object)
    columns["at_edge"] = np.array([side for *_, side in rows], object)
    numbers = {"finetuning_examples": [r[0] for r in rows], "learning_rate": [r[1] for r in rows], "chosen": [r[2] for r in rows], "best_step": [9] * len(rows)}
    columns |= {name: np.array(value, float) for name, value in numbers.items()}
    return laws.Table(columns, np.arange(len(rows)) + 2)


def test_one_suggestion_where_both_ends_won():
    found = of_sweeps(sweeps((64, 1e-3, "low"), (512, 1e-1, "high")))
    edges = [w for w in found if w["id"] == "LR_EDGE"]
    assert len(edges) == 2 and edges[0]["sweep"] == edges[1]["sweep"]
    assert edges[0]["sweep"][0] < 1e-3 and edges[0]["sweep"][-1] > 1e-1


def test_rates_swept_level_by_level_may_differ():
    assert any(w["id"] == "LR_VARIES" for w in of_sweeps(sweeps((64, 1e-3, ""), (512, 1e-1, ""))))
    assert not any(w["id"] == "LR_VARIES" for w in of_sweeps(sweeps((64, 1e-3, ""), (512, 1e-2, ""), (4096, 1e-1, ""))))
