"""Sharing across tasks, methods, factors and groups, jointly and in two stages; expressions, bounds, squares and rows in a request."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

import laws

N, D = np.array([1e6, 4e6, 1.6e7, 6.4e7]), np.array([1e3, 4e3, 1.6e4, 6.4e4])
NOISE = 2e-3


def table(methods=("a", "b"), tasks=("t",), seed=0, levels=(1.0, 1.4)):
    """Rows of `A N^-.1 D^-beta + E` with E = .8 for all and beta by method."""
    rng = np.random.default_rng(seed)
    rows = [(t, m, n, d) for t in tasks for m in methods for n in N for d in D]
    beta = dict(zip(methods, (0.15, 0.25, 0.2)))
    scale = dict(zip(tasks, levels))
    y = [scale[t] * 30 * n**-0.1 * d ** -beta[m] + 0.8 + rng.normal(0, NOISE) for t, m, n, d in rows]
    t, m, n, d = zip(*rows)
    return {"task_name": list(t), "method": list(m), "params": np.array(n), "examples": np.array(d), "loss": np.array(y)}


def fit(data, group="method", factors="X=params,D=examples", **more):
    options = {"forms": "multiplicative", "intervals": "none", "loss": "squares", "points": "rows", **more}
    return laws.fit_foreign(data, factors=factors, response="loss", group=group, **options)


def value(entry, name):
    return entry["parameters"][name]["value"]


def test_a_parameter_shared_across_methods_is_the_joint_optimum():
    data = table()
    out = fit(data, shared_across={"E": ["method"]})
    a, b = out["laws"]
    assert value(a, "E") == value(b, "E") and value(a, "beta") != value(b, "beta")
    assert a["fit"]["shared"] == ["E"] and a["fit"]["shared_across"] == {"E": ["method"]} and a["aicc"]["together"] == 2
    which = np.array([m == "b" for m in data["method"]])
    x, d, y = np.log(data["params"] / 8e6), np.log(data["examples"] / 8e3), data["loss"]

    def residual(p):  # log A, alpha, beta of each method and one E
        la, al, be = (np.where(which, p[i + 3], p[i]) for i in range(3))
        return np.exp(la - al * x - be * d) + p[6] - y

    best = least_squares(residual, [0, 0.1, 0.2, 0, 0.1, 0.2, 0.7], xtol=1e-15, ftol=1e-15, gtol=1e-15)
    assert a["fit"]["objective"] == pytest.approx(best.cost, rel=1e-6)
    assert value(a, "E") == pytest.approx(best.x[6], rel=1e-4) and value(b, "beta") == pytest.approx(best.x[5], rel=1e-4)
    assert a["aicc"]["parameters"] == 7 and a["aicc"]["points"] == 32
    k = 8
    assert a["aicc"]["value"] == pytest.approx(32 * np.log(2 * best.cost / 32) + 2 * k + 2 * k * (k + 1) / (32 - k - 1), rel=1e-5)


def test_parameters_may_be_shared_across_different_dimensions():
    out = fit(table(tasks=("t", "u")), group=["task_name", "method"], shared_across={"E": ["task", "method"], "beta": ["task"]})
    by = {(e["task"], e["method"]): e for e in out["laws"]}
    assert len({value(e, "E") for e in by.values()}) == 1
    assert value(by["t", "a"], "beta") == value(by["u", "a"], "beta") != value(by["t", "b"], "beta")
    assert len({value(e, "alpha") for e in by.values()}) == 4
    alone = fit(table(tasks=("t", "u")), group=["task_name", "method"])
    error = lambda laws_: np.mean([abs(value(e, "E") - 0.8) for e in laws_])  # noqa: E731
    assert error(by.values()) <= error(alone["laws"])


def test_laws_of_the_data_alone_share_across_levels():
    out = fit(table(methods=("a",)), forms="power", shared_across={"beta": ["group"], "E": ["group"]})
    assert len(out["laws"]) == len(N)
    assert len({value(e, "beta") for e in out["laws"]}) == len({value(e, "E") for e in out["laws"]}) == 1 < len({value(e, "A") for e in out["laws"]})
    assert value(out["laws"][0], "beta") == pytest.approx(0.15, abs=0.03)


def test_two_stages_hold_what_is_shared():
    data = table()
    joint = fit(data, shared_across={"E": ["method"]})
    staged = fit(data, shared_across={"E": ["method"]}, stages="paper")
    for one, two in zip(joint["laws"], staged["laws"]):
        assert two["fit"]["stages"] == "paper"
        assert value(two, "E") == pytest.approx(value(one, "E"), rel=1e-9)
        assert value(two, "beta") == pytest.approx(value(one, "beta"), rel=1e-3)


@pytest.mark.parametrize(
    ("shared", "words"),
    [({"gamma": ["method"]}, "no form that is fitted has such a parameter"), ({"E": ["size"]}, "size"), ({"E": []}, "shared_across.E")],
)
def test_sharing_that_cannot_be_is_an_error(shared, words):
    with pytest.raises(laws.TableError, match=words):
        fit(table(), shared_across=shared)


def test_an_expression_is_the_form_that_it_writes():
    data = table(methods=("a",))
    named = fit(data)["laws"][0]
    written = fit(data, factors="N=params,D=examples", forms=["A * N**-alpha * D**-beta + E"])["laws"][0]
    assert written["form"] == "expression" and written["symbols"] == {"N": "params", "D": "examples"} and written["factor"] == "params"
    assert written["fit"]["objective"] == pytest.approx(named["fit"]["objective"], rel=1e-9)
    for name in ("alpha", "beta", "E"):
        assert value(written, name) == pytest.approx(value(named, name), rel=1e-5)
    bounded = fit(data, factors="N=params,D=examples", forms=["mine: A * N**-alpha * D**-beta + E"], bounds={"E": [1.0, 2.0]})["laws"][0]
    assert bounded["form"] == "mine" and value(bounded, "E") == pytest.approx(1.0) and bounded["bounds"] == {"E": [1.0, 2.0]}
    assert bounded["fit"]["objective"] > named["fit"]["objective"]


def test_a_measured_column_stands_as_a_constant():
    data = table(methods=("a",))
    data["c"] = np.tile([1.0, 2.0], 8)
    data["loss"] = data["loss"] + 0.3 * data["c"]
    out = fit(data, factors="N=params,D=examples", forms=["A * N**-alpha * D**-beta + k * c + E"])["laws"][0]
    assert value(out, "k") == pytest.approx(0.3, abs=3 * NOISE) and out["symbols"]["c"] == "c"


def test_rows_are_points_and_cells_are_means():
    data = table(methods=("a",))
    twice = {k: np.concatenate([np.asarray(v, object if k in ("method", "task_name") else float)] * 2) for k, v in data.items()}
    twice["loss"][:16] += 0.004
    rows = fit(twice)["laws"][0]
    cells = fit(twice, points="cells")["laws"][0]
    assert rows["points"] == 32 and cells["points"] == 16
    assert value(rows, "beta") == pytest.approx(value(cells, "beta"), rel=1e-5)  # two seeds everywhere: the same weights
    huber = fit(twice, loss="huber", delta=1e-3)["laws"][0]
    p = {k: v["value"] for k, v in huber["parameters"].items()}
    r = np.abs(p["A"] * twice["params"] ** -p["alpha"] * twice["examples"] ** -p["beta"] + p["E"] - twice["loss"])
    assert huber["fit"]["objective"] == pytest.approx(np.sum(np.where(r <= 1e-3, r**2 / 2, 1e-3 * (r - 5e-4))), rel=1e-8)
    with pytest.raises(laws.TableError, match="no meaning with loss: squares"):
        fit(twice, delta=0.1)
