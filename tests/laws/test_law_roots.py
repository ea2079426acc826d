"""Crossings of laws: none, one or two roots where they were constructed, with intervals and the share of draws that have one."""

import numpy as np
import pytest

from laws.roots import compare_laws, roots_of


def entry(name, a, alpha, beta, e, low=100.0, high=1e5, method=None):
    return {
        "id": name, "form": "multiplicative", "refused": None, "symbols": {"X": "n", "D": "d"}, "range": {"n": [1e6, 1e8], "d": [low, high]}, "group": "factor",
        "method": method or name, "task": "t", "response": "test_loss", "factor": "n", "held_out_error": {"all": None},
        "parameters": {k: {"value": v} for k, v in zip(("A", "alpha", "beta", "E"), (a, alpha, beta, e))},
    }  # fmt: skip


def drawn(law, sd, seed):
    rng = np.random.default_rng(seed)
    p = np.array([v["value"] for v in law["parameters"].values()])
    out = np.repeat(p[None], 400, axis=0)
    out[:, 3] += rng.normal(0, sd, 400)
    return out


def crossing(first, second, sd=0.002):
    draws = {first["id"]: drawn(first, sd, 0), second["id"]: drawn(second, sd, 1)}
    return roots_of(first, second, {"n": 1e7}, draws, "d")


def closed_form(one, two, x):
    """The paper's Eq. 3, which holds where E1 = E2."""
    (a1, al1, b1, _), (a2, al2, b2, _) = ([v["value"] for v in law["parameters"].values()] for law in (one, two))
    return ((a1 / a2) * x ** (al2 - al1)) ** (1 / (b1 - b2))


def test_one_root_is_that_of_the_closed_form():
    one, two = entry("one", 60.0, 0.2, 0.3, 1.0), entry("two", 12.0, 0.2, 0.1, 1.0)
    found = crossing(one, two)
    assert len(found["roots"]) == 1 and found["share"] == 1.0
    root = found["roots"][0]
    assert root["value"] == pytest.approx(closed_form(one, two, 1e7), rel=1e-9)
    assert root["inside"] and root["before"] == "second" and root["low"] < root["value"] < root["high"]
    assert crossing(one, two, 0.02)["roots"][0]["high"] / root["value"] > root["high"] / root["value"]


def test_two_roots():
    """A steeper law with a higher floor overtakes and is overtaken again."""
    one, two = entry("one", 60.0, 0.2, 0.5, 1.08), entry("two", 12.0, 0.2, 0.15, 1.0)
    found = crossing(one, two, 1e-4)
    exact = lambda d: 60 * 1e7**-0.2 * d**-0.5 + 1.08 - (12 * 1e7**-0.2 * d**-0.15 + 1.0)  # noqa: E731
    assert len(found["roots"]) == 2
    for root, before in zip(found["roots"], ("second", "first")):
        assert exact(root["value"]) == pytest.approx(0, abs=1e-9) and root["before"] == before and root["low"] < root["value"] < root["high"]
    assert found["roots"][0]["high"] < found["roots"][1]["low"]


def test_no_root_still_reports_how_many_draws_have_one():
    one, two = entry("one", 20.0, 0.2, 0.3, 1.0), entry("two", 20.0, 0.2, 0.3, 1.005)
    assert crossing(one, two, 1e-5) | {"reason": ""} == {**crossing(one, two, 1e-5), "reason": ""}
    assert crossing(one, two, 1e-5)["roots"] == [] and crossing(one, two, 1e-5)["share"] == 0.0
    steeper = entry("three", 20.4, 0.2, 0.3, 1.004)
    found = crossing(one, steeper, 0.01)
    assert found["roots"] == [] and 0.05 < found["share"] < 0.95


def test_outside_the_data_is_said_and_beyond_three_times_refused():
    one, two = entry("one", 60.0, 0.2, 0.3, 1.0), entry("two", 12.0, 0.2, 0.1, 1.0)
    at = closed_form(one, two, 1e7)
    just = [entry(e["id"], *[v["value"] for v in e["parameters"].values()], low=at / 100, high=at / 2) for e in (one, two)]
    assert [r["inside"] for r in crossing(*just)["roots"]] == [False]
    far = [entry(e["id"], *[v["value"] for v in e["parameters"].values()], low=at / 1000, high=at / 3.5) for e in (one, two)]
    assert crossing(*far)["roots"] == []
    apart = entry("one", 60.0, 0.2, 0.3, 1.0, 100, 200), entry("two", 12.0, 0.2, 0.1, 1.0, 5000, 9000)
    assert crossing(*apart)["refused"] == "OUT_OF_RANGE"


class Level:
    task, response, factor, at, at_name = "t", "test_loss", "n", 1e7, "m"
    methods = {"one": {}, "two": {}}


def test_entries_of_the_comparison():
    one, two = entry("one", 60.0, 0.2, 0.5, 1.08), entry("two", 12.0, 0.2, 0.15, 1.0)
    draws = {"one": drawn(one, 1e-4, 0), "two": drawn(two, 1e-4, 1)}
    out = compare_laws([one, two], draws, [Level], {"data": "d"})
    assert [(c["kind"], c["leader_before"], c["leader"]) for c in out] == [("crossing", "two", "one"), ("crossing", "one", "two")]
    out = compare_laws([one, {**two, "refused": "TOO_FEW_POINTS"}], draws, [Level], {"data": "d"})
    assert [(c["kind"], c["refused"]) for c in out] == [("refused", "NO_LAW")]
