"""Every form of the catalogue: its law comes back from its own points, its objective equals an independent search, units move only what they must."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import least_squares

from laws.expression import parse
from laws.fitting import Law, Procedure, fit_system
from laws.forms import FORMS
from laws.system import Block, System

D14 = 200.0 * 2 ** np.arange(14)
N5, M5 = (v.ravel() for v in np.meshgrid([1e7, 8e7, 1.6e8, 4e8], [10.0, 20.0, 80.0, 320.0]))
D9, N9, P9 = (v.ravel() for v in np.meshgrid([3e5, 1e6, 3e6, 3e7], [4e7, 1e8, 6e8], [0.0, 0.001, 0.01, 0.05]))
CASES = {
    "power": ({"D": D14}, (5.0, 0.2, 0.9)),
    "rectified": ({"D": D14}, (900.0, 300.0, 0.6, 0.8)),
    "offset": ({"D": D14}, (20.0, 5000.0, 0.3, 0.7)),
    "vanilla": ({"D": D14}, (3.0, 0.2, 0.9, 1.7)),
    "overtraining": ({"N": N5, "M": M5}, (60.0, 150.0, 0.22, 1.6)),
    "forgetting": ({"D": D9, "N": N9, "p": P9, "L0": 3.0 * (N9 / 1e8) ** -0.1}, (50.0, 0.4, 900.0, 0.45, 0.05)),
    "metric": ({"D": D14}, (9.0, 0.35, 1.6)),
}


def fit(name, factors, y, delta=np.inf, log=False):
    form = FORMS[name] if isinstance(name, str) else name
    solution = fit_system(System([Block("one", form, factors)]), y, np.ones(len(y)), delta, log)
    return solution, solution.system.user(solution.linear_L[None], solution.theta_P[None])[0][0]


def made(name, noise=0.0, seed=0):
    factors, true = CASES[name]
    y = FORMS[name].value(np.array([true]), factors)[0]
    return factors, np.array(true), y * np.exp(noise * np.random.default_rng(seed).standard_normal(len(y)))


def test_the_catalogue_is_whole():
    assert set(CASES) | {"multiplicative", "additive", "all_factors"} == set(FORMS)
    for form in FORMS.values():
        assert form.expression and form.source and form.minimum > len(form.parameters)
        assert set(form.units) <= set(form.parameters) and all(form.bound(n)[0] < form.bound(n)[1] for n in form.parameters)
    assert FORMS["overtraining"].minimum == 5  # its source fits 5 runs


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_each_form_comes_back(name, log):
    factors, true, y = made(name)
    solution, user = fit(name, factors, y, 1e-3, log)
    assert solution.objective < 1e-12
    np.testing.assert_allclose(FORMS[name].value(user[None], factors)[0], y, rtol=1e-6)
    if name not in ("vanilla", "metric"):  # those two have other parameters with nearly the same values
        np.testing.assert_allclose(user, true, rtol=5e-3)


@pytest.mark.parametrize("name", ["rectified", "offset", "forgetting", "metric"])
def test_objective_is_that_of_a_search_by_scipy(name):
    """scipy's trust region from the truth and from many random starts, on logarithms of the parameters, with numeric derivatives."""
    factors, true, y = made(name, 0.01, 3)
    solution, _ = fit(name, factors, y, np.inf, True)
    rng, best = np.random.default_rng(0), np.inf

    def residuals(p):
        with np.errstate(all="ignore"):
            r = np.log(FORMS[name].value(np.exp(p)[None], factors)[0]) - np.log(y)
        return np.where(np.isfinite(r), r, 1e3)

    for k in range(12):
        start = np.log(true) + (0 if not k else rng.normal(0, 0.5, len(true)))
        found = least_squares(residuals, start, bounds=(np.log(1e-9), np.log(1e9)), x_scale=1.0, xtol=1e-14, ftol=1e-14, gtol=1e-14, max_nfev=3000)
        best = min(best, found.cost)
    assert solution.converged and solution.objective <= best * (1 + 1e-9)
    assert solution.objective == pytest.approx(best, rel=1e-3)  # no lower by using what the search may not


@pytest.mark.parametrize("name", ["rectified", "offset", "vanilla"])
def test_units_change_only_what_has_a_unit(name):
    factors, _, y = made(name, 0.01)
    (one, first), (two, second) = fit(name, factors, y), fit(name, {"D": factors["D"] * 1e-6}, y)
    assert two.objective == pytest.approx(one.objective, rel=1e-7)
    for p in FORMS[name].parameters:
        i = FORMS[name].parameters.index(p)
        if p not in FORMS[name].units:
            assert second[i] == pytest.approx(first[i], rel=2e-3, abs=1e-9)
    assert FORMS[name].value(second[None], {"D": np.array([0.01])})[0, 0] == pytest.approx(FORMS[name].value(first[None], {"D": np.array([1e4])})[0, 0], rel=1e-5)


