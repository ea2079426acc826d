"""Leave-largest-out, AICc, separability, paired comparisons and the automatic choice, against independent computation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import curve_fit

import laws
from laws import judge

N, D = np.array([1e6, 4e6, 1.6e7, 6.4e7]), np.array([1e3, 4e3, 1.6e4, 6.4e4, 2.56e5])


def table(shape, noise=1e-3, seed=0):
    rng = np.random.default_rng(seed)
    n, d = (v.ravel() for v in np.meshgrid(N, D, indexing="ij"))
    return {"params": n, "examples": d, "loss": shape(n, d) + rng.normal(0, noise, len(n))}


def multiplicative(n, d):
    return 20 * n**-0.1 * d**-0.15 + 0.9


def interacting(n, d):
    return 4 * d ** (-0.05 - 0.04 * np.log10(n / 1e6)) + 0.9


def fit(data, **more):
    return laws.fit_foreign(data, factors="X=params,D=examples", response="loss", **{"forms": "multiplicative", "intervals": "none", "loss": "squares", "points": "rows", **more})


def test_leave_largest_out_is_a_fit_without_those_cells():
    data = table(multiplicative)
    entry = fit(data)["laws"][0]

    def law(f, a, alpha, beta, e):
        return a * (f[0] / 8e6) ** -alpha * (f[1] / 16e3) ** -beta + e

    for column, top in (("params", N[-1]), ("examples", D[-1])):
        out = data[column] == top
        f = np.stack([data["params"], data["examples"]])
        p, _ = curve_fit(law, f[:, ~out], data["loss"][~out], p0=[1, 0.1, 0.15, 0.9], xtol=1e-15, ftol=1e-15)
        error = np.mean(np.abs(law(f[:, out], *p) - data["loss"][out]))
        assert entry["leave_largest_out"][column] == {"level": top, "points": int(out.sum()), "error": pytest.approx(error, rel=1e-4)}
        rest = lambda n: data["loss"][~out & (data["params"] == n)]  # noqa: E731
        last = np.array([rest(n if column == "examples" else N[-2])[-1] for n in data["params"][out]])  # of the nearest level that is left
        assert entry["baselines"]["carry_last"]["leave_largest_out"][column] == pytest.approx(np.mean(np.abs(last - data["loss"][out])))


def test_aicc_of_a_law():
    data = table(multiplicative)
    entry = fit(data)["laws"][0]
    p = {k: v["value"] for k, v in entry["parameters"].items()}
    rss = np.sum((p["A"] * data["params"] ** -p["alpha"] * data["examples"] ** -p["beta"] + p["E"] - data["loss"]) ** 2)
    assert entry["aicc"] == {"value": pytest.approx(20 * np.log(rss / 20) + 10 + 2 * 5 * 6 / 14, rel=1e-9), "points": 20, "parameters": 4, "together": 1}
    both = fit(data, forms="multiplicative,additive")["laws"]
    assert both[0]["aicc"]["value"] < both[1]["aicc"]["value"]


def test_separability_is_rejected_only_where_factors_interact():
    apart = fit(table(multiplicative))["laws"][0]["separability"]
    assert apart["p"] > 0.05 and apart["df"] == [5, 11] and apart["levels"] == 4
    mixed = fit(table(interacting))["laws"][0]
    assert mixed["separability"]["p"] < 1e-4 and "NOT_SEPARABLE" in {w["id"] for w in mixed["warnings"]}
    rejected = [fit(table(multiplicative, seed=s))["laws"][0]["separability"]["p"] < 0.05 for s in range(20)]
    assert sum(rejected) <= 4


def test_a_paired_comparison_is_the_t_interval_of_the_differences():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 9))
    found, wanted = judge.paired(a, b), stats.ttest_rel(a, b)
    low, high = wanted.confidence_interval()
    assert found == {"value": pytest.approx(np.mean(a - b)), "low": pytest.approx(low), "high": pytest.approx(high)}
    assert judge.paired(a[:2], b[:2])["low"] is None


def test_the_choice_never_looks_at_its_target():
    data = table(multiplicative)
    data["held_out"] = np.where(data["examples"] == D[-1], "edge_data", "").astype(object)
    out = fit(data, forms="auto")
    assert {e["form"] for e in out["laws"]} == {"multiplicative", "additive"}
    item = out["headline"][0]
    assert item["judged_by"] == "held_out" and item["choice"]["name"] == "multiplicative"
    wrong = dict(data, loss=np.where(data["examples"] == D[-1], 5.0, data["loss"]))
    other = fit(wrong, forms="auto")["headline"][0]
    for key in ("name", "error", "weights", "cells"):
        assert other["choice"][key] == item["choice"][key]
    assert other["choice"]["held_out_error"] > 1 > item["choice"]["held_out_error"]


def test_without_hold_outs_the_choice_is_headlined_and_others_are_compared_with_it():
    item = fit(table(multiplicative), forms="multiplicative,additive")["headline"][0]
    choice = item["choice"]
    assert (item["winner"], item["judged_by"], item["held_out_error"]) == (choice["name"], "leave_largest_out", None)
    assert choice["name"] == "multiplicative" and choice["cells"] == 9 and choice["clear"] == (len(choice["weights"]) == 1)
    against = {c["second"]: c for c in item["comparisons"]}
    assert against["carry_last"]["difference"]["high"] < 0 and against["carry_last"]["cells"] == 9
    assert set(choice["weights"]) == {choice["name"]} | {n for n, c in against.items() if c["difference"]["high"] >= 0}


def test_an_average_where_nothing_is_clearly_best():
    item = fit(table(multiplicative, noise=0.05), forms="multiplicative,additive")["headline"][0]
    weights = item["choice"]["weights"]
    assert len(weights) > 1 and not item["choice"]["clear"] and sum(weights.values()) == pytest.approx(1)
    assert max(weights, key=weights.get) == item["choice"]["name"]


def test_auto_extrapolates_every_curve():
    rng = np.random.default_rng(0)
    d = 200 * 2.0 ** np.arange(10)
    rows = [(m, x, 3 * x**-b * np.exp(rng.normal(0, 1e-3))) for m, b in (("a", 0.1), ("b", 0.2)) for x in d]
    model, examples, loss = (list(v) for v in zip(*rows))
    out = laws.fit_foreign(
        {"model": model, "examples": examples, "loss": loss}, factors="D=examples", response="loss", group="model", forms="auto", intervals="none", hold_out=["D>30000"]
    )  # fmt: skip
    assert {e["form"] for e in out["laws"]} == {"power", "offset", "rectified"}
    assert len(out["extrapolations"]) == 2
    for item, b in zip(out["extrapolations"], (0.1, 0.2)):
        assert item["held_out_error"]["all"] < 0.02 and item["curves"] == 2 and sum(item["weights"].values()) == pytest.approx(1)
        point = item["points"][0]
        assert point["examples"] == 2 * 25600 and point["low95"] < point["low80"] < 3 * 51200**-b < point["high80"] < point["high95"]
