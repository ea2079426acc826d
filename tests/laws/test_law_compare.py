"""Methods compared by paired differences: ties, departures, crossings and none, on differences that were put there."""

import make_table
import numpy as np
import pytest
from scipy import stats

import laws

D = (256, 1024, 4096, 16384)


def table(gaps, seeds=3, noise=0.004, shared=0.05, base=2.5, sizes=(("s", 7e4),)):
    """Rows of two methods whose losses differ by `gaps` (a - b) at each D; the noise of the shared subset is ten times that of the methods."""
    rng = np.random.default_rng(5)
    rows = []
    for name, parameters in sizes:
        for seed in range(seeds):
            for d, gap in zip(D, gaps):
                subset = rng.normal(0, shared) if seeds > 1 else 0.0
                for method, extra in (("a", gap), ("b", 0.0)):
                    loss = 2.0 - 0.05 * np.log(d / 256) + subset + extra + rng.normal(0, noise if seeds > 1 else 0.0)
                    rows.append({"task": "t", "method": method, "model_size": name, "non_embedding_parameters": parameters, "pretraining_tokens": 1e6,
                                 "finetuning_examples": d, "rank": "", "prompt_length": "", "seed": seed, "held_out": "", "test_loss": loss, "status": "ok"})  # fmt: skip
        rows.append({**rows[-1], "method": "none", "finetuning_examples": 0, "seed": "", "test_loss": base})
    return rows


def compare(rows, first="a", second="b"):
    result = laws.fit_table(make_table.columns(rows), {"responses": ["test_loss"], "intervals": "none"})
    return next(c for c in result["crossings"] if (c["source"], c["cost"]) == ("data", "data") and (c["first"], c["second"]) == (first, second))


def test_tie():
    c = compare(table([0.0, 0.0, 0.0, 0.0]))
    assert c["kind"] == "tie" and c["leader"] is None and c["examples"] is None and c["tie"] == [[256.0, 16384.0]]


def test_departure_names_who_leads_and_from_where():
    c = compare(table([0.0, 0.0, -0.1, -0.3]))
    assert c["kind"] == "departure" and c["leader"] == "a" and c["leader_before"] is None and c["inside"]
    assert 1024 < c["examples"]["value"] < 4096 and c["examples"]["low"] <= c["examples"]["value"] <= c["examples"]["high"]
    assert c["tie"] == [[256.0, 1024.0]] and c["share"] > 0.95
    assert compare(table([0.0, 0.0, 0.1, 0.3]))["leader"] == "b"


def test_crossing_is_interpolated_where_the_difference_is_zero():
    c = compare(table([-0.2, -0.1, 0.1, 0.3], noise=1e-4))
    assert c["kind"] == "crossing" and (c["leader_before"], c["leader"]) == ("a", "b")
    assert c["examples"]["value"] == pytest.approx(2048, rel=0.02)


def test_one_leads_throughout_or_ends_in_a_tie():
    c = compare(table([-0.2, -0.2, -0.2, -0.2]))
    assert c["kind"] == "none" and c["leader"] == "a" and c["examples"] is None
    c = compare(table([-0.2, -0.2, 0.0, 0.0]))
    assert c["kind"] == "none" and c["leader"] is None and c["leader_before"] == "a" and c["tie"] == [[4096.0, 16384.0]]


def test_differences_are_paired_and_their_error_is_pooled():
    rows = table([0.0, -0.02, -0.1, -0.3])
    c = compare(rows)
    values = {}
    for r in rows:
        if r["method"] != "none":
            values[r["method"], r["finetuning_examples"], r["seed"]] = r["test_loss"]
    gaps = {d: np.array([values["a", d, s] - values["b", d, s] for s in range(3)]) for d in D}
    pooled = np.mean([np.var(g, ddof=1) for g in gaps.values()])
    assert c["df"] == 8
    for row in c["differences"]:
        g = gaps[row["examples"]]
        variance = (2 * np.var(g, ddof=1) + 4 * pooled) / 6
        assert row["difference"] == pytest.approx(np.mean(g)) and row["seeds"] == 3 and row["paired"]
        assert row["se"] == pytest.approx(np.sqrt(variance / 3))
        assert row["high"] - row["difference"] == pytest.approx(stats.t.ppf(0.975, 8) * row["se"])
        unpaired = np.sqrt(2 * 0.05**2 / 3)
        assert row["se"] < unpaired / 4
        lead = abs(row["difference"]) > max(0.01, 2 * row["se"])
        assert (row["state"] in ("first", "second")) == lead


def test_a_method_that_does_nothing_ties_with_the_base():
    rows = [r for r in table([0.0, 0.0, 0.0, 0.0]) if r["method"] != "b"]
    for r in rows:
        r["test_loss"] = 2.5 if r["finetuning_examples"] < 16384 else 2.2 if r["method"] == "a" else 2.5
    c = compare(rows, "a", "none")
    assert c["kind"] == "departure" and c["leader"] == "a" and c["tie"] == [[256.0, 4096.0]]
    for r in rows:
        r["test_loss"] = 2.5
    assert compare(rows, "a", "none")["kind"] == "tie"
    for r in rows:
        r["test_loss"] = 2.5 if r["method"] == "none" else 2.7
    assert (compare(rows, "a", "none")["kind"], compare(rows, "a", "none")["leader"]) == ("none", "none")


def test_one_seed_uses_hundredths_alone_and_says_so():
    c = compare(table([0.0, 0.009, -0.011, -0.3], seeds=1))
    assert [r["state"] for r in c["differences"]] == ["tie", "tie", "first", "first"]
    assert c["df"] == 0 and "unknown" in c["rule"] and all(r["low"] is None for r in c["differences"])
    assert c["kind"] == "departure" and c["examples"]["low"] is None


def test_no_common_data_is_refused():
    rows = [r for r in table([0.0] * 4) if r["method"] == "none" or (r["method"] == "a") == (r["finetuning_examples"] < 1000)]
    c = compare(rows)
    assert c["kind"] == "refused" and c["refused"] == "NO_COMMON_DATA" and not c["inside"]


def test_every_level_and_pair_is_there(fitted):
    data = [c for c in fitted["crossings"] if (c["source"], c["cost"]) == ("data", "data") and c["response"] == "test_loss"]
    levels = {(c["factor"], c["at_name"]) for c in data}
    assert levels == {("non_embedding_parameters", s) for s in make_table.SIZES} | {("pretraining_tokens", n) for n in ("492K", "983K", "1.97M", "3.93M")}
    pairs = {(c["first"], c["second"]) for c in data}
    assert pairs == {("full", "lora"), ("full", "prompt"), ("full", "none"), ("lora", "prompt"), ("lora", "none"), ("prompt", "none")}
    assert len(data) == len(levels) * len(pairs)