def test_a_written_expression_is_the_form_of_the_catalogue():
    factors, _, y = made("rectified", 0.01)
    written = parse("E + B / (D**beta + D0)", bounds={"beta": (0, 10)})
    one, two = fit("rectified", factors, y, 1e-3), fit(written, factors, y, 1e-3)
    assert two[0].objective == pytest.approx(one[0].objective, rel=1e-9)
    assert dict(zip(written.parameters, two[1])) == pytest.approx(dict(zip(FORMS["rectified"].parameters, one[1])), rel=1e-4)


def test_bounds_in_the_users_units_hold():
    factors, _, y = made("offset", 0.01)
    free = dict(zip(FORMS["offset"].parameters, fit("offset", factors, y)[1]))
    form = parse("A * (D + D0)**-alpha + E", bounds={"D0": (1000, 2000), "E": (0.75, 0.9), "A": (0, 15)})
    solution, user = fit(form, factors, y)
    values = dict(zip(form.parameters, user))
    assert free["D0"] > 2000 and values["D0"] == pytest.approx(2000) and 0.75 <= values["E"] <= 0.9 and values["A"] <= 15
    negative = parse("A * D**-beta + E", bounds={"A": (None, None), "E": (None, None)})
    _, user = fit(negative, {"D": D14}, 3.0 - 5.0 * D14**-0.3)
    np.testing.assert_allclose(user, (-5.0, 0.3, 3.0), rtol=1e-5)


def test_zero_is_a_value_where_the_expression_allows_it():
    assert (P9 == 0).any()
    factors, true, y = made("forgetting", 0.002)
    _, user = fit("forgetting", factors, y)
    np.testing.assert_allclose(user, true, rtol=0.35)


def test_squares_are_huber_without_an_edge():
    factors, _, y = made("power", 0.02)
    one, two = fit("power", factors, y, np.inf)[0], fit("power", factors, y, 1e3)[0]
    assert one.objective == pytest.approx(two.objective, rel=1e-9)
    a, b, e = least_squares(lambda p: p[0] * (D14 / 2e4) ** -p[1] + p[2] - y, (0.5, 0.3, 1.0), xtol=1e-15, ftol=1e-15, gtol=1e-15).x
    assert one.objective == pytest.approx(0.5 * np.sum((a * (D14 / 2e4) ** -b + e - y) ** 2), rel=1e-9)


def shared_laws():
    rng, out, true = np.random.default_rng(1), [], {}
    for method, beta in (("full", 0.3), ("lora", 0.15)):
        for factor, a, alpha in (("size", 4.0, 0.3), ("tokens", 9.0, 0.1)):
            x, d = (v.ravel() for v in np.meshgrid(np.array([1.0, 3.0, 9.0, 30.0]) * (1e6 if factor == "size" else 1e8), [300.0, 1e3, 3e3, 1e4]))
            label = f"{method}/{factor}"
            true[label] = (a, alpha, beta, 0.9)
            y = FORMS["multiplicative"].value(np.array([true[label]]), {"X": x, "D": d})[0] + rng.normal(0, 1e-5, len(x))
            out.append(Law(Block(label, FORMS["multiplicative"], {"X": x, "D": d}), y, np.ones(len(x)), list(range(len(x)))))
    return out, true


def test_each_parameter_is_shared_across_its_own_groups():
    """beta is one value within a method, E one value everywhere, A and alpha belong to each law."""
    laws, true = shared_laws()
    shared = {"beta": {law.label: law.label.split("/")[0] for law in laws}, "E": {law.label: "" for law in laws}}
    procedure = Procedure(laws, shared, delta=1e-3)
    values, solution, _ = procedure.fit()
    assert procedure.system.size == 4 + 4 + 2 + 1 and solution.converged
    for label, expected in true.items():
        np.testing.assert_allclose(values[label], expected, rtol=2e-2)
    betas = {label: v[2] for label, v in values.items()}
    assert betas["full/size"] == betas["full/tokens"] != betas["lora/size"] == betas["lora/tokens"]
    assert len({v[3] for v in values.values()}) == 1 and len({v[0] for v in values.values()}) == 4


