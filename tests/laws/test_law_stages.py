"""Sharing and stages: a joint fit and the paper's two stages equal independent implementations; every draw redoes both."""

import numpy as np
import pytest
from scipy.optimize import minimize

from laws import intervals
from laws.fitting import Law, Procedure
from laws.forms import FORMS
from laws.system import Block

FORM = FORMS["multiplicative"]
D = np.array([256.0, 1024.0, 4096.0])
N = np.repeat([2e4, 8e4, 3e5], 3)
P = np.repeat([5e5, 1e6, 2e6, 4e6], 3)
T = np.repeat([500.0, 1000.0, 4000.0], 3)
DELTA = 0.006


def laws():
    rng = np.random.default_rng(4)
    out = []
    for label, x, a, alpha in (("size", N, 12.0, 0.22), ("pretraining", P, 20.0, 0.2), ("peft", T, 1.3, 0.02)):
        d = np.tile(D, len(x) // 3)
        y = a * x**-alpha * d**-0.15 + 0.9 + rng.normal(0, 0.005, len(x))
        out.append(Law(Block(label, FORM, {"X": x, "D": d}), y, np.ones(len(x)), [(label, i) for i in range(len(x))], list(map(str, x))))
    return out


def huber_sum(r):
    a = np.abs(r)
    return np.sum(np.where(a <= DELTA, r * r / 2, DELTA * (a - DELTA / 2)))


def reference_joint(group):
    """Plain L-BFGS from a few starts over (log a, alpha) of each law, beta, log E; factors divided by their geometric means."""

    def cost(p):
        beta, e, total = p[-2], np.exp(p[-1]), 0.0
        for k, law in enumerate(group):
            x, d = law.block.factors["X"], law.block.factors["D"]
            x = x / np.exp(np.mean(np.log(x)))
            total += huber_sum(np.exp(p[2 * k]) * x ** -p[2 * k + 1] * (d / 1024) ** -beta + e - law.y_N)
        return total * 1e3

    best = None
    for beta in (0.1, 0.3):
        for e in (0.5, 1.0):
            start = np.array([-0.5, 0.1] * len(group) + [beta, np.log(e)])
            found = minimize(cost, start, method="L-BFGS-B", options={"maxiter": 3000, "maxfun": 60_000, "ftol": 1e-15, "gtol": 1e-10})
            best = found if best is None or found.fun < best.fun else best
    return best.fun / 1e3, best.x


def test_shared_beta_and_e_equal_an_independent_joint_fit():
    size, pretraining, _ = laws()
    procedure = Procedure([size, pretraining], {"beta", "E"}, delta=DELTA)
    values, solution, _ = procedure.fit()
    objective, x = reference_joint([size, pretraining])
    assert solution.objective <= objective * (1 + 1e-6)
    assert values["size"][2] == values["pretraining"][2] and values["size"][3] == values["pretraining"][3]
    np.testing.assert_allclose([values["size"][1], values["pretraining"][1], values["size"][2], values["size"][3]], [x[1], x[3], x[4], np.exp(x[5])], rtol=2e-3)


def test_two_stages_equal_an_independent_implementation():
    size, pretraining, peft = laws()
    procedure = Procedure([size, pretraining], {"beta", "E"}, [size, pretraining, peft], ("beta", "E"), delta=DELTA)
    values, first, later = procedure.fit()
    stage_one = procedure.system.user(first.linear_L[None], first.theta_P[None])[0][0]
    beta, e = stage_one[2], stage_one[3]
    for law in (size, pretraining, peft):
        x, d = law.block.factors["X"], law.block.factors["D"]
        z = x / np.exp(np.mean(np.log(x)))
        cost = lambda p: 1e3 * huber_sum(np.exp(p[0]) * z ** -p[1] * (d / 1024) ** -beta + e - law.y_N)  # noqa: B023, E731
        found = min((minimize(cost, (0.0, a), method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-16, "maxiter": 4000}) for a in (-0.1, 0.1, 0.4)), key=lambda f: f.fun)
        a, alpha, own_beta, own_e = values[law.label]
        assert own_beta == pytest.approx(beta, rel=1e-12) and own_e == pytest.approx(e, rel=1e-12)
        assert alpha == pytest.approx(found.x[1], abs=1e-5)
        assert later[law.label].objective <= found.fun / 1e3 * (1 + 1e-6)


def test_peft_does_not_touch_the_first_stage():
    size, pretraining, peft = laws()
    moved = laws()[2]
    moved.y_N = moved.y_N + 0.3
    one, two = (Procedure([size, pretraining], {"beta", "E"}, [size, pretraining, p], ("beta", "E"), delta=DELTA).fit()[0] for p in (peft, moved))
    assert np.array_equal(one["size"], two["size"])
    assert not np.allclose(one["peft"], two["peft"])


def test_every_draw_redoes_both_stages():
    size, pretraining, peft = laws()
    procedure = Procedure([size, pretraining], {"beta", "E"}, [size, pretraining, peft], ("beta", "E"), delta=DELTA)
    values, first, later = procedure.fit()
    draws = intervals.draw(procedure, first, later, "residual", intervals.seed_of("x"), 300).values
    np.testing.assert_allclose(draws["size"][:, 2], draws["peft"][:, 2], rtol=1e-9)  # one beta in each draw ...
    assert np.std(draws["size"][:, 2]) > 1e-3  # ... and another in the next
    conditional = np.std(np.log(draws["size"][:, 0])[np.abs(draws["size"][:, 2] - np.median(draws["size"][:, 2])) < 2e-3])
    assert np.std(np.log(draws["size"][:, 0])) > 1.5 * conditional
    again = intervals.draw(procedure, first, later, "residual", intervals.seed_of("x"), 300).values
    assert all(np.array_equal(draws[k], again[k]) for k in draws)


@pytest.mark.parametrize("kind", ["residual", "hierarchical", "wald"])
def test_kinds_of_draws_agree_about_a_well_known_law(kind):
    rng = np.random.default_rng(8)
    x, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e5, 1e7, 6), np.geomspace(200, 2e5, 8)))
    y = 40 * x**-0.3 * d**-0.25 + 1.0 + rng.normal(0, 0.004, len(x))
    law = Law(Block("one", FORM, {"X": x, "D": d}), y, np.ones(len(x)), list(range(len(x))), list(map(str, x)))
    procedure = Procedure([law], delta=0.006)
    values, first, later = procedure.fit()
    draws = intervals.draw(procedure, first, later, kind, intervals.seed_of(kind), 600).values["one"]
    truth = Procedure([law], delta=0.006)
    truth.fit()
    base = intervals.draw(truth, first, later, "residual", intervals.seed_of("base"), 600).values["one"]
    ratio = np.std(draws[:, 1:], axis=0) / np.std(base[:, 1:], axis=0)
    assert np.all((0.75 < ratio) & (ratio < 1.33)), ratio
    matrix = intervals.covariance(procedure, first, later, 0, draws)
    np.testing.assert_allclose(np.sqrt(np.diag(matrix))[1:], np.std(base[:, 1:], axis=0), rtol=0.35)
