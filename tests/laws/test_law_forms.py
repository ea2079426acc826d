"""The catalogue of forms: expressions mean what the code computes, slopes are derivatives, units come back."""

import numpy as np
import pytest

from laws.forms import FORMS, Form, Term, all_factors, register
from laws.system import Block, System

FACTORS = {
    "X": np.array([1e6, 4e6, 3e7, 1e6]), "N": np.array([1e6, 4e6, 3e7, 1e6]), "P": np.array([1e8, 5e8, 1e9, 1e9]),
    "T": np.array([100.0, 900.0, 100.0, 400.0]), "D": np.array([200.0, 900.0, 12_000.0, 500.0]),
}  # fmt: skip
EVERY = [FORMS[n] for n in ("power", "multiplicative", "additive", "all_factors")] + [all_factors(("N", "P", "T"))]


@pytest.mark.parametrize("form", EVERY, ids=lambda f: f.expression)
def test_value_is_the_expression(form):
    values = np.linspace(0.2, 0.6, len(form.parameters))
    names = dict(zip(form.parameters, values))
    expected = eval(form.expression, {"__builtins__": {}}, {**names, **FACTORS})
    got = form.value(values[None], {s: FACTORS[s] for s in form.symbols})[0]
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("form", EVERY, ids=lambda f: f.expression)
def test_slope_is_the_derivative_and_units_come_back(form):
    system = System([Block("one", form, {s: FACTORS[s] for s in form.symbols})])
    linear = np.array([np.linspace(1.0, 2.0, len(form.linear))])
    theta = np.array([np.linspace(-0.2, 0.4, len(form.exponents))])
    slope = system.slope(system.basis(theta), linear)[0]
    for p in range(theta.shape[1]):
        step = np.zeros_like(theta)
        step[0, p] = 1e-6
        up, down = (np.einsum("snl,sl->sn", system.basis(theta + s), linear)[0] for s in (step, -step))
        np.testing.assert_allclose(slope[:, p], (up - down) / 2e-6, rtol=1e-6, atol=1e-9)
    inside = np.einsum("snl,sl->sn", system.basis(theta), linear)[0]
    user = system.user(linear, theta)[0]
    np.testing.assert_allclose(form.value(user, {s: FACTORS[s] for s in form.symbols})[0], inside, rtol=1e-10)


def test_minimum_is_parameters_plus_three():
    assert {name: FORMS[name].minimum for name in ("power", "multiplicative", "additive")} == {"power": 6, "multiplicative": 7, "additive": 8}


def test_a_name_is_taken_once_and_a_new_form_is_one_entry():
    with pytest.raises(ValueError, match="already registered"):
        register(FORMS["power"])
    form = Form("interaction", "A * X**-alpha + B * X**-alpha * D**-beta + E", (Term("A", (("X", "alpha"),)), Term("B", (("X", "alpha"), ("D", "beta"))), Term("E")), "test")
    assert form.parameters == ("A", "B", "alpha", "beta", "E")
    value = form.value(np.array([[2.0, 3.0, 0.5, 0.25, 1.0]]), {"X": np.array([16.0]), "D": np.array([81.0])})
    assert value[0, 0] == pytest.approx(2 / 4 + 3 / 4 / 3 + 1)