def test_a_second_stage_holds_the_value_of_its_own_group():
    laws, true = shared_laws()
    shared = {n: {law.label: law.label.split("/")[0] for law in laws} for n in ("beta", "E")}
    values, _, later = Procedure(laws, shared, laws, ("beta", "E"), delta=1e-3).fit()
    for label, expected in true.items():
        np.testing.assert_allclose(values[label], expected, rtol=2e-2)
    with pytest.raises(ValueError, match="no law of the first stage"):
        Procedure(laws[:2], shared, laws, ("beta", "E"), delta=1e-3)


def test_a_shared_scale_means_the_same_in_the_users_units():
    """A shared while the exponents differ: no centre can serve both laws, and the value that comes out is one for both."""
    d1, d2 = np.geomspace(10, 1e4, 9), np.geomspace(1e3, 1e6, 9)
    form = FORMS["power"]
    laws = [Law(Block(n, form, {"D": d}), 7.0 * d**-b + 1, np.ones(9), list(range(9))) for n, d, b in (("one", d1, 0.3), ("two", d2, 0.2))]
    values, _, _ = Procedure(laws, {"A"}, delta=1e-3).fit()
    np.testing.assert_allclose(values["one"], (7, 0.3, 1), rtol=1e-4)
    np.testing.assert_allclose(values["two"], (7, 0.2, 1), rtol=1e-4)


def test_chain_is_the_derivative_of_the_users_parameters():
    for name in ("rectified", "forgetting", "multiplicative"):
        form = FORMS[name]
        factors = CASES[name][0] if name in CASES else {"X": N5, "D": M5}
        system = System([Block("one", form, factors)])
        linear, theta = np.full(len(system.linear), 1.3), np.linspace(0.3, 0.6, len(system.exponents))
        for logs in ((), ("A", "B")):
            got, user = system.chain(0, linear, theta, logs), lambda lin, the: system.user(lin[None], the[None])[0][0]  # noqa: B023
            view = lambda v: np.where([n in logs for n in form.parameters], np.log(np.maximum(v, 1e-300)), v)  # noqa: B023, E731
            for q in range(len(linear) + len(theta)):
                step = np.zeros(len(linear) + len(theta))
                step[q] = 1e-6
                up, down = (view(user(linear + s * step[: len(linear)], theta + s * step[len(linear) :])) for s in (1, -1))
                np.testing.assert_allclose(got[:, q], (up - down) / 2e-6, rtol=1e-5, atol=1e-6 * np.max(np.abs(got)) + 1e-12)


def test_redo_of_a_general_form_equals_fits_of_its_own():
    factors, _, y = made("rectified", 0.01)
    law = Law(Block("one", FORMS["rectified"], factors), y, np.ones(14), list(range(14)))
    procedure = Procedure([law], delta=np.inf, log=True)
    procedure.fit()
    draws = y * np.exp(0.003 * np.random.default_rng(5).standard_normal((6, 14)))
    redone = procedure.redo({("first", "one"): draws}, None, {})["one"]
    for row, drawn in zip(redone, draws):
        alone = fit("rectified", factors, drawn, np.inf, True)[0]
        r = np.log(FORMS["rectified"].value(row[None], factors)[0] / drawn)
        assert 0.5 * np.sum(r**2) <= alone.objective * (1 + 1e-6)


@pytest.mark.parametrize(("name", "searched"), [("rectified", "D0"), ("offset", "D0"), ("forgetting", "B")])
def test_intervals_of_positive_parameters_are_as_wide_as_a_jacobian_says(name, searched):
    """A parameter that is searched as a logarithm: its 95 % interval against t times the standard error of a numeric Jacobian in logarithms."""
    import laws

    factors, true, y = made(name, 0.004, 7)
    table = {**{f"{s}_column": v for s, v in factors.items()}, "loss": y}
    entry = laws.fit_foreign(table, {s: f"{s}_column" for s in factors}, "loss", forms=name, intervals="profile", loss="squares")["laws"][0]
    found, form = entry["parameters"], FORMS[name]
    best = np.log([found[n]["value"] for n in form.parameters])
    J = np.stack([(form.value(np.exp(best + s)[None], factors) - form.value(np.exp(best - s)[None], factors))[0] / 2e-5 for s in 1e-5 * np.eye(len(best))], axis=1)
    df = len(y) - len(best)
    se = np.sqrt(np.diag(np.linalg.inv(J.T @ J)) * np.sum((form.value(np.exp(best)[None], factors)[0] - y) ** 2) / df)[form.parameters.index(searched)]
    width = np.log(found[searched]["high"] / found[searched]["low"]) / 2
    assert 0.7 < width / (stats.t.ppf(0.975, df) * se) < 1.5
    i = entry["covariance"]["names"].index(f"log {searched}")
    assert 0.4 < np.sqrt(entry["covariance"]["matrix"][i][i]) / se < 2.5
