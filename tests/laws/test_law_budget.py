"""What a budget buys, against a search of every combination by hand."""

import made_laws
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import laws
from laws import budget
from laws.pick import Refusal

TOP = 30_000  # three times the fitted data


def every(flops=np.inf, usd=np.inf, price=0.0, label=0.0, examples=np.inf, forgetting=np.inf):
    """{(method, size): the lowest loss, its examples} over whole numbers of examples, in the open."""
    out = {}
    for m in made_laws.TRUE:
        for name, n in made_laws.SIZES.items():
            d = np.arange(100, TOP + 1, dtype=float)
            cost = made_laws.COST[m] * n * d
            fits = (cost <= flops) & (cost * price + label * d <= usd) & (d <= examples)
            if np.isfinite(forgetting):
                fits &= (d <= 10_000) & (made_laws.FORGETS[m] * np.log10(d / 10) <= forgetting)
            if fits.any():
                loss = np.where(fits, made_laws.value(m, n, d), np.inf)
                out[m, name] = (loss.min(), d[np.argmin(loss)])
    return out


def check(found, expected, rel=2e-3):
    rows = {(r["method"], r["at_name"]): r for r in found["candidates"]}
    assert set(rows) == set(expected)
    for key, (loss, examples) in expected.items():
        assert rows[key]["examples"] == pytest.approx(examples, rel=rel, abs=1) and rows[key]["loss"] == pytest.approx(loss, rel=rel)
    losses = [r["loss"] for r in found["candidates"]]
    assert losses == sorted(losses)


@settings(max_examples=30, deadline=None)
@given(st.floats(9.7, 14))
def test_flops(power):
    made, flops = made_laws.make(), 10**power
    expected = every(flops=flops)
    if not expected:
        with pytest.raises(Refusal, match="cost"):
            budget.best(made, flops, "flops")
        return
    found = budget.best(made, flops, "flops")
    check(found, expected, rel=0.03)
    for row in found["candidates"]:
        assert row["flops"] <= flops * (1 + 1e-9)
        n = made_laws.SIZES[row["at_name"]]
        assert row["loss"] == pytest.approx(made_laws.value(row["method"], n, row["examples"]), rel=1e-9)
    left = {(e["method"], e["at_name"]) for e in found["excluded"]}
    assert left == {(m, s) for m in made_laws.TRUE for s in made_laws.SIZES} - set(expected)


def test_labels_and_money():
    made = made_laws.make()
    check(budget.best(made, 5000, "examples"), every(examples=5000))
    found = budget.best(made, 50.0, "usd", price=1e-12, label_price=0.002)
    check(found, every(usd=50.0, price=1e-12, label=0.002), rel=0.03)
    for row in found["candidates"]:
        assert row["usd"] == pytest.approx(row["flops"] * 1e-12 + 0.002 * row["examples"]) and row["usd"] <= 50.0 * (1 + 1e-9)
    check(budget.best(made, 10.0, "usd", label_price=0.002), every(examples=5000))


def test_more_than_three_times_the_data_is_never_bought():
    found = budget.best(made_laws.make(), 1e9, "examples")
    assert {r["examples"] for r in found["candidates"]} == {30_000.0}
    assert all(r["outside"]["d"] == pytest.approx(3.0) and "nothing is said beyond" in r["reason"] for r in found["candidates"])


def test_forgetting_is_a_limit():
    made = made_laws.make()
    found = budget.best(made, 20_000, "examples", max_forgetting=0.3)
    check(found, every(examples=20_000, forgetting=0.3), rel=0.05)
    for row in found["candidates"]:
        assert row["forgetting"]["value"] <= 0.3 + 1e-9
        assert row["forgetting"]["value"] == pytest.approx(made_laws.FORGETS[row["method"]] * np.log10(row["examples"] / 10), rel=1e-6)
    found = budget.best(made, 20_000, "examples", max_forgetting=0.12)
    assert {r["method"] for r in found["candidates"]} == {"lora"} and all("forgets at least 0.2" in e["reason"] for e in found["excluded"])
    with pytest.raises(Refusal, match="forgets at least"):
        budget.best(made, 20_000, "examples", max_forgetting=0.01)
    made["map"] = [p for p in made["map"] if p["response"] == "test_loss"]
    with pytest.raises(Refusal, match="not measured"):
        budget.best(made, 20_000, "examples", max_forgetting=0.3)


def test_ties_are_ties_and_the_cheapest_comes_first():
    made = made_laws.make(sd=0.002)
    d = 10.0 ** (np.log10((60 / 12)) / 0.2)  # where the two laws meet, at every size
    found = budget.best(made, round(d), "examples", factors={"n": "m"})
    assert [r["tied"] for r in found["candidates"]] == [True, True] and found["candidates"][found["winners"][0]]["method"] == "lora"
    assert 0.3 < found["candidates"][0]["probability"] < 0.7
    found = budget.best(made, 10_000, "examples", factors={"n": "m"})
    assert [r["tied"] for r in found["candidates"]] == [True, False] and found["candidates"][0]["method"] == "full" and found["winners"] == [0]
    # the same luck in both methods leaves the difference sure, however wide each is
    wide = made_laws.make(sd=0.2)
    wide.draws["common:law-000"], wide.draws["common:law-001"] = (np.array(wide.draws[f"law-00{k}"]) for k in (0, 1))
    wide.draws["common:law-001"][:, 3] = wide.draws["common:law-000"][:, 3]
    assert [r["tied"] for r in budget.best(wide, 10_000, "examples", factors={"n": "m"})["candidates"]] == [True, False]
    del wide.draws["common:law-000"], wide.draws["common:law-001"]
    assert [r["tied"] for r in budget.best(wide, 10_000, "examples", factors={"n": "m"})["candidates"]] == [True, True]


def test_a_law_that_rises_is_not_fed():
    made = made_laws.make()
    made["laws"][1]["parameters"]["beta"]["value"] = -0.1
    row = next(r for r in budget.best(made, 5000, "examples")["candidates"] if r["method"] == "lora")
    assert row["examples"] == 100 and "does not fall" in row["reason"]


@pytest.mark.parametrize("asked, words", [
    ((0.0, "flops"), "positive"), ((1e3, "hours"), "flops, usd, examples"), ((10.0, "usd"), "needs a price"), ((10.0, "examples"), "smallest measured"),
])  # fmt: skip
def test_bad_budgets(asked, words):
    with pytest.raises(laws.LawError, match=words):
        budget.best(made_laws.make(), *asked)


def test_without_flops_only_labels_can_be_counted():
    made = made_laws.make()
    made["costs"] = []
    with pytest.raises(Refusal, match="no FLOPs"):
        budget.best(made, 1e15, "flops")
    assert budget.best(made, 5000, "examples")["candidates"][0]["flops"] is None
