"""Methods at equal FLOPs: costs between and beyond what was measured, differences worked out by hand, roots by SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from test_law_roots import drawn, entry

from laws import costs
from laws.compare import Slice
from laws.points import Cell

FLAT = [[100.0, 1e6], [400.0, 1e6], [1600.0, 4e6], [6400.0, 16e6]]  # at least so many steps, then proportional


def test_costs_between_and_beyond_the_measured_sizes():
    assert costs.flops_at(FLAT, [100, 250, 400, 1600]) == pytest.approx([1e6, 1e6, 1e6, 4e6])
    assert costs.flops_at(FLAT, 800) == pytest.approx(2e6) and costs.flops_at(FLAT, 64_000) == pytest.approx(160e6) and costs.flops_at(FLAT, 10) == pytest.approx(1e6)
    assert costs.flops_at([[100.0, 5.0]], 300) == pytest.approx(15.0)
    assert costs.flops_at([[100.0, 5.0], [200.0, 40.0]], 400) == pytest.approx(80.0)  # never more than proportional beyond the data


def test_a_flat_price_buys_its_most_examples():
    assert costs.examples_at(FLAT, 1e6, 50, 20_000) == pytest.approx(400, rel=0.02)
    assert np.isnan(costs.examples_at(FLAT, 0.9e6, 50, 20_000))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.2, 1.0), min_size=1, max_size=4), st.floats(1.0, 9.0))
def test_examples_are_the_inverse_of_costs(slopes, flops):
    x = np.log(100) + np.arange(len(slopes) + 1) * np.log(4)
    y = np.concatenate([[np.log(50)], np.log(50) + np.cumsum(slopes) * np.log(4)])
    points = [[float(np.exp(a)), float(np.exp(b))] for a, b in zip(x, y)]
    d = costs.examples_at(points, 50 * flops, 100, 1e5)
    assert costs.flops_at(points, d) == pytest.approx(min(50 * flops, float(costs.flops_at(points, 1e5))), rel=5e-3)


def cell(method, d, values, seeds=None, held=""):
    values = np.array(values, float)
    return Cell(("t", method, held, (1, d)), "t", method, held, {"d": d}, float(values.mean()), values, seeds or [str(i) for i in range(len(values))], np.arange(len(values)), 0.01)


def slice_of(a, b):
    return Slice("t", "test_loss", "n", 1e7, "s", {"a": a, "b": b}, None)


def cost(method, points):
    return {"task": "t", "method": method, "factor": "n", "at": 1e7, "at_name": "s", "points": points}


def test_differences_at_equal_flops_by_hand():
    luck = np.array([0.03, -0.03, 0.0])  # of a seed's subset: the same for both methods
    a = {d: cell("a", d, 2.0 - 0.1 * np.log2(d / 100) + luck) for d in (100.0, 400.0, 1600.0)}
    b = {d: cell("b", d, 2.0 - 0.1 * np.log2(d / 100) + luck) for d in (100.0, 400.0, 1600.0)}
    # the same curve in data, but b pays four times as much for an example: at equal FLOPs a has seen four times as many
    found = costs.compare_runs([slice_of(a, b)], [cost("a", [[d, d] for d in a]), cost("b", [[d, 4 * d] for d in b])])
    assert len(found) == 1 and found[0]["cost"] == "flops" and found[0]["kind"] == "none" and found[0]["leader"] == "a" and found[0]["examples"] is None
    rows = found[0]["differences"]
    assert [r["flops"] for r in rows] == pytest.approx([400, 1600]) and [r["examples"] for r in rows] == [None, None]
    assert [(r["first_examples"], r["second_examples"]) for r in rows] == [(400.0, 100.0), (1600.0, 400.0)]
    for row in rows:
        assert row["difference"] == pytest.approx(-0.2) and row["se"] == pytest.approx(0.0, abs=1e-9) and row["paired"] and row["seeds"] == 3
    # a cost between two data sizes: half way in log FLOPs is half way in loss
    found = costs.compare_runs([slice_of(a, b)], [cost("a", [[d, d] for d in a]), cost("b", [[d, 2 * d] for d in b])])
    row = next(r for r in found[0]["differences"] if r["flops"] == pytest.approx(200))
    assert row["first_examples"] == pytest.approx(200) and row["difference"] == pytest.approx(-0.1)


def test_a_lead_at_equal_data_can_turn_round_at_equal_flops():
    a = {d: cell("a", d, [2.0 - 0.10 * np.log2(d / 100)] * 2) for d in (100.0, 400.0, 1600.0)}
    b = {d: cell("b", d, [1.95 - 0.10 * np.log2(d / 100)] * 2) for d in (100.0, 400.0, 1600.0)}
    found = costs.compare_runs([slice_of(a, b)], [cost("a", [[d, d] for d in a]), cost("b", [[d, 4 * d] for d in b])])
    assert found[0]["leader"] == "a"
    assert costs.compare_runs([slice_of(a, b)], [cost("a", [[d, d] for d in a]), cost("b", [[d, d] for d in b])])[0]["leader"] == "b"


def test_costs_that_do_not_overlap_are_refused_and_missing_ones_left_out():
    a, b = {100.0: cell("a", 100.0, [2.0, 2.1])}, {100.0: cell("b", 100.0, [2.0, 2.1])}
    found = costs.compare_runs([slice_of(a, b)], [cost("a", [[100.0, 10.0]]), cost("b", [[100.0, 99.0]])])
    assert [(c["kind"], c["refused"]) for c in found] == [("refused", "NO_COMMON_COST")]
    assert costs.compare_runs([slice_of(a, b)], [cost("a", [[100.0, 10.0]])]) == []


def test_root_of_two_laws_over_flops_is_scipys():
    one, two = entry("one", 60.0, 0.2, 0.3, 1.0), entry("two", 12.0, 0.2, 0.1, 1.0)
    points = {"one": [[d, 6.0 * d] for d in (100.0, 1e5)], "two": [[d, 1.5 * d] for d in (100.0, 1e5)]}
    draws = {"one": drawn(one, 0.002, 0), "two": drawn(two, 0.002, 1)}
    place = Slice("t", "test_loss", "n", 1e7, "s", {"one": {}, "two": {}}, None)
    found = costs.compare_laws([one, two], draws, [place], [cost(m, p) for m, p in points.items()], {"data": "d"})
    law = lambda a, b, d: a * 1e7**-0.2 * d**-b + 1.0  # noqa: E731
    exact = np.exp(brentq(lambda c: law(60, 0.3, np.exp(c) / 6.0) - law(12, 0.1, np.exp(c) / 1.5), np.log(700), np.log(1e5)))
    assert len(found) == 1 and found[0]["kind"] == "crossing" and found[0]["leader"] == "one" and found[0]["inside"]
    assert found[0]["flops"]["value"] == pytest.approx(exact, rel=1e-5) and found[0]["flops"]["low"] < exact < found[0]["flops"]["high"]
    assert found[0]["examples"] is None and found[0]["cost"] == "flops"
